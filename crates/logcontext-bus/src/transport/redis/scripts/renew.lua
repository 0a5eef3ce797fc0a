-- Says that these are still being handled. Answers those that are others' now.
-- KEYS: the stream. ARGV: group, consumer, ids ..
local lost = {}
for i = 3, #ARGV do
  local entry = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  local mine = type(entry) == 'table' and entry[1] and entry[1][2] == ARGV[2]
  if not mine or #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], '0', ARGV[i], 'JUSTID') == 0 then
    table.insert(lost, ARGV[i])
  end
end
return lost
