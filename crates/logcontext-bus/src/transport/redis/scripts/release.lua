-- Lets these go, as if nobody had renewed them for a month: who claims next has them.
-- KEYS: the stream. ARGV: group, consumer, ids ..
for i = 3, #ARGV do
  local entry = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if type(entry) == 'table' and entry[1] and entry[1][2] == ARGV[2] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], '0', ARGV[i], 'IDLE', '2592000000', 'JUSTID')
  end
end
return 1
