-- Acknowledges an event and keeps it as a dead letter, if it is still this consumer's.
-- KEYS: the stream, the dead letters. ARGV: group, consumer, id, reason, deliveries, event, 1 if nobody else needs it.
local entry = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if type(entry) ~= 'table' or not entry[1] or entry[1][2] ~= ARGV[2] then
  return 0
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], '*', 'group', ARGV[1], 'reason', ARGV[4], 'deliveries', ARGV[5], 'event', ARGV[6])
if ARGV[7] == '1' then
  redis.call('XDEL', KEYS[1], ARGV[3])
end
return 1
