-- Which types of events came for each attempt of a job id?
SELECT tenant, environment, system, queue, attempt, groupUniqArray(type)
FROM job_events
WHERE job_id = {job_id:String}
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
GROUP BY tenant, environment, system, queue, attempt
SETTINGS max_execution_time = 30
