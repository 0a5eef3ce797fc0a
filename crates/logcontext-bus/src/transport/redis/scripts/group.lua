-- Makes the group of a stream. One that is there goes on where it was.
-- KEYS: the stream, the registry of streams. ARGV: group, where it begins (`$` or an id), entry of the registry.
redis.call('SADD', KEYS[2], ARGV[3])
local create = {'XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM'}
if ARGV[2] == '$' and redis.call('EXISTS', KEYS[1]) == 1 then
  -- Else nobody could tell how far it is behind before it has read all.
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then
      table.insert(create, 'ENTRIESREAD')
      table.insert(create, tostring(info[i + 1]))
    end
  end
end
local made = redis.pcall(unpack(create))
if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP') then
  return made
end
return 1
