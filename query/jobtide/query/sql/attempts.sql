-- The same from single attempts: what they count in [from_us, to_us) outside of the whole minutes that minutes.sql answers,
-- by the same rules as the rollups. The attempts that reach into what is left are found first, by the indexed bounds of their rows.
SELECT
  tenant, environment, system, queue, job_class, at_us,
  toUInt64(field = 0) AS enqueued, toUInt64(field = 1) AS started, toUInt64(field = 2) AS finished, toUInt64(field = 3) AS failed,
  toUInt64(field = 4) AS cancelled, toUInt64(field = 5) AS discarded, toUInt64(field = 7) AS retried, toUInt64(field = 6) AS dead,
  toUInt64(field = 1 AND ifNull(sample_us < 0, 0)) AS negative_waits,
  if(field = 1, sample, map()) AS wait_hist, if(field = 2, sample, map()) AS run_ok_hist, if(field = 3, sample, map()) AS run_failed_hist,
  if(field = 1, clipped_us, 0) AS wait_sum_us, if(field = 2, clipped_us, 0) AS run_ok_sum_us, if(field = 3, clipped_us, 0) AS run_failed_sum_us
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
    WHERE ((last_at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND first_at < fromUnixTimestamp64Micro({minutes_from_us:Int64}, 'UTC'))
        OR (last_at >= fromUnixTimestamp64Micro({minutes_to_us:Int64}, 'UTC') AND first_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')))
      AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
      AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
      AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
      AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)}))
    AND ({job_class:Nullable(String)} IS NULL OR job_class = {job_class:Nullable(String)})
)
WHERE at_us >= {from_us:Int64} AND at_us < {to_us:Int64} AND NOT (at_us >= {minutes_from_us:Int64} AND at_us < {minutes_to_us:Int64})
