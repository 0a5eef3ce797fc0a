-- Serves these calls no more. Where nobody else does, the callers of what nobody has read are told.
-- KEYS: the stream, its servers. ARGV: bus, what the channels of replies begin with.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) > 0 or redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local read = '-'
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  for i = 1, #info, 2 do
    if info[i] == 'last-delivered-id' then
      read = '(' .. info[i + 1]
    end
  end
end
local unread = redis.call('XRANGE', KEYS[1], read, '+')
for _, entry in ipairs(unread) do
  local client, call = string.match(entry[2][1], '^(.*):(%d+)$')
  if client then
    redis.call('PUBLISH', ARGV[2] .. client, call)
  end
end
redis.call('DEL', KEYS[1], KEYS[2])
return #unread
