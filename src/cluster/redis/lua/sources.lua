-- → source and last n of each
local answer = {}
local at = 0
local fields = call("HGETALL", shard)
for a = 1, #fields, 2 do
  if string.sub(fields[a], 1, 1) == ">" then
    answer[at + 1] = string.sub(fields[a], 2)
    answer[at + 2] = fields[a + 1]
    at = at + 2
  end
end
return answer
