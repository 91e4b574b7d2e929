-- Which workers ran the job class in the range?
SELECT DISTINCT tenant, environment, system, worker_id
FROM job_executions
WHERE job_class = {job_class:String} AND worker_id IS NOT NULL
  AND last_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND first_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
SETTINGS max_execution_time = 30
