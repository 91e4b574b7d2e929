-- How did one queue go, step by step, from base_from_us to to_us: attempts that became ready to run, and of these further attempts of
-- their jobs; attempts that left the line; attempts that ended, and that failed. The step before base_from_us holds all of before.
-- Attempts whose last event is older than a day before are not looked for.
SELECT
  greatest(intDiv(fact.2 - {base_from_us:Int64} + {step_us:Int64}, {step_us:Int64}) - 1, -1) AS step,
  countIf(fact.1 = 0) AS arrived, countIf(fact.1 = 0 AND attempt > 1) AS again, countIf(fact.1 = 1) AS gone, countIf(fact.1 = 2) AS ended,
  countIf(fact.1 = 2 AND outcome = 'failed') AS failures
FROM (
  SELECT
    attempt, outcome,
    greatest(toUnixTimestamp64Micro(coalesce(enqueued_at, queued_at, first_at)), ifNull(toUnixTimestamp64Micro(eligible_at), 0)) AS ready_us,
    ifNull(toUnixTimestamp64Micro(coalesce(started_at, finished_at)), 9223372036854775807) AS gone_us,
    ifNull(toUnixTimestamp64Micro(finished_at), 9223372036854775807) AS end_us
  FROM executions
  WHERE tenant = {tenant:String} AND environment = {environment:String} AND system = {system:String} AND queue = {queue:String}
    AND first_at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    AND last_at >= fromUnixTimestamp64Micro({base_from_us:Int64}, 'UTC') - toIntervalDay(1)
)
ARRAY JOIN [(0, least(ready_us, gone_us)), (1, gone_us), (2, end_us)] AS fact
WHERE fact.2 < {to_us:Int64}
GROUP BY step
ORDER BY step
SETTINGS max_execution_time = 30
