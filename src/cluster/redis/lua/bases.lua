-- group, id and hash of each count → incarnation, version, then the base of each
local answer = { incarnation, version }
for a = rest, #ARGV, 3 do
  answer[#answer + 1] = call("HGET", bucketOf(ARGV[a], ARGV[a + 2]), ARGV[a + 1])
end
return answer
