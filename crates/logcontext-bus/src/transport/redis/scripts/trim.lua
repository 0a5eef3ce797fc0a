-- Forgets what all groups have done, but for the newest, and whatever is beyond the cap.
-- KEYS: the stream. ARGV: how many are kept to be looked at, the cap, after how many milliseconds without a sign a
-- consumer that has nothing is forgotten. Answers {kept, lost, groups that had not done them ..}.
local function pairs_of(list)
  local map = {}
  for i = 1, #list, 2 do
    map[list[i]] = list[i + 1]
  end
  return map
end
local function before(a, b)
  local a1, a2 = string.match(a, '(%d+)-(%d+)')
  local b1, b2 = string.match(b, '(%d+)-(%d+)')
  -- As texts: these numbers can be larger than Lua's are exact.
  if #a1 ~= #b1 then return #a1 < #b1 end
  if a1 ~= b1 then return a1 < b1 end
  if #a2 ~= #b2 then return #a2 < #b2 end
  return a2 < b2
end
local key, history, cap = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
if redis.call('EXISTS', key) == 0 then
  return {0, 0}
end
local groups = {}
for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
  local group = pairs_of(info)
  local pending = redis.call('XPENDING', key, group.name)
  group.first_pending = pending[1] > 0 and pending[2] or false
  table.insert(groups, group)
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', key, group.name)) do
    local consumer = pairs_of(info)
    if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) then
      redis.call('XGROUP', 'DELCONSUMER', key, group.name, consumer.name)
    end
  end
end
local length = redis.call('XLEN', key)
if length > history then
  -- The oldest that is kept: of the newest so many, or what a group has not done.
  local keep = '18446744073709551615-18446744073709551615'
  if history > 0 then
    local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', history)
    keep = newest[#newest][1]
  end
  for _, group in ipairs(groups) do
    local first = group.first_pending
    if not first then
      local next = redis.call('XRANGE', key, '(' .. group['last-delivered-id'], '+', 'COUNT', 1)[1]
      first = next and next[1]
    end
    if first and before(first, keep) then
      keep = first
    end
  end
  redis.call('XTRIM', key, 'MINID', '=', keep)
  length = redis.call('XLEN', key)
end
local lost, behind = 0, {}
if length > cap then
  local cut = redis.call('XRANGE', key, '-', '+', 'COUNT', length - cap)
  local last, undone = cut[#cut][1], {}
  for _, group in ipairs(groups) do
    local is_behind = false
    local from = '-'
    while true do
      local page = redis.call('XPENDING', key, group.name, from, last, 1000)
      for _, entry in ipairs(page) do
        undone[entry[1]] = true
        is_behind = true
      end
      if #page < 1000 then break end
      from = '(' .. page[#page][1]
    end
    for i = #cut, 1, -1 do
      if not before(group['last-delivered-id'], cut[i][1]) then break end
      undone[cut[i][1]] = true
      is_behind = true
    end
    if is_behind then
      table.insert(behind, group.name)
    end
  end
  for _, entry in ipairs(cut) do
    if undone[entry[1]] then
      lost = lost + 1
    end
  end
  redis.call('XTRIM', key, 'MAXLEN', '=', cap)
  length = cap
  -- Who has not come so far goes on behind what was cut; else the broker counts that as unread for ever.
  local added = pairs_of(redis.call('XINFO', 'STREAM', key))['entries-added']
  for _, group in ipairs(groups) do
    if added and before(group['last-delivered-id'], last) then
      redis.call('XGROUP', 'SETID', key, group.name, last, 'ENTRIESREAD', added - length)
    end
  end
end
return {length, lost, unpack(behind)}
