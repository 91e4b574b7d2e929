-- What is known of every attempt that used this job id, in any queue and backend, in the order they happened?
SELECT
  tenant, environment, system, queue, job_id, attempt,
  toUnixTimestamp64Micro(coalesce(finished_at, started_at, enqueued_at, first_at)) AS at_us, job_class, state, dead, retried, worker_id,
  toUnixTimestamp64Micro(enqueued_at), toUnixTimestamp64Micro(eligible_at), toUnixTimestamp64Micro(started_at),
  toUnixTimestamp64Micro(finished_at), wait_us, run_us, error_class, error_message, error_fingerprint
FROM executions
WHERE job_id = {job_id:String}
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
  AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
ORDER BY first_at, tenant, environment, system, queue, attempt
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
