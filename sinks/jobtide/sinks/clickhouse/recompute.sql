-- Recompute the minutes in `dirty` from executions, whole. First the attempts with any fact in these minutes (first_at and last_at let
-- ClickHouse skip what lies elsewhere), then all that is known of those attempts, then what they count for in these minutes.
-- Series that are already in the rollup take part with nothing, so that one which left a minute gets a row of zeros.
-- Fields: 0 enqueued, 1 started, 2 finished, 3 failed, 4 cancelled, 5 discarded, 6 dead, 7 retried; 255 is the row that exists already.
INSERT INTO rollup_1m (
  tenant, environment, system, queue, job_class, minute, version, first_version,
  enqueued, started, finished, failed, cancelled, discarded, dead, retried, negative_waits,
  wait_hist, run_ok_hist, run_failed_hist, wait_sum_us, run_ok_sum_us, run_failed_sum_us)
WITH
  dirty AS (SELECT d.1 AS tenant, toDateTime(d.2, 'UTC') AS minute FROM (SELECT arrayJoin(%(dirty)s) AS d)),
  touched AS (
    SELECT tenant, environment, system, queue, job_id, attempt
    FROM job_executions
    WHERE last_at >= toDateTime(%(first)s, 'UTC') AND first_at < toDateTime(%(last)s, 'UTC') AND tenant IN (SELECT tenant FROM dirty)
      AND ((tenant, toStartOfMinute(enqueued_at)) IN (SELECT tenant, minute FROM dirty)
        OR (tenant, toStartOfMinute(started_at)) IN (SELECT tenant, minute FROM dirty)
        OR (tenant, toStartOfMinute(implied_at)) IN (SELECT tenant, minute FROM dirty)
        OR (tenant, toStartOfMinute(fromUnixTimestamp64Micro(outcome.time_us, 'UTC'))) IN (SELECT tenant, minute FROM dirty)
        OR (tenant, toStartOfMinute(dead_at)) IN (SELECT tenant, minute FROM dirty)
        OR (tenant, toStartOfMinute(retried_at)) IN (SELECT tenant, minute FROM dirty))
  ),
  counted AS (
    SELECT
      tenant, environment, system, queue, job_class,
      arrayJoin(arrayFilter(c -> c.2 IS NOT NULL, [
        (0, enqueued_at, NULL),
        (1, started_at, wait_us),
        (indexOf(['finished', 'failed', 'cancelled', 'discarded'], outcome) + 1, finished_at, run_us),
        (6, dead_at, NULL),
        (7, retried_at, NULL)])) AS c,
      toUInt8(c.1) AS field,
      assumeNotNull(toStartOfMinute(c.2)) AS minute,
      c.3 AS sample_us
    FROM executions
    WHERE (tenant, environment, system, queue, job_id, attempt) IN (SELECT * FROM touched)
  )
SELECT
  tenant, environment, system, queue, job_class, minute, %(version)s, if(max(since) = 0, %(version)s, max(since)),
  sumIf(n, field = 0), sumIf(n, field = 1), sumIf(n, field = 2), sumIf(n, field = 3),
  sumIf(n, field = 4), sumIf(n, field = 5), sumIf(n, field = 6), sumIf(n, field = 7),
  sumIf(negative, field = 1),
  CAST(arraySort(groupArrayIf((assumeNotNull(bucket), n), field = 1 AND bucket IS NOT NULL)), 'Map(Int16, UInt64)'),
  CAST(arraySort(groupArrayIf((assumeNotNull(bucket), n), field = 2 AND bucket IS NOT NULL)), 'Map(Int16, UInt64)'),
  CAST(arraySort(groupArrayIf((assumeNotNull(bucket), n), field = 3 AND bucket IS NOT NULL)), 'Map(Int16, UInt64)'),
  sumIf(sum_us, field = 1), sumIf(sum_us, field = 2), sumIf(sum_us, field = 3)
FROM (
  SELECT
    tenant, environment, system, queue, job_class, minute, field,
    multiIf(sample_us IS NULL, NULL, sample_us <= 0, -1, toInt16(ceil(log(assumeNotNull(sample_us)) * %(per_ln)s))) AS bucket,
    count() AS n,
    toUInt64(sum(greatest(ifNull(sample_us, 0), 0))) AS sum_us,
    countIf(sample_us < 0) AS negative,
    toUInt64(0) AS since
  FROM counted
  WHERE (tenant, minute) IN (SELECT tenant, minute FROM dirty)
  GROUP BY tenant, environment, system, queue, job_class, minute, field, bucket
  UNION ALL
  SELECT
    tenant, environment, system, queue, job_class, minute, 255, NULL,
    argMax(enqueued + started + finished + failed + cancelled + discarded + dead + retried, version), 0, 0, argMax(first_version, version)
  FROM rollup_1m
  WHERE (tenant, minute) IN (SELECT tenant, minute FROM dirty)
  GROUP BY tenant, environment, system, queue, job_class, minute
)
GROUP BY tenant, environment, system, queue, job_class, minute
-- Executions are kept so long from their ingestion, or from their time if that is later: a minute whose first row is older than that may
-- have lost some, and is never lowered.
HAVING minute >= toDateTime(%(kept_since)s, 'UTC') OR max(since) >= toUInt64(%(kept_since)s) * 1000000
  OR sumIf(n, field < 255) >= sumIf(n, field = 255)
