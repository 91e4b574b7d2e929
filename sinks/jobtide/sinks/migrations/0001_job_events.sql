-- Every event, once: redelivered rows are equal in the sorting key and collapse. Times are the event's own, except that a time more than
-- five minutes after the append is clamped (the claimed one stays in reported_at). ingested_at is Kafka's append time, so that a
-- redelivery writes the very same row and retention counts a backfill of old events from its arrival.
CREATE TABLE IF NOT EXISTS job_events (
  tenant          LowCardinality(String),
  environment     LowCardinality(String),
  system          LowCardinality(String),
  queue           LowCardinality(String),
  job_class       LowCardinality(String),
  job_id          String                          CODEC(ZSTD(1)),
  attempt         UInt32                          CODEC(T64, ZSTD(1)),
  type            LowCardinality(String),
  time            DateTime64(6, 'UTC')            CODEC(Delta(8), ZSTD(1)),
  reported_at     Nullable(DateTime64(6, 'UTC'))  CODEC(ZSTD(1)),
  event_id        String                          CODEC(ZSTD(1)),
  epoch           LowCardinality(String),
  lane            Nullable(UInt8)                 CODEC(ZSTD(1)),
  seq             Nullable(UInt64)                CODEC(ZSTD(1)),
  worker_id       String                          CODEC(ZSTD(1)),
  enqueued_at     Nullable(DateTime64(6, 'UTC'))  CODEC(ZSTD(1)),
  started_at      Nullable(DateTime64(6, 'UTC'))  CODEC(ZSTD(1)),
  run_at          Nullable(DateTime64(6, 'UTC'))  CODEC(ZSTD(1)),
  duration_us     Nullable(Int64)                 CODEC(ZSTD(1)),
  error_class     LowCardinality(String),
  error_message   String                          CODEC(ZSTD(3)),
  error_backtrace String                          CODEC(ZSTD(3)),
  backfill        UInt8                           CODEC(ZSTD(1)),
  data            String                          CODEC(ZSTD(3)),
  source          LowCardinality(String),
  kafka_partition UInt16                          CODEC(ZSTD(1)),
  kafka_offset    UInt64                          CODEC(Delta(8), ZSTD(1)),
  ingested_at     DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1)),
  INDEX by_job job_id TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, time, type, event_id)
SETTINGS non_replicated_deduplication_window = 1000;
