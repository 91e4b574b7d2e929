-- Copies of some attempts' rows, so that questions about few attempts need not read all: `list` is 'trouble' (attempts that failed at
-- some time, and later attempts of jobs, which tell whether a retry helped; `batch` is empty) or 'batch' (attempts of the batch `batch`).
-- A copy merges as its original does, and the writer writes it before the original: whatever it is killed between, no list lacks what
-- the original says. An attempt that turned out finished stays in 'trouble', as finished: ask for the outcome.
CREATE TABLE IF NOT EXISTS execution_lists (
  list        LowCardinality(String),
  batch       String                                                        CODEC(ZSTD(1)),
  tenant      LowCardinality(String),
  environment LowCardinality(String),
  system      LowCardinality(String),
  queue       LowCardinality(String),
  job_id      String                                                        CODEC(ZSTD(1)),
  attempt     UInt32                                                        CODEC(T64, ZSTD(1)),
  job_class   SimpleAggregateFunction(min, LowCardinality(String)),
  worker_id   SimpleAggregateFunction(min, Nullable(String))                CODEC(ZSTD(1)),
  enqueued_at SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC')))  CODEC(ZSTD(1)),
  queued_at   SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC')))  CODEC(ZSTD(1)),
  eligible_at SimpleAggregateFunction(max, Nullable(DateTime64(6, 'UTC')))  CODEC(ZSTD(1)),
  started_at  SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC')))  CODEC(ZSTD(1)),
  implied_at  SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC')))  CODEC(ZSTD(1)),
  outcome     SimpleAggregateFunction(max, Tuple(
                rank UInt8, minus_time_us Int64, minus_duration_us Int64,
                error_class String, error_message String, error_fingerprint String)) CODEC(ZSTD(1)),
  dead_at     SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC')))  CODEC(ZSTD(1)),
  retried_at  SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC')))  CODEC(ZSTD(1)),
  first_at    SimpleAggregateFunction(min, DateTime64(6, 'UTC'))            CODEC(ZSTD(1)),
  last_at     SimpleAggregateFunction(max, DateTime64(6, 'UTC'))            CODEC(ZSTD(1)),
  ingested_at SimpleAggregateFunction(max, DateTime('UTC'))                 CODEC(ZSTD(1)),
  batch_id    SimpleAggregateFunction(max, String)                          CODEC(ZSTD(1)),
  month       Date DEFAULT toStartOfMonth(first_at)                         CODEC(ZSTD(1)),
  INDEX by_first first_at TYPE minmax GRANULARITY 1,
  INDEX by_last  last_at  TYPE minmax GRANULARITY 1
) ENGINE = AggregatingMergeTree
PARTITION BY month
ORDER BY (list, tenant, batch, environment, system, queue, job_id, attempt)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 2048;

-- The same columns as `executions`, by the same rules.
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
  e.first_at AS first_at, e.last_at AS last_at, e.ingested_at AS ingested_at, e.batch_id AS batch_id
FROM execution_lists AS e FINAL;

-- What earlier versions wrote.
INSERT INTO execution_lists (
  list, batch, tenant, environment, system, queue, job_id, attempt, job_class, worker_id, enqueued_at, queued_at, eligible_at,
  started_at, implied_at, outcome, dead_at, retried_at, first_at, last_at, ingested_at, batch_id)
SELECT
  'trouble', '', tenant, environment, system, queue, job_id, attempt, job_class, worker_id, enqueued_at, queued_at, eligible_at,
  started_at, implied_at, outcome, dead_at, retried_at, first_at, last_at, ingested_at, batch_id
FROM job_executions
WHERE attempt > 1 OR (tenant, environment, system, queue, job_id, attempt) IN (
  SELECT tenant, environment, system, queue, job_id, attempt FROM job_executions WHERE tupleElement(outcome, 'rank') = 3);
