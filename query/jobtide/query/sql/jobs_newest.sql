-- The newest attempts as in jobs.sql, of those that jobs_seen.sql found: they are looked up, which is fast however many there are. Right for
-- those that came into their state after `bound_us`.
SELECT
  tenant, environment, system, queue, job_id, attempt, at_us, job_class, state, dead, retried, worker_id,
  toUnixTimestamp64Micro(enqueued_at), toUnixTimestamp64Micro(eligible_at), toUnixTimestamp64Micro(started_at),
  toUnixTimestamp64Micro(finished_at), wait_us, run_us, error_class, error_message, error_fingerprint
FROM (
  SELECT *, toUnixTimestamp64Micro(coalesce(finished_at, started_at, enqueued_at, first_at)) AS at_us
  FROM executions
  WHERE job_id IN {job_ids:Array(String)} AND (tenant, environment, system, queue, job_id, attempt) IN arrayZip(
    {tenants:Array(String)}, {environments:Array(String)}, {systems:Array(String)}, {queues:Array(String)}, {job_ids:Array(String)},
    {attempts:Array(UInt32)})
)
WHERE at_us > {bound_us:Int64} AND at_us >= {from_us:Int64} AND at_us < {to_us:Int64}
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
