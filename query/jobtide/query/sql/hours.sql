-- What every series counted in the whole hours [hours_from_us, hours_to_us). Not a question of its own: totals.sql and
-- series.sql sum it.
SELECT
  tenant, environment, system, queue, job_class, toInt64(toUnixTimestamp(hour)) * 1000000 AS at_us,
  enqueued, started, finished, failed, cancelled, discarded, retried, dead, negative_waits,
  wait_hist, run_ok_hist, run_failed_hist, wait_sum_us, run_ok_sum_us, run_failed_sum_us
FROM rollup_hours
WHERE hour >= fromUnixTimestamp64Micro({hours_from_us:Int64}, 'UTC') AND hour < fromUnixTimestamp64Micro({hours_to_us:Int64}, 'UTC')
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
  AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
