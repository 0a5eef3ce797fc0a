-- Lets these go as release does, and takes their last delivery back: they were not begun.
-- KEYS: the stream. ARGV: group, consumer, ids ..
for i = 3, #ARGV do
  local entry = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  if type(entry) == 'table' and entry[1] and entry[1][2] == ARGV[2] then
    local deliveries = math.max(tonumber(entry[1][4]) - 1, 0)
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], '0', ARGV[i], 'IDLE', '2592000000', 'RETRYCOUNT', deliveries, 'JUSTID')
  end
end
return 1
