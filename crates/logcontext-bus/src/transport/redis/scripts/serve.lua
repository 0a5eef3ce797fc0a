-- Says for so long that this bus serves calls, and makes their stream where there is none.
-- KEYS: the stream, its servers. ARGV: bus, milliseconds. Answers the time.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.pcall('XGROUP', 'CREATE', KEYS[1], 'servers', '0', 'MKSTREAM')
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
-- When all servers are dead, so is the stream: who calls is told that nobody serves it.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return tostring(time[1]) .. string.format('%06d', time[2])
