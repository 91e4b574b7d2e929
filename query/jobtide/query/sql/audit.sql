-- Who did what before a moment, newest first?
SELECT toUnixTimestamp64Micro(at), caller, key_id, role, address, method, path, query, status, outcome, detail
FROM audit_log
WHERE toUnixTimestamp64Micro(at) < {before_us:Int64}
  AND ({caller:Nullable(String)} IS NULL OR caller = {caller:Nullable(String)})
ORDER BY at DESC, caller, path
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
