-- Which workers served the queue between base_from_us and to_us, as they said themselves: when they were first and last heard of, with
-- how many slots, and how loaded in the range. A worker that said goodbye was last heard of then.
SELECT
  worker_id, toUnixTimestamp64Micro(min(time)) AS first_us, toUnixTimestamp64Micro(max(time)) AS last_us, max(ifNull(concurrency, 1)) AS slots,
  argMax(type, time) = 'worker.offline' AS gone, maxIf(rss_bytes, time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')) AS rss_bytes,
  avgIf(cpu_percent, time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')) AS cpu_percent
FROM worker_snapshots
WHERE tenant = {tenant:String} AND environment = {environment:String} AND system = {system:String}
  AND time >= fromUnixTimestamp64Micro({base_from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
GROUP BY worker_id
HAVING countIf(has(queues, {queue:String})) > 0
ORDER BY worker_id
LIMIT 5000
SETTINGS max_execution_time = 30
