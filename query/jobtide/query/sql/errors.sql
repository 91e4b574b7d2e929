-- Which errors happened, by their fingerprint: how often, since when, where, and how often did a retry help? Most failures first, one
-- page after a sort key. Summed between deploys first (`marks` are all tenants' times of them), so that releases are looked up for few rows.
WITH (SELECT arraySort(arrayConcat([toInt64(0)], groupUniqArray(toUnixTimestamp64Micro(time)))) FROM deploys) AS marks
SELECT
  tenant, error_class, error_fingerprint, any({{category}}) AS category, sum(n) AS failures, sum(helped), sum(over), min(first_us), max(last_us),
  argMax(error_message, (last_us, job)), argMax(job, (last_us, job)),
  sumMap(map(job_class, n)), sumMap(map(host, n)), sumMap(map(if(of_system_at > of_all_at, of_system, of_all), n)), sumMap(map(queue, n))
FROM (
  SELECT
    tenant, environment, system, error_class, error_fingerprint, queue, job_class, host, roundDown(at_us, marks) AS mark_us,
    fromUnixTimestamp64Micro(mark_us, 'UTC') AS failed_at,
    toUInt64(count()) AS n, countIf(recovered) AS helped, countIf(dead) AS over, min(at_us) AS first_us, max(at_us) AS last_us,
    argMax(error_message, (at_us, job_id)) AS error_message, argMax(job_id, (at_us, job_id)) AS job
  FROM {{failed}}
  WHERE ({error_class:Nullable(String)} IS NULL OR error_class = {error_class:Nullable(String)})
  GROUP BY tenant, environment, system, error_class, error_fingerprint, queue, job_class, host, mark_us) AS t
{{deployed}}
GROUP BY tenant, error_class, error_fingerprint
HAVING (-toInt64(failures), tenant, error_class, error_fingerprint) > ({after_0:Int64}, {after_1:String}, {after_2:String}, {after_3:String})
  AND ({category:Nullable(String)} IS NULL OR category = {category:Nullable(String)})
ORDER BY failures DESC, tenant, error_class, error_fingerprint
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
