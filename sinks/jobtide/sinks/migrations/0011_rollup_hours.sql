-- Hour numbers of each series: the sums of its minutes, recomputed after them and with the same rules, so that questions about days and weeks
-- need not merge the histograms of every minute.
CREATE TABLE IF NOT EXISTS rollup_1h (
  tenant            LowCardinality(String),
  environment       LowCardinality(String),
  system            LowCardinality(String),
  queue             LowCardinality(String),
  job_class         LowCardinality(String),
  hour              DateTime('UTC')       CODEC(DoubleDelta, ZSTD(1)),
  version           UInt64                CODEC(ZSTD(1)),
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
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour, environment, system, queue, job_class)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE VIEW IF NOT EXISTS rollup_hours AS
SELECT * EXCEPT version FROM rollup_1h FINAL
WHERE enqueued + started + finished + failed + cancelled + discarded + retried + dead > 0;

-- What earlier versions wrote.
INSERT INTO rollup_1h
SELECT
  tenant, environment, system, queue, job_class, toStartOfHour(minute) AS hour, max(version),
  sum(enqueued), sum(started), sum(finished), sum(failed), sum(cancelled), sum(discarded), sum(retried), sum(dead), sum(negative_waits),
  sumMap(wait_hist), sumMap(run_ok_hist), sumMap(run_failed_hist), sum(wait_sum_us), sum(run_ok_sum_us), sum(run_failed_sum_us)
FROM rollup_1m FINAL
GROUP BY tenant, environment, system, queue, job_class, hour;
