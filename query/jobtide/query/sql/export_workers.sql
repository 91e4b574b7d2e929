-- All of analyst_workers with a time in [from_us, to_us): of a queue those that serve it.
SELECT *
FROM analyst_workers
WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system = {system:Nullable(String)})
  AND ({queue:Nullable(String)} IS NULL OR has(queues, assumeNotNull({queue:Nullable(String)})))
