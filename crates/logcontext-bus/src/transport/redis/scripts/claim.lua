-- Takes over what consumers have not renewed for so long, in order.
-- KEYS: the stream. ARGV: group, consumer, milliseconds, from which id, how many.
-- Answers {the last id looked at, {{id, deliveries, event}, ..}}.
local found
if ARGV[3] == '0' then
  found = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], '+', ARGV[5])
else
  found = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], ARGV[4], '+', ARGV[5])
end
if #found == 0 then
  return {false, {}}
end
local claim, deliveries = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], '0'}, {}
for _, entry in ipairs(found) do
  table.insert(claim, entry[1])
  deliveries[entry[1]] = entry[4]
end
-- What is in no stream any more is not among them, and no longer pending.
local taken = {}
for _, entry in ipairs(redis.call(unpack(claim))) do
  if entry and entry[2] then
    table.insert(taken, {entry[1], deliveries[entry[1]] + 1, entry[2][2]})
  end
end
return {found[#found][1], taken}
