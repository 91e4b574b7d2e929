-- What every series counted in [from_us, to_us): rows with the time they are about, to be summed. Not a question of
-- its own; the questions read from it. Whole minutes [minutes_from_us, minutes_to_us) come from the rollups. What is
-- left at the ends (or all of it, for steps under a minute) comes from the attempts that have any fact there, counted
-- by the same rules as the rollups.
(
  SELECT
    tenant, environment, system, queue, job_class, toInt64(toUnixTimestamp(minute)) * 1000000 AS at_us,
    enqueued, started, finished, failed, cancelled, discarded, retried, dead, negative_waits,
    wait_hist, run_ok_hist, run_failed_hist, wait_sum_us, run_ok_sum_us, run_failed_sum_us
  FROM rollups
  WHERE minute >= fromUnixTimestamp64Micro({minutes_from_us:Int64}, 'UTC') AND minute < fromUnixTimestamp64Micro({minutes_to_us:Int64}, 'UTC')
    AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
    AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
    AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
    AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
  UNION ALL
  SELECT
    tenant, environment, system, queue, job_class, at_us,
    toUInt64(field = 0), toUInt64(field = 1), toUInt64(field = 2), toUInt64(field = 3),
    toUInt64(field = 4), toUInt64(field = 5), toUInt64(field = 7), toUInt64(field = 6), toUInt64(field = 1 AND ifNull(sample_us < 0, 0)),
    if(field = 1, sample, map()), if(field = 2, sample, map()), if(field = 3, sample, map()),
    if(field = 1, clipped_us, 0), if(field = 2, clipped_us, 0), if(field = 3, clipped_us, 0)
  FROM (
    SELECT
      tenant, environment, system, queue, job_class,
      arrayJoin([
        (0, toUnixTimestamp64Micro(enqueued_at), NULL),
        (1, toUnixTimestamp64Micro(started_at), wait_us),
        (indexOf(['finished', 'failed', 'cancelled', 'discarded'], outcome) + 1, toUnixTimestamp64Micro(finished_at), run_us),
        (6, toUnixTimestamp64Micro(dead_at), NULL),
        (7, toUnixTimestamp64Micro(retried_at), NULL)]) AS fact,
      fact.1 AS field,
      ifNull(fact.2, -1) AS at_us,
      fact.3 AS sample_us,
      toUInt64(greatest(ifNull(sample_us, 0), 0)) AS clipped_us,
      if(sample_us IS NULL, map(),
         map(if(clipped_us = 0, -1, toInt16(ceil(log(clipped_us) * {per_ln:Float64}))), toUInt64(1)))::Map(Int16, UInt64) AS sample
    FROM executions
    WHERE (tenant, environment, system, queue, job_id, attempt) IN (
      SELECT tenant, environment, system, queue, job_id, attempt
      FROM job_executions
      WHERE {edges:UInt8} = 1
        AND ((last_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND first_at < fromUnixTimestamp64Micro({minutes_from_us:Int64}, 'UTC'))
          OR (last_at >= fromUnixTimestamp64Micro({minutes_to_us:Int64}, 'UTC') AND first_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')))
        AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
        AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
        AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
        AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
        AND arrayExists(
          us -> us >= {from_us:Int64} AND us < {to_us:Int64} AND NOT (us >= {minutes_from_us:Int64} AND us < {minutes_to_us:Int64}),
          arrayMap(t -> ifNull(toUnixTimestamp64Micro(t), -1), [enqueued_at, started_at, implied_at, dead_at, retried_at, fromUnixTimestamp64Micro(outcome.time_us, 'UTC')])))
      AND {edges:UInt8} = 1
      AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
  )
  WHERE at_us >= {from_us:Int64} AND at_us < {to_us:Int64} AND NOT (at_us >= {minutes_from_us:Int64} AND at_us < {minutes_to_us:Int64})
)
