-- All of analyst_events with a time in [from_us, to_us).
SELECT *
FROM analyst_events
WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND {{selected}}
