-- Keep the writes whose version is not older than what is stored, and publish them.
-- KEYS: the set of tenants, then the hashes. ARGV: number of channels, the channels, number of tenants, the tenants, then for each
-- write: index of its hash in KEYS, index of its channel, kind, field, version, JSON ("" removes the field).
-- Returns the number of writes kept. Versions are whole numbers below 2^53, which Lua keeps exactly.
local at = 1
local function take()
  at = at + 1
  return ARGV[at - 1]
end

local channels, messages = {}, {}
for i = 1, tonumber(take()) do
  channels[i], messages[i] = take(), {}
end
for _ = 1, tonumber(take()) do
  redis.call('SADD', KEYS[1], take())
end

local kept = 0
while at <= #ARGV do
  local key, channel = KEYS[tonumber(take())], tonumber(take())
  local kind, field, version, value = take(), take(), take(), take()
  local old = redis.call('HGET', key, field)
  if not old or tonumber(version) >= tonumber(string.match(old, '^-?%d+')) then
    if value == '' then
      redis.call('HDEL', key, field)
      value = 'null'
    else
      redis.call('HSET', key, field, version .. '|' .. value)
    end
    local told = messages[channel]
    told[#told + 1] = '["' .. kind .. '",' .. cjson.encode(field) .. ',' .. value .. ']'
    kept = kept + 1
  end
end

for i, told in ipairs(messages) do
  if #told > 0 then
    redis.call('PUBLISH', channels[i], '[' .. table.concat(told, ',') .. ']')
  end
end
return kept
