-- What did each backend say of its queue last in [from_us, to_us), and what does history have for that very moment? One page after
-- its key. Attempts that began to wait more than a week before are not looked for.
SELECT s.tenant, s.environment, s.system, s.queue, s.at_us, s.ready, s.running, count(e.job_id) AS known, countIf(e.job_id != '' AND e.waits) AS waiting, countIf(e.job_id != '' AND e.runs)
FROM (
  SELECT tenant, environment, system, queue, toUnixTimestamp64Micro(max(time)) AS at_us, argMax(ready, time) AS ready, argMax(running, time) AS running
  FROM queue_states
  WHERE type = 'queue.snapshot' AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
    AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
    AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
  GROUP BY tenant, environment, system, queue
  HAVING [tenant, environment, system, queue] > {after:Array(String)}
  ORDER BY tenant, environment, system, queue
  LIMIT {limit:UInt32}
) AS s
LEFT JOIN (
  SELECT
    x.tenant AS tenant, x.environment AS environment, x.system AS system, x.queue AS queue, x.job_id AS job_id,
    greatest(toUnixTimestamp64Micro(coalesce(x.enqueued_at, x.queued_at, x.first_at)), ifNull(toUnixTimestamp64Micro(x.eligible_at), 0)) AS ready_us,
    ifNull(toUnixTimestamp64Micro(coalesce(x.started_at, x.finished_at)), 9223372036854775807) AS start_us,
    ifNull(toUnixTimestamp64Micro(x.finished_at), 9223372036854775807) AS end_us,
    ready_us <= q.at_us AND q.at_us < start_us AS waits, start_us <= q.at_us AND q.at_us < end_us AS runs
  FROM executions AS x
  INNER JOIN (
    SELECT tenant, environment, system, queue, toUnixTimestamp64Micro(max(time)) AS at_us
    FROM queue_states
    WHERE type = 'queue.snapshot' AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    GROUP BY tenant, environment, system, queue
  ) AS q USING (tenant, environment, system, queue)
  WHERE ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)}) AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
    AND first_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC') AND first_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') - toIntervalDay(7)
) AS e USING (tenant, environment, system, queue)
GROUP BY s.tenant, s.environment, s.system, s.queue, s.at_us, s.ready, s.running
ORDER BY s.tenant, s.environment, s.system, s.queue
SETTINGS max_execution_time = 30
