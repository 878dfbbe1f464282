-- What is on its way, summed for each count; a sum of 0 leaves. By at least 1 or at most -1.
local function shift(count, by)
  local sum = call("HINCRBY", shard .. ":sums", count, by)
  if sum == 0 then call("HDEL", shard .. ":sums", count) end
  return sum
end
