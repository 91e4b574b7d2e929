-- All of analyst_queue_states with a time in [from_us, to_us).
SELECT *
FROM analyst_queue_states
WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  AND ({queue:Nullable(String)} IS NULL OR queue = {queue:Nullable(String)})
