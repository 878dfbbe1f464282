-- Taking entries out of the overlay.
local function isDecided(source, n)
  return tonumber(n) <= (known[">" .. source] or 0)
end

local function shiftBack(count, amount)
  if amount ~= "0" then shift(count, string.format("%.0f", -amount)) end
end

local function dropGroup(field, text)
  call("HDEL", shard .. ":tallies", field)
  for count, amount in string.gmatch(text, "([^\n]+)\n(%-?%d+)") do shiftBack(count, amount) end
end

local function dropKeyed(key, text)
  call("HDEL", shard .. ":keyed", key)
  shiftBack(string.match(text, "^([^\n]+)\n(%-?%d+)\n"))
end

-- `stored`: the stamp that the ledger has now. By how much it moves what is shown beside the base.
local function coverRelation(count, actor, text, stored)
  local key = shard .. ":r:" .. count
  local stamp, under, n, source = string.match(text, "^(%d+) (%d+) (%d+) (.*)$")
  local by = 0
  if stored + 0 >= stamp + 0 or isDecided(source, n) then
    by = under % 2 - stamp % 2
    call("HDEL", key, actor)
    if call("EXISTS", key) == 0 then call("SREM", shard .. ":names", count) end
  elseif stored ~= under then
    by = under % 2 - stored % 2
    call("HSET", key, actor, stamp .. " " .. stored .. " " .. n .. " " .. source)
  end
  if by ~= 0 then shift(count, by > 0 and "1" or "-1") end
  return by
end
