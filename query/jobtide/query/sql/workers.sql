-- What did each worker last say of itself before the end of the range, if it said anything in it? One page after its
-- key.
SELECT
  tenant, environment, system, worker_id, toUnixTimestamp64Micro(max(time)) AS last_us,
  argMax(status, time), argMax(type, time), argMax(hostname, time), argMax(pid, time), argMax(tag, time), argMax(version, time),
  argMax(queues, time) AS worker_queues, argMax(concurrency, time), argMax(busy, time), argMax(processed, time), argMax(failed, time),
  argMax(rss_bytes, time), argMax(cpu_percent, time)
FROM worker_snapshots
WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
GROUP BY tenant, environment, system, worker_id
HAVING [tenant, environment, system, worker_id] > {after:Array(String)}
  AND ({queue:Nullable(String)} IS NULL OR has(worker_queues, assumeNotNull({queue:Nullable(String)})))
ORDER BY tenant, environment, system, worker_id
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
