-- Gives a dead letter to its group again.
-- KEYS: the dead letters. ARGV: id, what the keys of streams to try again begin with.
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then
  return 0
end
local fields = {}
for i = 1, #entry[2], 2 do
  fields[entry[2][i]] = entry[2][i + 1]
end
local retried = ARGV[2] .. fields.group
redis.pcall('XGROUP', 'CREATE', retried, fields.group, '0', 'MKSTREAM')
redis.call('XADD', retried, '*', 'm', fields.event)
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
