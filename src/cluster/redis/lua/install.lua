-- incarnation, version, then group, id, hash and value of each
if incarnation ~= ARGV[rest] or version ~= ARGV[rest + 1] then return "behind" end
-- Read before Redis came back with an older copy, which happens to be as old.
if since and version + 0 < since + 0 then return "behind" end
sweep()

-- One bucket more: half of its buddy moves in, as the hash has it.
local function split(group, buckets)
  local span = 1
  while span * 2 <= buckets do span = span * 2 end
  local prefix = shard .. ":b" .. bases .. ":" .. group .. ":"
  local from, to = prefix .. (buckets - span), prefix .. buckets
  local all = call("HGETALL", from)
  for a = 1, #all, 2 do
    if hashOf(all[a]) % (span * 2) == buckets then
      call("HSET", to, all[a], all[a + 1])
      call("HDEL", from, all[a])
    end
  end
end

local grown = {}
for a = rest + 2, #ARGV, 4 do
  local group = ARGV[a]
  if call("HSETNX", bucketOf(group, ARGV[a + 2]), ARGV[a + 1], ARGV[a + 3]) == 1 then
    local n = (known[group] or 0) + 1
    if n % BUCKET == 0 then split(group, n / BUCKET) end
    known[group] = n
    grown[group] = true
  end
end
for group in pairs(grown) do call("HSET", shard, group, known[group]) end
return "ok"
