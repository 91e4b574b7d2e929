-- Of which attempts was something that can change their state told last in [seen_from_us, to_us)? From the newest `events` events there, the
-- newest `attempts` attempts, each with the time of its newest event. `types` are the events that can have brought about the asked states
-- (empty: any). For jobs_newest.sql: an event says when an attempt came into its state, so those that did later than all that was left out are here.
WITH seen AS (
  SELECT tenant, environment, system, queue, job_id, attempt, type, toUnixTimestamp64Micro(time) AS seen_us
  FROM job_events
  WHERE time >= fromUnixTimestamp64Micro({seen_from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    AND seen_us <= {after_at_us:Int64} AND startsWith(type, 'job.') AND type NOT IN ('job.heartbeat', 'job.progress')
    AND (empty({types:Array(String)}) OR has({types:Array(String)}, type))
    AND ({error_class:Nullable(String)} IS NULL OR type != 'job.failed' OR error_class = {error_class:Nullable(String)})
    AND {{selected}}
  ORDER BY time DESC
  LIMIT {events:UInt32}
)
SELECT
  tenant, environment, system, queue, job_id, arrayJoin(if(type = 'job.retry_scheduled', [attempt, attempt + 1], [attempt])) AS told,
  max(seen_us) AS newest_us, any(seen_events), any(oldest_us)
FROM (SELECT *, count() OVER () AS seen_events, min(seen_us) OVER () AS oldest_us FROM seen)
GROUP BY tenant, environment, system, queue, job_id, told
ORDER BY newest_us DESC
LIMIT {attempts:UInt32}
SETTINGS max_execution_time = 30
