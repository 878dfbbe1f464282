-- how many at most → "many", or the counts that what is on its way may change: also those where it comes to nothing now, as the
-- ledger may have a part of it
if call("HLEN", shard .. ":sums") + call("SCARD", shard .. ":names") > ARGV[rest] + 0 then return "many" end
local found = call("HKEYS", shard .. ":sums")
local isFound = {}
for _, count in ipairs(found) do isFound[count] = true end
for _, count in ipairs(call("SMEMBERS", shard .. ":names")) do
  if not isFound[count] then found[#found + 1] = count end
end
return found
