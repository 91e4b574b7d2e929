-- Recompute the minutes in `dirty`, whole. Every row of an attempt from the time of these minutes is joined: its newest row, which says
-- all that is known and whose first_at..last_at holds every minute it counts or counted in, is among them. The comment `rows` stands
-- for those ranges of time, or in the sweep for all rows of the attempts in it, which does not rely on the newest row being whole.
-- Series that are already in the rollup take part with nothing, so that one which left a minute gets a row of zeros.
-- The rules are those of the view `executions` and of jobtide.streams.folds.attempts; a test holds the three together.
-- Fields: 0 enqueued, 1 started, 2 finished, 3 failed, 4 cancelled, 5 discarded, 6 dead, 7 retried; 255 is the row that exists already.
INSERT INTO rollup_1m (
  tenant, environment, system, queue, job_class, minute, version, first_version,
  enqueued, started, finished, failed, cancelled, discarded, dead, retried, negative_waits,
  wait_hist, run_ok_hist, run_failed_hist, wait_sum_us, run_ok_sum_us, run_failed_sum_us)
WITH
  dirty AS (SELECT d.1 AS tenant, toDateTime(d.2, 'UTC') AS minute FROM (SELECT arrayJoin(%(dirty)s) AS d)),
  facts AS (
    SELECT
      tenant, environment, system, queue,
      min(e.job_class) AS job_class,
      toUnixTimestamp64Micro(min(e.enqueued_at)) AS enqueued_us,
      toUnixTimestamp64Micro(min(e.queued_at)) AS queued_us,
      toUnixTimestamp64Micro(max(e.eligible_at)) AS eligible_us,
      toUnixTimestamp64Micro(min(e.started_at)) AS started_us,
      toUnixTimestamp64Micro(min(e.implied_at)) AS implied_us,
      toUnixTimestamp64Micro(min(e.dead_at)) AS dead_us,
      toUnixTimestamp64Micro(min(e.retried_at)) AS retried_us,
      max((e.outcome.rank, e.outcome.minus_time_us, e.outcome.minus_duration_us)) AS outcome
    FROM job_executions AS e
    WHERE tenant IN (SELECT tenant FROM dirty) AND /* rows */
    GROUP BY tenant, environment, system, queue, job_id, attempt
  ),
  derived AS (
    SELECT
      tenant, environment, system, queue, job_class, enqueued_us, dead_us, retried_us,
      outcome.1 AS rank, -outcome.2 AS outcome_us, -outcome.3 AS duration_us,
      ifNull(started_us, implied_us) AS start_us,
      if(started_us IS NULL AND rank > 0 AND start_us = outcome_us, NULL, start_us) AS measured_us,
      if(enqueued_us IS NULL AND queued_us IS NULL, NULL,
         least(ifNull(enqueued_us, queued_us), ifNull(queued_us, enqueued_us))) AS basis_us,
      multiIf(basis_us IS NULL, NULL, eligible_us > basis_us, eligible_us, basis_us) AS ready_us,
      multiIf(rank < 3, NULL, duration_us < 4611686018427387904, duration_us, outcome_us - measured_us) AS run_us
    FROM facts
  ),
  counted AS (
    SELECT
      tenant, environment, system, queue, job_class,
      arrayJoin(arrayFilter(c -> c.2 IS NOT NULL, [
        (0, enqueued_us, NULL),
        (1, start_us, measured_us - ready_us),
        (6 - rank, if(rank > 0, outcome_us, NULL), run_us),
        (6, dead_us, NULL),
        (7, retried_us, NULL)])) AS c,
      toUInt8(c.1) AS field,
      toDateTime(intDiv(assumeNotNull(c.2), 60000000) * 60, 'UTC') AS minute,
      c.3 AS sample_us
    FROM derived
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
    multiIf(sample_us IS NULL, NULL, sample_us <= 0, toInt16(-1), toInt16(ceil(log(assumeNotNull(sample_us)) * %(per_ln)s))) AS bucket,
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
