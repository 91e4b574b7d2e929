-- Which releases were deployed in [from_us, to_us)? Newest first, one page after a sort key.
SELECT tenant, environment, system, queue, release, toUnixTimestamp64Micro(time) AS at_us, actor, url, note, event_id
FROM deploys FINAL
WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system IN ('', assumeNotNull({system:Nullable(String)})))
  AND ({queue:Nullable(String)} IS NULL OR queue IN ('', assumeNotNull({queue:Nullable(String)})))
  AND ({release:Nullable(String)} IS NULL OR release = {release:Nullable(String)})
  AND (at_us, tenant, event_id) < ({after_0:Int64}, {after_1:String}, {after_2:String})
ORDER BY at_us DESC, tenant DESC, event_id DESC
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
