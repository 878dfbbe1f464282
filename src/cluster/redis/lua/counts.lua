-- A count is named by its group (metric:type), its id and the id's hash. The bases of a group are spread over buckets
-- by linear hashing (Litwin 1980), the field is the id alone: Redis keeps small hashes as flat lists and decimals in
-- them as numbers, so a million counters take 10 MB (article/1 …), 15 MB (decimals of ten digits) or 46 MB (UUIDs). How
-- many bases a group has says how many buckets there are; 60 on average is at most 120 in one, below the 128 that a
-- flat list may hold.
local BUCKET = 60
local sums = shard .. ":sums"

local function bucketOf(group, hash)
  local index = 0
  local buckets = math.floor((known[group] or 0) / BUCKET) + 1
  if buckets > 1 then
    local span = 2
    while span < buckets do span = span * 2 end
    index = hash % span
    if index >= buckets then index = index - span / 2 end
  end
  return shard .. ":b" .. bases .. ":" .. group .. ":" .. index
end

-- `sum`: where it is known already.
local function shown(group, id, hash, sum)
  local base = call("HGET", bucketOf(group, hash), id)
  if not base then return false end
  sum = sum or call("HGET", sums, group .. "/" .. id)
  if not sum then return base end
  return string.format("%.0f", base + sum)
end
