-- What the history writer must not forget: minutes to recompute, and how far it has come.
-- dirty_minutes: a minute is pending while marked > done. Marks are written before the rows that make the minute dirty; done is
-- written after the recomputation. One Kafka partition has one writer at a time, so the partition is part of the key.
CREATE TABLE IF NOT EXISTS dirty_minutes (
  kafka_partition UInt16,
  tenant          LowCardinality(String),
  minute          DateTime('UTC'),
  marked          SimpleAggregateFunction(max, UInt64),
  done            SimpleAggregateFunction(max, UInt64),
  touched_at      SimpleAggregateFunction(max, DateTime('UTC')) DEFAULT now()
) ENGINE = AggregatingMergeTree
ORDER BY (kafka_partition, tenant, minute)
TTL touched_at + INTERVAL 30 DAY;

-- watermark: everything of the partition before it is in job_events and job_executions; rollup_watermark: and in rollup_1m.
-- state: active, idle (nothing new for a while and caught up: does not hold the others back) or lagging. updated_at is a heartbeat.
CREATE TABLE IF NOT EXISTS writer_progress (
  kafka_partition  UInt16,
  next_offset      UInt64,
  watermark        DateTime64(6, 'UTC'),
  rollup_watermark DateTime64(6, 'UTC'),
  appended_at      DateTime64(3, 'UTC'),
  state            LowCardinality(String),
  updated_at       DateTime64(6, 'UTC')
) ENGINE = ReplacingMergeTree(updated_at)
ORDER BY kafka_partition
SETTINGS non_replicated_deduplication_window = 1000;
