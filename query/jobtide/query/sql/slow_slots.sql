-- Who held the slots of the workers that serve a queue, step by step from base_from_us to to_us? Run time per step, queue and class. From
-- events, which are in the order of time: runs that began up to six hours before are seen, and one of which no end is known goes
-- on until its worker was last heard of.
SELECT step, queue, job_class, sum(least(end_us, step_end_us) - greatest(start_us, step_start_us)) AS busy_us, uniqExact(job)
FROM (
  SELECT
    queue, job_class, job, start_us, end_us,
    arrayJoin(range(
      toUInt32(intDiv(greatest(start_us, {base_from_us:Int64}) - {base_from_us:Int64}, {step_us:Int64})),
      toUInt32(intDiv(end_us - 1 - {base_from_us:Int64}, {step_us:Int64}) + 1))) AS step,
    {base_from_us:Int64} + step * {step_us:Int64} AS step_start_us, step_start_us + {step_us:Int64} AS step_end_us
  FROM (
    SELECT
      queue, any(job_class) AS job_class, (queue, job_id, attempt) AS job, argMax(worker_id, time) AS last_worker,
      toUnixTimestamp64Micro(minIf(time, type = 'job.started')) AS said_us, minIf(toUnixTimestamp64Micro(time) - duration_us, isNotNull(duration_us)) AS implied_us,
      if(said_us > 0, said_us, implied_us) AS start_us,
      toUnixTimestamp64Micro(maxIf(time, type != 'job.started')) AS told_us,
      least(if(told_us > 0, told_us, ifNull(nullIf(transform(last_worker, {workers:Array(String)}, {heard_us:Array(Int64)}, toInt64(0)), 0), {to_us:Int64})),
            {to_us:Int64}) AS end_us
    FROM job_events
    WHERE tenant = {tenant:String} AND environment = {environment:String} AND system = {system:String}
      AND time >= fromUnixTimestamp64Micro({base_from_us:Int64}, 'UTC') - toIntervalHour(6) AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
      AND type IN ('job.started', 'job.finished', 'job.failed', 'job.cancelled')
      AND (has({workers:Array(String)}, worker_id) OR queue = {queue:String})
    GROUP BY queue, job_id, attempt)
  WHERE start_us > 0 AND end_us > start_us AND end_us > {base_from_us:Int64})
GROUP BY step, queue, job_class
ORDER BY step, queue, job_class
SETTINGS max_execution_time = 30
