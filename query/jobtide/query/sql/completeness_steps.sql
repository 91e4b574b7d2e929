-- How much of what emitters numbered arrived, step by step? A missing number is told in the step of the event that came after it in its
-- lane; what an epoch lost after its last event cannot be seen. Workers' events are numbered in the same lanes.
SELECT intDiv(at_us, {step_us:Int64}) * {step_us:Int64} AS step_start_us, count() AS received, sum(hole) AS missing
FROM (
  SELECT at_us, greatest(number - lagInFrame(number, 1, number - 1) OVER (PARTITION BY tenant, epoch, lane ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) - 1, 0) AS hole
  FROM (
    SELECT tenant, epoch, lane, toInt64(assumeNotNull(seq)) AS number, toUnixTimestamp64Micro(min(time)) AS at_us
    FROM (
      SELECT tenant, system, epoch, lane, seq, time FROM job_events
      WHERE epoch != '' AND seq IS NOT NULL AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
        AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
      UNION ALL
      SELECT tenant, system, epoch, lane, seq, time FROM worker_snapshots
      WHERE epoch != '' AND seq IS NOT NULL AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
        AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC'))
    WHERE {system:Nullable(String)} IS NULL OR system = {system:Nullable(String)}
    GROUP BY tenant, epoch, lane, number))
GROUP BY step_start_us
ORDER BY step_start_us
SETTINGS max_execution_time = 30
