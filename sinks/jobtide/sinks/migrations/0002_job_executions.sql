-- What is known of each attempt: the columns are the facts of jobtide.streams.folds.attempts, and their merge is its `join`, so rows may
-- arrive in any order and any number of times. `outcome` is one tuple because its parts must come from the same event: the greatest
-- (rank, -time, -duration, error …) wins; minus_duration_us is -2^62 where no event said it.
-- The writer puts all that it knows of an attempt into each row: the newest row alone says what the attempt counts for, and
-- first_at..last_at of it holds every minute it counts in or ever did (an implied start included). recompute.sql relies on that.
CREATE TABLE IF NOT EXISTS job_executions (
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
  month       Date DEFAULT toStartOfMonth(first_at)                         CODEC(ZSTD(1)),
  INDEX by_first first_at TYPE minmax GRANULARITY 1,
  INDEX by_last  last_at  TYPE minmax GRANULARITY 1,
  INDEX by_job   job_id   TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = AggregatingMergeTree
PARTITION BY month
ORDER BY (tenant, environment, system, queue, job_id, attempt)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 2048;
