-- Who did what, and who was refused: one row each, appended by the API (jobtide.access.audit), never changed. A record that was written
-- just before a lost answer may come twice. It tells of requests, not of jobs, and outlives the erasure of a tenant on purpose.
CREATE TABLE IF NOT EXISTS audit_log (
  at       DateTime64(6, 'UTC')    CODEC(Delta(8), ZSTD(1)),
  caller   String                  CODEC(ZSTD(1)),
  key_id   LowCardinality(String),
  role     LowCardinality(String),
  address  String                  CODEC(ZSTD(1)),
  method   LowCardinality(String),
  path     String                  CODEC(ZSTD(1)),
  query    String                  CODEC(ZSTD(1)),
  status   UInt16                  CODEC(ZSTD(1)),
  outcome  String                  CODEC(ZSTD(1))
) ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY at;
