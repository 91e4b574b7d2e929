-- How did a number go, step by step? The same sums as totals.sql per step, for one page of keys. Steps without
-- anything have no row.
SELECT
  if({depth:UInt8} > 0, tenant, '') AS k1, if({depth:UInt8} > 1, environment, '') AS k2, if({depth:UInt8} > 2, system, '') AS k3,
  if({depth:UInt8} > 3, queue, '') AS k4, if({depth:UInt8} > 4, job_class, '') AS k5,
  intDiv(at_us, {step_us:Int64}) * {step_us:Int64} AS step_start_us,
  sum(enqueued), sum(started), sum(finished), sum(failed), sum(cancelled), sum(discarded), sum(retried), sum(dead), sum(negative_waits),
  sumMap(if({samples:String} = 'wait', wait_hist, map())), sumMap(if({samples:String} = 'run', run_ok_hist, map())),
  sumMap(if({samples:String} = 'run', run_failed_hist, map())), sum(wait_sum_us), sum(run_ok_sum_us), sum(run_failed_sum_us)
FROM {{counted}}
WHERE (k1, k2, k3, k4, k5) IN (
  SELECT
    if({depth:UInt8} > 0, tenant, '') AS k1, if({depth:UInt8} > 1, environment, '') AS k2, if({depth:UInt8} > 2, system, '') AS k3,
    if({depth:UInt8} > 3, queue, '') AS k4, if({depth:UInt8} > 4, job_class, '') AS k5
  FROM {{counted}}
  WHERE [k1, k2, k3, k4, k5] > {after:Array(String)}
  GROUP BY k1, k2, k3, k4, k5
  ORDER BY k1, k2, k3, k4, k5
  LIMIT {limit:UInt32})
GROUP BY k1, k2, k3, k4, k5, step_start_us
ORDER BY k1, k2, k3, k4, k5, step_start_us
SETTINGS max_execution_time = 30
