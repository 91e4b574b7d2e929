-- When was it said that the queue is paused, and that it is not? In order, the last word of the week before the range first.
SELECT toUnixTimestamp64Micro(time) AS at_us, paused
FROM queue_states
WHERE tenant = {tenant:String} AND environment = {environment:String} AND system = {system:String} AND queue = {queue:String}
  AND paused IS NOT NULL AND time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
  AND time >= fromUnixTimestamp64Micro({base_from_us:Int64}, 'UTC') - toIntervalDay(7)
ORDER BY time
SETTINGS max_execution_time = 30
