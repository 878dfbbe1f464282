-- incarnation, version, position, name of the next generation of bases, then, with its length before it, source and
-- last n of each; key and whether the ledger has it; then count, number of actors, actor and stamp of each
local ahead = version - ARGV[rest + 1]
if incarnation ~= ARGV[rest] or ahead > 0 then return "behind" end
if ahead == 0 then
  -- Several shards share a partition: its position moves on while this one is quiet.
  if ARGV[rest + 2] + 0 <= position + 0 then return "behind" end
  call("HSET", shard, "position", ARGV[rest + 2])
  return "ok"
end

local at = rest + 4
local function list()
  local from = at + 1
  at = from + ARGV[at] * 2
  return from, at - 1
end
local lastFrom, lastTo = list()
local keyFrom, keyTo = list()
local isStored = {}
for a = keyFrom, keyTo, 2 do isStored[ARGV[a]] = ARGV[a + 1] end
local stored = {}
while at <= #ARGV do
  local actors = {}
  stored[ARGV[at]] = actors
  at = at + 1
  local from, to = list()
  for a = from, to, 2 do actors[ARGV[a]] = ARGV[a + 1] end
end

known = {}
for a = lastFrom, lastTo, 2 do known[">" .. ARGV[a]] = tonumber(ARGV[a + 1]) end

local keyed = call("HGETALL", shard .. ":keyed")
for a = 1, #keyed, 2 do
  local source = string.match(keyed[a + 1], "^[^\n]+\n[^\n]+\n%d+ ([^\n]*)\n")
  if not isStored[keyed[a]] or not known[">" .. source] then return "others" end
end
local groups = call("HGETALL", shard .. ":tallies")
for a = 1, #groups, 2 do
  if not known[">" .. string.match(groups[a], "^%d+ (.*)$")] then return "others" end
end
local names = call("SMEMBERS", shard .. ":names")
local entriesOf = {}
for _, count in ipairs(names) do
  local here = stored[count]
  if not here then return "others" end
  local entries = call("HGETALL", shard .. ":r:" .. count)
  entriesOf[count] = entries
  for a = 1, #entries, 2 do
    local source = string.match(entries[a + 1], "^%d+ %d+ %d+ (.*)$")
    if not here[entries[a]] or not known[">" .. source] then return "others" end
  end
end

local fields = call("HGETALL", shard)
giveUpBases(fields, bases, ARGV[rest + 3])
for a = 1, #fields, 2 do
  if string.sub(fields[a], 1, 1) == ">" then call("HDEL", shard, fields[a]) end
end
call("HSET", shard, "version", ARGV[rest + 1], "position", ARGV[rest + 2])
for a = lastFrom, lastTo, 2 do call("HSET", shard, ">" .. ARGV[a], ARGV[a + 1]) end

for a = 1, #groups, 2 do
  local n, source = string.match(groups[a], "^(%d+) (.*)$")
  if isDecided(source, n) then dropGroup(groups[a], groups[a + 1]) end
end
for a = 1, #keyed, 2 do
  local n, source = string.match(keyed[a + 1], "^[^\n]+\n[^\n]+\n(%d+) ([^\n]*)\n")
  if isStored[keyed[a]] == "1" or isDecided(source, n) then dropKeyed(keyed[a], keyed[a + 1]) end
end
for _, count in ipairs(names) do
  local entries = entriesOf[count]
  for a = 1, #entries, 2 do coverRelation(count, entries[a], entries[a + 1], stored[count][entries[a]]) end
end
return "ok"
