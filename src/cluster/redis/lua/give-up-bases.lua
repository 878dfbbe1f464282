-- Which counts the commits between have touched is not known: all bases go, and the next ones are another generation.
-- `fields`: the whole head. Only names of groups have a colon and do not begin with the mark of sources.
local function giveUpBases(fields, generation, next)
  for a = 1, #fields, 2 do
    local field = fields[a]
    if string.sub(field, 1, 1) ~= ">" and string.find(field, ":", 1, true) then
      call("HSET", shard .. ":old", generation .. ":" .. field, math.floor(fields[a + 1] / BUCKET) + 1)
      call("HSET", shard, "old", "1")
      call("HDEL", shard, field)
    end
  end
  call("HSET", shard, "bases", next)
end
