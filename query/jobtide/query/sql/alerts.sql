-- Which alerts changed their state in [from_us, to_us)? Newest first, one page after a sort key. No alert changes before its episode.
SELECT
  tenant, rule, kind, severity, state, reason, labels, fingerprint, id, toUnixTimestamp64Micro(episode) AS episode_us,
  toUnixTimestamp64Micro(at) AS at_us, value, samples, condition, toUnixTimestamp64Micro(window_from), toUnixTimestamp64Micro(window_to), query,
  summary, runbook, examples
FROM alerts FINAL
WHERE at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND episode < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND {{selected}}
  AND ({rule:Nullable(String)} IS NULL OR rule = {rule:Nullable(String)})
  AND ({fingerprint:Nullable(String)} IS NULL OR fingerprint = {fingerprint:Nullable(String)})
  AND (empty({states:Array(String)}) OR has({states:Array(String)}, state))
  AND (empty({severities:Array(String)}) OR has({severities:Array(String)}, severity))
  AND (at_us, tenant, id) < ({after_0:Int64}, {after_1:String}, {after_2:String})
ORDER BY at_us DESC, tenant DESC, id DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
