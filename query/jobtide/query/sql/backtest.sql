-- What every series counted in each second of [from_us, to_us), in the order of time: what rules are run over. One tenant, or all.
SELECT
  tenant, environment, system, queue, job_class, intDiv(at_us, 1000000) AS second,
  sum(enqueued), sum(started), sum(finished), sum(failed), sum(cancelled), sum(discarded), sum(retried), sum(dead), sum(negative_waits),
  sumMap(wait_hist), sumMap(run_ok_hist), sumMap(run_failed_hist), sum(wait_sum_us), sum(run_ok_sum_us), sum(run_failed_sum_us)
FROM {{counted}}
GROUP BY tenant, environment, system, queue, job_class, second
ORDER BY second, tenant, environment, system, queue, job_class
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 60
