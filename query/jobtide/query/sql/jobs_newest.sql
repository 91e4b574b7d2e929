-- The newest attempts as in jobs.sql, from what happened last in [seen_from_us, to_us): of the newest `most` events there the attempts are
-- looked up, which is fast however many there are. Right for those that came into their state after the oldest of these events, if
-- there were more; `types` are the events that can have brought about the asked states (empty: any).
WITH
  seen AS (
    SELECT tenant, environment, system, queue, job_id, attempt, type, toUnixTimestamp64Micro(time) AS seen_us
    FROM job_events
    WHERE time >= fromUnixTimestamp64Micro({seen_from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
      AND seen_us <= {after_at_us:Int64} AND startsWith(type, 'job.') AND (empty({types:Array(String)}) OR has({types:Array(String)}, type))
      AND ({error_class:Nullable(String)} IS NULL OR type != 'job.failed' OR error_class = {error_class:Nullable(String)})
      AND {{selected}}
    ORDER BY time DESC
    LIMIT {most:UInt32}
  ),
  (SELECT if(count() < {most:UInt32}, {seen_from_us:Int64} - 1, min(seen_us)) FROM seen) AS bound_us
SELECT
  tenant, environment, system, queue, job_id, attempt, at_us, job_class, state, dead, retried, worker_id,
  toUnixTimestamp64Micro(enqueued_at), toUnixTimestamp64Micro(eligible_at), toUnixTimestamp64Micro(started_at),
  toUnixTimestamp64Micro(finished_at), wait_us, run_us, error_class, error_message, error_fingerprint
FROM (
  SELECT *, toUnixTimestamp64Micro(coalesce(finished_at, started_at, enqueued_at, first_at)) AS at_us
  FROM executions
  WHERE (tenant, environment, system, queue, job_id, attempt) IN (
    SELECT tenant, environment, system, queue, job_id, arrayJoin(if(type = 'job.retry_scheduled', [attempt, attempt + 1], [attempt])) FROM seen)
)
WHERE at_us > bound_us AND at_us >= {from_us:Int64} AND at_us < {to_us:Int64}
  AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
  AND ({worker_id:Nullable(String)} IS NULL OR worker_id = {worker_id:Nullable(String)})
  AND ({error_class:Nullable(String)} IS NULL OR error_class = {error_class:Nullable(String)})
  AND (empty({states:Array(String)}) OR has({states:Array(String)}, state)
    OR (dead AND has({states:Array(String)}, 'dead')) OR (retried AND has({states:Array(String)}, 'retried')))
  AND (at_us, tenant, environment, system, queue, job_id, attempt)
    < ({after_at_us:Int64}, {after_1:String}, {after_2:String}, {after_3:String}, {after_4:String}, {after_5:String}, {after_6:UInt32})
ORDER BY at_us DESC, tenant DESC, environment DESC, system DESC, queue DESC, job_id DESC, attempt DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30, optimize_move_to_prewhere_if_final = 1
