-- Hashes of the attempts that were started more than once, up to a day before the range. Not a question of its own.
(
  SELECT cityHash64(tenant, environment, system, queue, job_id, attempt) AS hash
  FROM job_events
  WHERE type = 'job.started'
    AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') - toIntervalDay(1) AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    AND {{selected}}
  GROUP BY hash
  HAVING count() > 1 AND uniqExact(time, worker_id) > 1
)
