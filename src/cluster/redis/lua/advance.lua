-- incarnation, version, position, then each list with its length before it: source and last n; group, id, hash and
-- value of counts; "n source" of groups and keys of tallies that are of another time; source and n of groups of tallies; keys;
-- count, actor, stamp, the two hashes and by how much it moved the count (empty: now) of registers; count and amount of tallies
-- of another time
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

-- Acts of another time move what is shown by what they move the base by, less what was shown of them before.
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
from, to = list(1)
local isPast = {}
for a = from, to do isPast[ARGV[a]] = true end
from, to = list(2)
for a = from, to, 2 do
  local field = ARGV[a + 1] .. " " .. ARGV[a]
  local text = call("HGET", shard .. ":tallies", field)
  if text then
    dropGroup(field, text)
    if isPast[field] then
      for count, amount in string.gmatch(text, "([^\n]+)\n(%-?%d+)") do tellPast(count, -amount) end
    end
  end
end
from, to = list(1)
for a = from, to do
  local text = call("HGET", shard .. ":keyed", ARGV[a])
  if text then
    dropKeyed(ARGV[a], text)
    if isPast[ARGV[a]] then
      local count, amount = string.match(text, "^([^\n]+)\n(%-?%d+)\n")
      tellPast(count, -amount)
    end
  end
end
from, to = list(6)
local isCovered = covers(ARGV[rest + 1])
for a = from, to, 6 do
  local text = call("HGET", shard .. ":r:" .. ARGV[a], ARGV[a + 1])
  local by = text and coverRelation(ARGV[a], ARGV[a + 1], text, ARGV[a + 2]) or 0
  if ARGV[a + 5] ~= "" then tellPast(ARGV[a], by + ARGV[a + 5]) end
  if isCovered and ARGV[a + 2] ~= "0" then remember(ARGV[a + 3], ARGV[a + 4]) end
end
if isCovered then saveFilter() end
from, to = list(2)
for a = from, to, 2 do tellPast(ARGV[a], ARGV[a + 1]) end
-- Who follows a count has its base loaded; with an import's others the ring would be full.
saveTold(function(count)
  local group, id = string.match(count, "^([^/]+)/(.*)$")
  return call("HEXISTS", bucketOf(group, hashOf(id)), id) == 1
end)
return isCovered and filling == "-" and "ok" or "unfiltered"
