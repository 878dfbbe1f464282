-- The buckets of a generation that was given up leave a hundred at a time.
local function sweep()
  if not old then return end
  local budget = 100
  local names = call("HSCAN", shard .. ":old", 0, "COUNT", 10)[2]
  for a = 1, #names, 2 do
    local left = tonumber(names[a + 1])
    while left > 0 and budget > 0 do
      left = left - 1
      budget = budget - 1
      call("UNLINK", shard .. ":b" .. names[a] .. ":" .. left)
    end
    if left > 0 then
      call("HSET", shard .. ":old", names[a], left)
      return
    end
    call("HDEL", shard .. ":old", names[a])
  end
  if call("EXISTS", shard .. ":old") == 0 then call("HDEL", shard, "old") end
end
