-- Which attempts were started more than once, of those started again in [from_us, to_us)? By two workers, or twice by one. All
-- runs of each: when a worker started it, and when that worker said it ended (or null). Newest first, one page after a sort key.
SELECT
  tenant, environment, system, queue, job_id, attempt, any(job_class),
  arraySort(groupArray((start_us, worker_id, end_us))) AS runs, max(start_us) AS again_us
FROM (
  SELECT
    s.tenant AS tenant, s.environment AS environment, s.system AS system, s.queue AS queue, s.job_id AS job_id, s.attempt AS attempt,
    any(s.job_class) AS job_class, s.worker_id AS worker_id, s.start_us AS start_us, minIf(e.end_us, e.end_us >= s.start_us) AS first_end_us,
    if(first_end_us = 0, NULL, first_end_us) AS end_us
  FROM (
    SELECT DISTINCT tenant, environment, system, queue, job_id, attempt, job_class, worker_id, toUnixTimestamp64Micro(time) AS start_us
    FROM job_events
    WHERE type = 'job.started' AND cityHash64(tenant, environment, system, queue, job_id, attempt) IN {{started_again}}
      AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') - toIntervalDay(1) AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
      AND {{selected}}
  ) AS s
  LEFT JOIN (
    SELECT tenant, environment, system, queue, job_id, attempt, worker_id, toUnixTimestamp64Micro(time) AS end_us
    FROM job_events
    WHERE type IN ('job.finished', 'job.failed', 'job.cancelled', 'job.discarded')
      AND cityHash64(tenant, environment, system, queue, job_id, attempt) IN {{started_again}}
      AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') - toIntervalDay(1)
      AND {{selected}}
  ) AS e USING (tenant, environment, system, queue, job_id, attempt, worker_id)
  GROUP BY tenant, environment, system, queue, job_id, attempt, worker_id, start_us)
GROUP BY tenant, environment, system, queue, job_id, attempt
HAVING count() > 1 AND again_us >= {from_us:Int64}
  AND (again_us, tenant, environment, system, queue, job_id, attempt)
    < ({after_at_us:Int64}, {after_1:String}, {after_2:String}, {after_3:String}, {after_4:String}, {after_5:String}, {after_6:UInt32})
ORDER BY again_us DESC, tenant DESC, environment DESC, system DESC, queue DESC, job_id DESC, attempt DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
