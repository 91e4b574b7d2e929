-- Which emitter epochs sent events of the selection in the range, and what arrived of what they numbered? One page
-- after its key.
SELECT tenant, max(lane_system) AS epoch_system, epoch, max(lane_source), sum(received), sum(span) - sum(received), max(last_us)
FROM {{numbered}}
GROUP BY tenant, epoch
HAVING sum(chosen) > 0 AND [tenant, epoch_system, epoch] > {after:Array(String)}
  AND ({system:Nullable(String)} IS NULL OR epoch_system = {system:Nullable(String)})
ORDER BY tenant, epoch_system, epoch
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
