-- KEYS: the lease. ARGV: its holder, milliseconds. Answers whether it still is.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
