-- All of analyst_executions that came into their state in [from_us, to_us).
SELECT *
FROM analyst_executions
WHERE coalesce(finished_at, started_at, enqueued_at, first_at) >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND coalesce(finished_at, started_at, enqueued_at, first_at) < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND {{selected}}
