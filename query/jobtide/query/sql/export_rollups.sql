-- All of analyst_rollups with a minute in [from_us, to_us).
SELECT *
FROM analyst_rollups
WHERE minute >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND minute < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND {{selected}}
