-- Which errors happened, by their fingerprint: how often, since when, where, and how often did a retry help? Most failures first, one
-- page after a sort key. Summed between deploys first (`marks` are all tenants' times of them), so that releases are looked up for few rows.
WITH (SELECT arraySort(arrayConcat([toInt64(0)], groupUniqArray(toUnixTimestamp64Micro(time)))) FROM deploys) AS marks
SELECT
  tenant, error_class, error_fingerprint, {{category}} AS category, failures, helped, over, first_us, last_us, error_message, job_id,
  classes, hosts, releases, queues
FROM (
  SELECT
    tenant, error_class, error_fingerprint, sum(n) AS failures, sum(t.helped) AS helped, sum(t.over) AS over,
    min(t.first_us) AS first_us, max(t.last_us) AS last_us, argMax(t.error_message, t.newest) AS error_message, argMax(t.job_id, t.newest) AS job_id,
    sumMap(map(job_class, n)) AS classes, sumMap(map(host, n)) AS hosts, sumMap(map(if(of_system_at > of_all_at, of_system, of_all), n)) AS releases,
    sumMap(map(queue, n)) AS queues
  FROM (
    SELECT
      tenant, environment, system, error_class, error_fingerprint, queue, job_class, host, roundDown(at_us, marks) AS mark_us,
      fromUnixTimestamp64Micro(mark_us, 'UTC') AS failed_at,
      toUInt64(count()) AS n, countIf(recovered) AS helped, countIf(dead) AS over, min(at_us) AS first_us, max(at_us) AS last_us,
      max(place) AS newest, argMax(error_message, place) AS error_message, argMax(job_id, place) AS job_id
    FROM {{failed}}
    WHERE ({error_class:Nullable(String)} IS NULL OR error_class = {error_class:Nullable(String)})
    GROUP BY tenant, environment, system, error_class, error_fingerprint, queue, job_class, host, mark_us) AS t
  {{deployed}}
  GROUP BY tenant, error_class, error_fingerprint)
WHERE (-toInt64(failures), tenant, error_class, error_fingerprint) > ({after_0:Int64}, {after_1:String}, {after_2:String}, {after_3:String})
  AND ({category:Nullable(String)} IS NULL OR category = {category:Nullable(String)})
ORDER BY failures DESC, tenant, error_class, error_fingerprint
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
