-- All of analyst_rollup_hours with a hour in [from_us, to_us).
SELECT *
FROM analyst_rollup_hours
WHERE hour >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND hour < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND {{selected}}
