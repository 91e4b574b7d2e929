-- Failed attempts once more, narrow and by a number each, so that questions about causes in hundreds of thousands of them take a fraction of a
-- second: merging rows by one number costs a tenth of merging them by the key of `execution_lists`, whose outcomes are compared as tuples.
-- `fact`: 'failed' (what counts of an attempt of which a failure was told; `rank` and `at` are its outcome's, rank 3 is failed), 'dead' or
-- 'recovered' (a later attempt of the job finished; `at` is then). Of one attempt's 'failed' rows the one with the greatest outcome stays,
-- by the rule of `job_executions`: the higher rank, then the earlier time. Only rows that know the error are written while it is failed.
CREATE TABLE IF NOT EXISTS failures (
  fact              LowCardinality(String),
  tenant            LowCardinality(String),
  attempt_hash      UInt64,
  version           UInt64                        CODEC(ZSTD(1)),
  rank              UInt8                         CODEC(ZSTD(1)),
  at                DateTime64(6, 'UTC')          CODEC(ZSTD(1)),
  environment       LowCardinality(String),
  system            LowCardinality(String),
  queue             LowCardinality(String),
  job_class         LowCardinality(String),
  job_id            String                        CODEC(ZSTD(1)),
  attempt           UInt32                        CODEC(T64, ZSTD(1)),
  host              LowCardinality(String),
  error_class       LowCardinality(String),
  error_message     String                        CODEC(ZSTD(1)),
  error_fingerprint LowCardinality(String),
  ingested_at       DateTime('UTC')               CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree(version)
ORDER BY (fact, tenant, attempt_hash)
SETTINGS non_replicated_deduplication_window = 1000;

-- What earlier versions wrote.
INSERT INTO failures
SELECT
  'failed', tenant, halfMD5(concatWithSeparator('\x1f', tenant, environment, system, queue, job_id, toString(attempt))),
  bitShiftLeft(toUInt64(3), 56) + bitShiftLeft(toUInt64(1), 55) - toUnixTimestamp64Micro(assumeNotNull(finished_at)), 3, assumeNotNull(finished_at),
  environment, system, queue, job_class, job_id, attempt, splitByChar(':', worker_id)[1], error_class, error_message, error_fingerprint, ingested_at
FROM listed_executions
WHERE list = 'trouble' AND batch = '' AND outcome = 'failed';

INSERT INTO failures
SELECT
  if(f.1, 'dead', 'recovered'), tenant, halfMD5(concatWithSeparator('\x1f', tenant, environment, system, queue, job_id, toString(attempt))),
  0, 0, f.2, environment, system, queue, job_class, job_id, attempt, '', '', '', '', ingested_at
FROM listed_executions
ARRAY JOIN arrayConcat(if(dead, [(true, assumeNotNull(dead_at))], []), if(recovered, [(false, last_at)], [])) AS f
WHERE list = 'trouble' AND batch = '';
