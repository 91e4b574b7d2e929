-- Which events tell of this job id, in order? One page after (time, type, event_id). FINAL: a redelivered event is
-- one event.
SELECT
  tenant, environment, system, queue, job_class, attempt, toUnixTimestamp64Micro(time) AS at_us, type, event_id, worker_id,
  error_class, error_message, backfill, source, data
FROM job_events FINAL
WHERE job_id = {job_id:String}
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
  AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
  AND (at_us, type, event_id) > ({after_at_us:Int64}, {after_type:String}, {after_id:String})
ORDER BY at_us, type, event_id
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
