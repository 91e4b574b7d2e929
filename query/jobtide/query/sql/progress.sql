-- How far has history come? Per Kafka partition: everything before `rolled_us` is in the minute rollups as well.
SELECT
  kafka_partition, toUnixTimestamp64Micro(watermark) AS watermark_us, toUnixTimestamp64Micro(rollup_watermark) AS rolled_us, state,
  toUnixTimestamp64Micro(updated_at) AS updated_us
FROM writer_progress FINAL
ORDER BY kafka_partition
SETTINGS max_execution_time = 10
