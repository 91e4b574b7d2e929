-- Which attempts failed in [from_us, to_us)? Newest first, one page after a sort key. The page's attempts are found among the narrow rows
-- of failed.sql, and all that is known of them is then looked up.
WITH newest AS (
  SELECT tenant, environment, system, queue, job_id, attempt
  FROM {{failed}}
  WHERE ({error_class:Nullable(String)} IS NULL OR error_class = {error_class:Nullable(String)})
    AND ({fingerprint:Nullable(String)} IS NULL OR error_fingerprint = {fingerprint:Nullable(String)})
    AND ({category:Nullable(String)} IS NULL OR {{category}} = {category:Nullable(String)})
    AND ({host:Nullable(String)} IS NULL OR host = {host:Nullable(String)})
    AND ({dead:Nullable(UInt8)} IS NULL OR dead = {dead:Nullable(UInt8)})
    AND ({recovered:Nullable(UInt8)} IS NULL OR recovered = {recovered:Nullable(UInt8)})
    AND (at_us, tenant, environment, system, queue, job_id, attempt)
      < ({after_at_us:Int64}, {after_1:String}, {after_2:String}, {after_3:String}, {after_4:String}, {after_5:String}, {after_6:UInt32})
  ORDER BY at_us DESC, tenant DESC, environment DESC, system DESC, queue DESC, job_id DESC, attempt DESC
  LIMIT {limit:UInt32}
)
SELECT
  tenant, environment, system, queue, job_id, attempt, toUnixTimestamp64Micro(failed_at) AS at_us, job_class, 'failed', dead, retried, worker_id,
  toUnixTimestamp64Micro(enqueued_at), toUnixTimestamp64Micro(eligible_at), toUnixTimestamp64Micro(started_at),
  toUnixTimestamp64Micro(finished_at), wait_us, run_us, error_class, error_message, error_fingerprint,
  {{category}}, if(of_system_at > of_all_at, of_system, of_all), recovered, batch_id
FROM (
  SELECT *, assumeNotNull(finished_at) AS failed_at
  FROM listed_executions
  WHERE list = 'trouble' AND batch = '' AND (tenant, environment, system, queue, job_id, attempt) IN (SELECT * FROM newest)
) AS t
{{deployed}}
ORDER BY at_us DESC, tenant DESC, environment DESC, system DESC, queue DESC, job_id DESC, attempt DESC
SETTINGS max_execution_time = 30, optimize_move_to_prewhere_if_final = 1
