-- Every change of an alert's state, once: the id of a transition is the hash of rule, fingerprint, episode and state, so it is always in the
-- place that (tenant, episode, id) names, however often the log is read. Should two records ever say one id, the first that came wins.
CREATE TABLE IF NOT EXISTS alerts (
  tenant       LowCardinality(String),
  environment  LowCardinality(String),
  system       LowCardinality(String),
  queue        LowCardinality(String),
  job_class    LowCardinality(String),
  rule         LowCardinality(String),
  kind         LowCardinality(String),
  severity     LowCardinality(String),
  state        LowCardinality(String),
  reason       LowCardinality(String),
  fingerprint  String                CODEC(ZSTD(1)),
  id           String                CODEC(ZSTD(1)),
  episode      DateTime64(6, 'UTC')  CODEC(Delta(8), ZSTD(1)),
  at           DateTime64(6, 'UTC')  CODEC(Delta(8), ZSTD(1)),
  value        Nullable(Float64)     CODEC(ZSTD(1)),
  samples      UInt64                CODEC(ZSTD(1)),
  condition    String                CODEC(ZSTD(1)),
  window_from  DateTime64(6, 'UTC')  CODEC(Delta(8), ZSTD(1)),
  window_to    DateTime64(6, 'UTC')  CODEC(Delta(8), ZSTD(1)),
  query        String                CODEC(ZSTD(1)),
  summary      String                CODEC(ZSTD(1)),
  runbook      String                CODEC(ZSTD(1)),
  labels       Map(String, String)   CODEC(ZSTD(1)),
  examples     Array(Map(String, String)) CODEC(ZSTD(1)),
  version      UInt64                CODEC(ZSTD(1)),
  ingested_at  DateTime64(3, 'UTC')  CODEC(Delta(8), ZSTD(1)),
  INDEX at_range at TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(episode)
ORDER BY (tenant, episode, id)
SETTINGS non_replicated_deduplication_window = 1000, index_granularity = 1024;

-- How far the log of alerts is in there, per Kafka partition: everything appended before read_until.
CREATE TABLE IF NOT EXISTS alerts_progress (
  kafka_partition UInt16,
  read_until      DateTime64(6, 'UTC'),
  updated_at      DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(updated_at)
ORDER BY kafka_partition;

CREATE OR REPLACE VIEW analyst_alerts AS SELECT * EXCEPT (version) FROM alerts FINAL;
