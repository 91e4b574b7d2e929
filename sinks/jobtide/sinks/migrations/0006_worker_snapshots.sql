-- What workers said of themselves, one row per event and Kafka partition it was broadcast to: `running` is that partition's slice.
CREATE TABLE IF NOT EXISTS worker_snapshots (
  tenant          LowCardinality(String),
  environment     LowCardinality(String),
  system          LowCardinality(String),
  worker_id       String                CODEC(ZSTD(1)),
  time            DateTime64(6, 'UTC')  CODEC(Delta(8), ZSTD(1)),
  type            LowCardinality(String),
  kafka_partition UInt16                CODEC(ZSTD(1)),
  status          LowCardinality(String),
  hostname        LowCardinality(String),
  pid             Nullable(UInt64)      CODEC(ZSTD(1)),
  tag             LowCardinality(String),
  version         LowCardinality(String),
  queues          Array(LowCardinality(String)),
  concurrency     Nullable(UInt64)      CODEC(ZSTD(1)),
  busy            Nullable(UInt64)      CODEC(ZSTD(1)),
  running         UInt32                CODEC(ZSTD(1)),
  processed       Nullable(UInt64)      CODEC(ZSTD(1)),
  failed          Nullable(UInt64)      CODEC(ZSTD(1)),
  rss_bytes       Nullable(UInt64)      CODEC(ZSTD(1)),
  cpu_percent     Nullable(Float64)     CODEC(ZSTD(1)),
  epoch           LowCardinality(String),
  lane            Nullable(UInt8)       CODEC(ZSTD(1)),
  seq             Nullable(UInt64)      CODEC(ZSTD(1)),
  event_id        String                CODEC(ZSTD(1)),
  ingested_at     DateTime64(3, 'UTC')  CODEC(Delta(8), ZSTD(1))
) ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, environment, system, worker_id, time, type, kafka_partition)
SETTINGS non_replicated_deduplication_window = 1000;
