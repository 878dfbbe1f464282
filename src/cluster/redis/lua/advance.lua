-- incarnation, version, position, then each list with its length before it: source and last n; group, id, hash and
-- value of counts; source and n of groups of tallies; keys; count, actor, stamp and the two hashes of registers
-- → "ok", or "unfiltered" where nobody can be told by the filter that a register never was
if incarnation ~= ARGV[rest] or version + 1 ~= ARGV[rest + 1] + 0 then return "behind" end
call("HSET", shard, "version", ARGV[rest + 1], "position", ARGV[rest + 2])
sweep()
local at = rest + 3
local function list(width)
  local from = at + 1
  at = from + ARGV[at] * width
  return from, at - 1
end

local from, to = list(2)
for a = from, to, 2 do
  local field = ">" .. ARGV[a]
  call("HSET", shard, field, ARGV[a + 1])
  known[field] = tonumber(ARGV[a + 1])
end
from, to = list(4)
for a = from, to, 4 do
  local bucket = bucketOf(ARGV[a], ARGV[a + 2])
  if call("HEXISTS", bucket, ARGV[a + 1]) == 1 then call("HSET", bucket, ARGV[a + 1], ARGV[a + 3]) end
end
from, to = list(2)
for a = from, to, 2 do
  local field = ARGV[a + 1] .. " " .. ARGV[a]
  local text = call("HGET", shard .. ":tallies", field)
  if text then dropGroup(field, text) end
end
from, to = list(1)
for a = from, to do
  local text = call("HGET", shard .. ":keyed", ARGV[a])
  if text then dropKeyed(ARGV[a], text) end
end
from, to = list(5)
local isCovered = covers(ARGV[rest + 1])
for a = from, to, 5 do
  local text = call("HGET", shard .. ":r:" .. ARGV[a], ARGV[a + 1])
  if text then coverRelation(ARGV[a], ARGV[a + 1], text, ARGV[a + 2]) end
  if isCovered and ARGV[a + 2] ~= "0" then remember(ARGV[a + 3], ARGV[a + 4]) end
end
if isCovered then saveFilter() end
return isCovered and filling == "-" and "ok" or "unfiltered"
