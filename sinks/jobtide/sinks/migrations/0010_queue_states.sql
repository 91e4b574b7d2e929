-- What backends said of their queues: snapshots, pauses and resumptions, one row per event.
CREATE TABLE IF NOT EXISTS queue_states (
  tenant          LowCardinality(String),
  environment     LowCardinality(String),
  system          LowCardinality(String),
  queue           LowCardinality(String),
  time            DateTime64(6, 'UTC')            CODEC(Delta(8), ZSTD(1)),
  type            LowCardinality(String),
  ready           Nullable(UInt64)                CODEC(ZSTD(1)),
  scheduled       Nullable(UInt64)                CODEC(ZSTD(1)),
  retry           Nullable(UInt64)                CODEC(ZSTD(1)),
  dead            Nullable(UInt64)                CODEC(ZSTD(1)),
  running         Nullable(UInt64)                CODEC(ZSTD(1)),
  oldest_ready_at Nullable(DateTime64(6, 'UTC'))  CODEC(ZSTD(1)),
  paused          Nullable(UInt8)                 CODEC(ZSTD(1)),
  actor           String                          CODEC(ZSTD(1)),
  event_id        String                          CODEC(ZSTD(1)),
  ingested_at     DateTime64(3, 'UTC')            CODEC(Delta(8), ZSTD(1))
) ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, environment, system, queue, time, type, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- What earlier versions wrote.
INSERT INTO queue_states
SELECT
  tenant, environment, system, queue, time, type, JSONExtract(data, 'ready', 'Nullable(UInt64)'), JSONExtract(data, 'scheduled', 'Nullable(UInt64)'),
  JSONExtract(data, 'retry', 'Nullable(UInt64)'), JSONExtract(data, 'dead', 'Nullable(UInt64)'), JSONExtract(data, 'running', 'Nullable(UInt64)'),
  parseDateTime64BestEffortOrNull(JSONExtractString(data, 'oldest_ready_at'), 6, 'UTC'),
  multiIf(type = 'queue.paused', 1, type = 'queue.resumed', 0, JSONExtract(data, 'paused', 'Nullable(Bool)')),
  JSONExtractString(data, 'actor'), event_id, ingested_at
FROM job_events FINAL
WHERE type IN ('queue.snapshot', 'queue.paused', 'queue.resumed');
