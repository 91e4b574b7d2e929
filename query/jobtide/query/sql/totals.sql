-- How much did each class (depth 5), queue (4), system (3), … or everything (0) count in a range? One page, in the
-- order of the keys, or by failures.
SELECT
  if({depth:UInt8} > 0, tenant, '') AS k1, if({depth:UInt8} > 1, environment, '') AS k2, if({depth:UInt8} > 2, system, '') AS k3,
  if({depth:UInt8} > 3, queue, '') AS k4, if({depth:UInt8} > 4, job_class, '') AS k5,
  sum(enqueued), sum(started), sum(finished), sum(failed) AS failures, sum(cancelled), sum(discarded), sum(retried), sum(dead), sum(negative_waits),
  sumMap(wait_hist), sumMap(run_ok_hist), sumMap(run_failed_hist), sum(wait_sum_us), sum(run_ok_sum_us), sum(run_failed_sum_us),
  uniqExact(tenant, environment, system, queue), uniqExact(tenant, environment, system, queue, job_class)
FROM {{counted}}
GROUP BY k1, k2, k3, k4, k5
HAVING [k1, k2, k3, k4, k5] > {after:Array(String)} AND ({failed_first:UInt8} = 0 OR failures > 0)
ORDER BY if({failed_first:UInt8} = 1, failures, 0) DESC, k1, k2, k3, k4, k5
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
