-- Moves of counts that are no news, as acts of another time made them: a ring, which whoever tells of counts takes out of what
-- he sees (past-since.lua). Told in the script that moves the counts, each count once; `pasts` says how many there ever were.
local RING, KEPT_MS = 1000, "60000"
local moved, names = {}, {}

local function tellPast(count, by)
  if not moved[count] then names[#names + 1] = count end
  moved[count] = (moved[count] or 0) + by
end

-- `isTold`: which counts are, if not all.
local function saveTold(isTold)
  local told = {}
  for _, count in ipairs(names) do
    local by = moved[count]
    if by ~= 0 and (not isTold or isTold(count)) then told[#told + 1] = string.format("%.0f %s", by, count) end
  end
  if #told == 0 then return end
  local ring = shard .. ":past"
  call("HINCRBY", shard, "pasts", #told .. "")
  call("RPUSH", ring, unpack(told, math.max(1, #told - RING + 1)))
  call("LTRIM", ring, -RING .. "", "-1")
  call("PEXPIRE", ring, KEPT_MS)
end
