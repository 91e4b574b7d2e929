-- Minute numbers of each series. Rows are recomputed from executions for minutes that changed, never added to: the newest version of a
-- (series, minute) is the whole truth about it, and a series that left a minute gets a row of zeros there.
-- first_version is the version of the series' first row in that minute: whether it is so old that executions may be gone by now.
-- Histograms are the log buckets of jobtide.streams.sketches.histogram; merge them with sumMap.
CREATE TABLE IF NOT EXISTS rollup_1m (
  tenant            LowCardinality(String),
  environment       LowCardinality(String),
  system            LowCardinality(String),
  queue             LowCardinality(String),
  job_class         LowCardinality(String),
  minute            DateTime('UTC')       CODEC(DoubleDelta, ZSTD(1)),
  version           UInt64                CODEC(ZSTD(1)),
  first_version     UInt64                CODEC(ZSTD(1)),
  enqueued          UInt64                CODEC(T64, ZSTD(1)),
  started           UInt64                CODEC(T64, ZSTD(1)),
  finished          UInt64                CODEC(T64, ZSTD(1)),
  failed            UInt64                CODEC(T64, ZSTD(1)),
  cancelled         UInt64                CODEC(T64, ZSTD(1)),
  discarded         UInt64                CODEC(T64, ZSTD(1)),
  retried           UInt64                CODEC(T64, ZSTD(1)),
  dead              UInt64                CODEC(T64, ZSTD(1)),
  negative_waits    UInt64                CODEC(T64, ZSTD(1)),
  wait_hist         Map(Int16, UInt64)    CODEC(ZSTD(1)),
  run_ok_hist       Map(Int16, UInt64)    CODEC(ZSTD(1)),
  run_failed_hist   Map(Int16, UInt64)    CODEC(ZSTD(1)),
  wait_sum_us       UInt64                CODEC(T64, ZSTD(1)),
  run_ok_sum_us     UInt64                CODEC(T64, ZSTD(1)),
  run_failed_sum_us UInt64                CODEC(T64, ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (tenant, minute, environment, system, queue, job_class)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE VIEW IF NOT EXISTS rollups AS
SELECT * EXCEPT (version, first_version) FROM rollup_1m FINAL
WHERE enqueued + started + finished + failed + cancelled + discarded + retried + dead > 0;
