-- All of analyst_alerts whose state was entered in [from_us, to_us).
SELECT *
FROM analyst_alerts
WHERE at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND {{selected}}
