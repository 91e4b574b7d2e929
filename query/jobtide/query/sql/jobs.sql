-- Which attempts came into their state (waiting since enqueued, running since started, else ended) in [from_us,
-- to_us)? Newest first, one page after a sort key. The attempts with anything in the range are found first, by the
-- indexed bounds of their rows; `wide` says that the range leaves nothing out, so that this would be wasted.
SELECT
  tenant, environment, system, queue, job_id, attempt, at_us, job_class, state, dead, retried, worker_id,
  toUnixTimestamp64Micro(enqueued_at), toUnixTimestamp64Micro(eligible_at), toUnixTimestamp64Micro(started_at),
  toUnixTimestamp64Micro(finished_at), wait_us, run_us, error_class, error_message, error_fingerprint
FROM (
  SELECT *, toUnixTimestamp64Micro(coalesce(finished_at, started_at, enqueued_at, first_at)) AS at_us
  FROM executions
  WHERE ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
    AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
    AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
    AND ({job_id:Nullable(String)} IS NULL OR job_id = {job_id:Nullable(String)})
    AND ({wide:UInt8} = 1 OR (tenant, environment, system, queue, job_id, attempt) IN (
      SELECT tenant, environment, system, queue, job_id, attempt
      FROM job_executions
      WHERE {wide:UInt8} = 0
        AND last_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND first_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
        AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
        AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
        AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
        AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
        AND ({job_id:Nullable(String)} IS NULL OR job_id = {job_id:Nullable(String)})))
)
WHERE at_us >= {from_us:Int64} AND at_us < {to_us:Int64}
  AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
  AND ({worker_id:Nullable(String)} IS NULL OR worker_id = {worker_id:Nullable(String)})
  AND ({error_class:Nullable(String)} IS NULL OR error_class = {error_class:Nullable(String)})
  AND (empty({states:Array(String)}) OR has({states:Array(String)}, state)
    OR (dead AND has({states:Array(String)}, 'dead')) OR (retried AND has({states:Array(String)}, 'retried')))
  AND (at_us, tenant, environment, system, queue, job_id, attempt)
    < ({after_at_us:Int64}, {after_1:String}, {after_2:String}, {after_3:String}, {after_4:String}, {after_5:String}, {after_6:UInt32})
ORDER BY at_us DESC, tenant DESC, environment DESC, system DESC, queue DESC, job_id DESC, attempt DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
