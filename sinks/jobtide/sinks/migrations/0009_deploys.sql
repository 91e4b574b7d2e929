-- Releases as they were marked: the events themselves, beside job_events where each is one row among many.
CREATE TABLE IF NOT EXISTS deploys (
  tenant      LowCardinality(String),
  environment LowCardinality(String),
  system      LowCardinality(String),
  queue       LowCardinality(String),
  release     String                CODEC(ZSTD(1)),
  time        DateTime64(6, 'UTC')  CODEC(Delta(8), ZSTD(1)),
  actor       String                CODEC(ZSTD(1)),
  url         String                CODEC(ZSTD(1)),
  note        String                CODEC(ZSTD(1)),
  event_id    String                CODEC(ZSTD(1)),
  ingested_at DateTime64(3, 'UTC')  CODEC(Delta(8), ZSTD(1))
) ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(time)
ORDER BY (tenant, time, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- What earlier versions wrote.
INSERT INTO deploys
SELECT
  tenant, environment, system, queue, JSONExtractString(data, 'release'), time, JSONExtractString(data, 'actor'), JSONExtractString(data, 'url'),
  JSONExtractString(data, 'note'), event_id, ingested_at
FROM job_events FINAL
WHERE type = 'deploy.marked';
