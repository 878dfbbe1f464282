-- → incarnation, version, position, end, epoch, number of keys, keys, then each count with the number of its actors and
-- them
local answer = { incarnation, version, position, ending, epoch }
local function say(values)
  answer[#answer + 1] = tostring(#values)
  for _, value in ipairs(values) do answer[#answer + 1] = value end
end
say(call("HKEYS", shard .. ":keyed"))
for _, count in ipairs(call("SMEMBERS", shard .. ":names")) do
  answer[#answer + 1] = count
  say(call("HKEYS", shard .. ":r:" .. count))
end
return answer
