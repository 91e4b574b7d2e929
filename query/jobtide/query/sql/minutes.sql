-- What every series counted in the whole minutes [minutes_from_us, minutes_to_us) outside of the whole hours that hours.sql
-- answers. Not a question of its own: totals.sql and series.sql sum it.
SELECT
  tenant, environment, system, queue, job_class, toInt64(toUnixTimestamp(minute)) * 1000000 AS at_us,
  enqueued, started, finished, failed, cancelled, discarded, retried, dead, negative_waits,
  wait_hist, run_ok_hist, run_failed_hist, wait_sum_us, run_ok_sum_us, run_failed_sum_us
FROM rollups
WHERE minute >= fromUnixTimestamp64Micro({minutes_from_us:Int64}, 'UTC') AND minute < fromUnixTimestamp64Micro({minutes_to_us:Int64}, 'UTC')
  AND NOT (minute >= fromUnixTimestamp64Micro({hours_from_us:Int64}, 'UTC') AND minute < fromUnixTimestamp64Micro({hours_to_us:Int64}, 'UTC'))
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
  AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
