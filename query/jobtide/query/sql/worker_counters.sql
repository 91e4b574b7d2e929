-- What did workers count themselves between their first and last heartbeat in [from_us, to_us), and what does history have of them for
-- the same time? Workers without counters are left out. The largest difference first, one page after a sort key.
SELECT
  c.tenant AS tenant, c.environment AS environment, c.system AS system, c.worker_id AS worker_id, c.first_us, c.last_us,
  c.processed, c.failed, ifNull(o.ended, 0) AS ended, ifNull(o.failures, 0) AS failures, abs(toInt64(c.processed) - toInt64(ended)) AS drift
FROM (
  SELECT
    tenant, environment, system, worker_id, toUnixTimestamp64Micro(min(time)) AS first_us, toUnixTimestamp64Micro(max(time)) AS last_us,
    argMax(said, time) - argMin(said, time) AS processed, argMax(said_failed, time) - argMin(said_failed, time) AS failed
  FROM (SELECT *, processed AS said, failed AS said_failed FROM worker_snapshots)
  WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC') AND said IS NOT NULL
    AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
    AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  GROUP BY tenant, environment, system, worker_id
  HAVING first_us < last_us
) AS c
LEFT JOIN (
  SELECT
    tenant, environment, system, worker_id, countIf(counted) AS ended, countIf(counted AND outcome = 'failed') AS failures
  FROM (
    SELECT x.tenant AS tenant, x.environment AS environment, x.system AS system, x.worker_id AS worker_id, x.outcome AS outcome,
      toUnixTimestamp64Micro(x.finished_at) > w.first_us AND toUnixTimestamp64Micro(x.finished_at) <= w.last_us AS counted
    FROM (
      SELECT tenant, environment, system, worker_id, outcome, finished_at FROM executions
      WHERE finished_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND finished_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
        AND outcome IN ('finished', 'failed') AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    ) AS x
    INNER JOIN (
      SELECT tenant, environment, system, worker_id, toUnixTimestamp64Micro(min(time)) AS first_us, toUnixTimestamp64Micro(max(time)) AS last_us
      FROM worker_snapshots
      WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC') AND processed IS NOT NULL
      GROUP BY tenant, environment, system, worker_id
    ) AS w USING (tenant, environment, system, worker_id))
  GROUP BY tenant, environment, system, worker_id
) AS o USING (tenant, environment, system, worker_id)
WHERE (-drift, tenant, environment, system, worker_id) > ({after_0:Int64}, {after_1:String}, {after_2:String}, {after_3:String}, {after_4:String})
ORDER BY drift DESC, tenant, environment, system, worker_id
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
