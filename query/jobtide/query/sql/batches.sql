-- How far are the batches that did anything in [from_us, to_us)? A job counts once: completed if an attempt finished, failed if its
-- last attempt ended otherwise and no further one is scheduled, else pending. Newest first, one page after a sort key.
SELECT
  tenant, environment, batch, count() AS jobs, countIf(completed) AS done, countIf(NOT completed AND over) AS lost, sum(attempts), sum(failures),
  min(first_us) AS begun_us, max(last_us) AS active_us, sum(run_us), groupUniqArray(5)(system), groupUniqArray(5)(queue), groupUniqArray(20)(job_class)
FROM (
  SELECT
    tenant, environment, system, queue, job_id, batch, any(job_class) AS job_class,
    max(outcome = 'finished') AS completed,
    argMax(outcome IN ('cancelled', 'discarded') OR (outcome = 'failed' AND NOT retried) OR dead, attempt) AS over,
    count() AS attempts, countIf(outcome = 'failed') AS failures, sum(ifNull(run_us, 0)) AS run_us,
    toUnixTimestamp64Micro(min(first_at)) AS first_us, toUnixTimestamp64Micro(max(last_at)) AS last_us
  FROM listed_executions
  WHERE list = 'batch' AND ({batch:Nullable(String)} IS NULL OR batch = {batch:Nullable(String)})
    AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  GROUP BY tenant, environment, system, queue, job_id, batch)
GROUP BY tenant, environment, batch
HAVING active_us >= {from_us:Int64} AND begun_us < {to_us:Int64}
  AND (begun_us, tenant, environment, batch) < ({after_0:Int64}, {after_1:String}, {after_2:String}, {after_3:String})
  AND ({system:Nullable(String)} IS NULL OR countIf(system = {system:Nullable(String)}) > 0)
  AND ({queue:Nullable(String)} IS NULL OR countIf(queue = {queue:Nullable(String)}) > 0)
  AND ({job_class:Nullable(String)} IS NULL OR countIf(job_class = {job_class:Nullable(String)}) > 0)
ORDER BY begun_us DESC, tenant DESC, environment DESC, batch DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
