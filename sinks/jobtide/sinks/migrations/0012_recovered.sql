-- Whether a later attempt of the job finished: written when it does, for the attempts before it, so that no question has to look for it.
-- Such a row may be the first of an attempt, or the only one: it has no outcome, and lists of failures leave it out.
ALTER TABLE execution_lists ADD COLUMN IF NOT EXISTS recovered SimpleAggregateFunction(max, UInt8) CODEC(ZSTD(1)) AFTER batch_id;

CREATE OR REPLACE VIEW listed_executions AS
WITH
  tupleElement(e.outcome, 'rank') AS rank,
  -tupleElement(e.outcome, 'minus_time_us') AS outcome_us,
  -tupleElement(e.outcome, 'minus_duration_us') AS duration_us,
  toUnixTimestamp64Micro(ifNull(e.started_at, e.implied_at)) AS counted_start_us,
  if(e.started_at IS NULL AND rank > 0 AND counted_start_us = outcome_us, NULL, counted_start_us) AS measured_start_us,
  toUnixTimestamp64Micro(ifNull(e.enqueued_at, e.queued_at)) AS said_us,
  toUnixTimestamp64Micro(ifNull(e.queued_at, e.enqueued_at)) AS told_us,
  toUnixTimestamp64Micro(e.eligible_at) AS eligible_us,
  if(said_us IS NULL, NULL, least(said_us, told_us)) AS basis_us,
  multiIf(basis_us IS NULL, NULL, eligible_us > basis_us, eligible_us, basis_us) AS ready_us,
  transform(rank, [4, 3, 2, 1], ['finished', 'failed', 'cancelled', 'discarded'], '') AS outcome_name
SELECT
  e.list AS list, e.batch AS batch,
  e.tenant AS tenant, e.environment AS environment, e.system AS system, e.queue AS queue, e.job_id AS job_id, e.attempt AS attempt,
  e.job_class AS job_class,
  ifNull(e.worker_id, '') AS worker_id,
  multiIf(outcome_name != '', outcome_name, counted_start_us IS NOT NULL, 'running', 'waiting') AS state,
  e.enqueued_at AS enqueued_at, e.queued_at AS queued_at, e.eligible_at AS eligible_at,
  ifNull(e.started_at, e.implied_at) AS started_at,
  if(rank > 0, fromUnixTimestamp64Micro(outcome_us, 'UTC'), NULL) AS finished_at,
  measured_start_us - ready_us AS wait_us,
  multiIf(rank < 3, NULL, duration_us < 4611686018427387904, duration_us, outcome_us - measured_start_us) AS run_us,
  outcome_name AS outcome,
  e.dead_at IS NOT NULL AS dead, e.retried_at IS NOT NULL AS retried,
  e.dead_at AS dead_at, e.retried_at AS retried_at,
  tupleElement(e.outcome, 'error_class') AS error_class, tupleElement(e.outcome, 'error_message') AS error_message,
  tupleElement(e.outcome, 'error_fingerprint') AS error_fingerprint,
  e.first_at AS first_at, e.last_at AS last_at, e.ingested_at AS ingested_at, e.batch_id AS batch_id, e.recovered > 0 AS recovered
FROM execution_lists AS e FINAL;

-- What earlier versions wrote.
INSERT INTO execution_lists (list, batch, tenant, environment, system, queue, job_id, attempt, job_class, outcome, first_at, last_at, ingested_at, recovered)
SELECT
  'trouble', '', tenant, environment, system, queue, job_id, arrayJoin(range(1, least(attempt, 101))), job_class,
  (0, 0, -4611686018427387904, '', '', ''), first_at, last_at, ingested_at, 1
FROM job_executions
WHERE attempt > 1 AND tupleElement(outcome, 'rank') = 4;
