-- Per emitter epoch and lane with events in [from_us, to_us): how many numbers lie between the first and the last of
-- these, and how many of them arrived? Not a question of its own. Numbers do not follow event time exactly, so their
-- arrival is looked for up to a day outside of the range. What an epoch lost after its last event in the range cannot
-- be seen here, and a missing event cannot say its queue: holes are judged over all queues, `chosen` counts the
-- events of the selection. Workers' events are numbered in the same lanes and kept in their own table.
(
  SELECT
    tenant, max(system) AS lane_system, epoch, lane, max(source) AS lane_source,
    minIf(number, inside) AS low, maxIf(number, inside) AS high,
    toUInt64(high - low + 1) AS span,
    bitmapCardinality(bitmapSubsetInRange(groupBitmapState(number), low, high + 1)) AS received,
    toUnixTimestamp64Micro(maxIf(time, inside)) AS last_us,
    countIf(inside AND selected) AS chosen
  FROM (
    SELECT
      tenant, system, epoch, lane, source, assumeNotNull(seq) AS number, time,
      time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC') AS inside,
      ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
        AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
        AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)}) AS selected
    FROM job_events
    WHERE epoch != '' AND seq IS NOT NULL AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
      AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') - toIntervalDay(1)
      AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC') + toIntervalDay(1)
    UNION ALL
    SELECT
      tenant, system, epoch, lane, '', assumeNotNull(seq), time,
      time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC'),
      ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
        AND {queue:Nullable(String)} IS NULL AND {job_class:Nullable(String)} IS NULL
    FROM worker_snapshots
    WHERE epoch != '' AND seq IS NOT NULL AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
      AND time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') - toIntervalDay(1)
      AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC') + toIntervalDay(1))
  GROUP BY tenant, epoch, lane
  HAVING countIf(inside) > 0
)
