-- Which whole minutes of [minutes_from_us, minutes_to_us) were the busiest, of everything or of each queue or class? The best
-- minute of each key; most attempts ended first.
SELECT k1, k2, k3, k4, k5, max(ended) AS most, argMax(at_us, (ended, -at_us)), argMax(begun, (ended, -at_us)), sum(ended)
FROM (
  SELECT
    if({depth:UInt8} > 0, tenant, '') AS k1, if({depth:UInt8} > 1, environment, '') AS k2, if({depth:UInt8} > 2, system, '') AS k3,
    if({depth:UInt8} > 3, queue, '') AS k4, if({depth:UInt8} > 4, job_class, '') AS k5, toInt64(toUnixTimestamp(minute)) * 1000000 AS at_us,
    sum(finished + failed + cancelled + discarded) AS ended, sum(started) AS begun
  FROM rollups
  WHERE minute >= fromUnixTimestamp64Micro({minutes_from_us:Int64}, 'UTC') AND minute < fromUnixTimestamp64Micro({minutes_to_us:Int64}, 'UTC')
    AND {{selected}}
  GROUP BY k1, k2, k3, k4, k5, at_us)
GROUP BY k1, k2, k3, k4, k5
HAVING (-toInt64(most), k1, k2, k3, k4, k5) > ({after_0:Int64}, {after_1:String}, {after_2:String}, {after_3:String}, {after_4:String}, {after_5:String})
ORDER BY most DESC, k1, k2, k3, k4, k5
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
