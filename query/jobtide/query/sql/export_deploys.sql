-- All of analyst_deploys with a time in [from_us, to_us). One without a system or queue is of all.
SELECT *
FROM analyst_deploys
WHERE time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
  AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
  AND ({system:Nullable(String)} IS NULL OR system IN ('', assumeNotNull({system:Nullable(String)})))
  AND ({queue:Nullable(String)} IS NULL OR queue IN ('', assumeNotNull({queue:Nullable(String)})))
