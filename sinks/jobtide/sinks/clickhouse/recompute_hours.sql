-- Recompute the hours in `dirty`, whole, from their minutes as they are now. Series with nothing left get a row of zeros, because their
-- minutes do.
INSERT INTO rollup_1h
SELECT
  tenant, environment, system, queue, job_class, toStartOfHour(minute) AS hour, %(version)s,
  sum(enqueued), sum(started), sum(finished), sum(failed), sum(cancelled), sum(discarded), sum(retried), sum(dead), sum(negative_waits),
  sumMap(wait_hist), sumMap(run_ok_hist), sumMap(run_failed_hist), sum(wait_sum_us), sum(run_ok_sum_us), sum(run_failed_sum_us)
FROM rollup_1m FINAL
WHERE minute >= toDateTime(%(since)s, 'UTC') AND minute < toDateTime(%(until)s, 'UTC')
  AND (tenant, toStartOfHour(minute)) IN (SELECT d.1, toDateTime(d.2, 'UTC') FROM (SELECT arrayJoin(%(dirty)s) AS d))
GROUP BY tenant, environment, system, queue, job_class, hour
