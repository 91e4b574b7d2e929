-- Up to when is every partition of job.alerts in history?
SELECT count(), toUnixTimestamp64Micro(min(read_until)) FROM alerts_progress FINAL WHERE kafka_partition < {partitions:UInt32} SETTINGS max_execution_time = 10
