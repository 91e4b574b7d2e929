-- The attempts that failed in [from_us, to_us), with the host they ran on. Not a question of its own.
(
  SELECT *, toUnixTimestamp64Micro(assumeNotNull(finished_at)) AS at_us, assumeNotNull(finished_at) AS failed_at, splitByChar(':', worker_id)[1] AS host
  FROM listed_executions
  WHERE list = 'trouble' AND batch = '' AND outcome = 'failed'
    AND finished_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND finished_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    AND {{selected}}
)
