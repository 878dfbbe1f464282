-- identity; then, to keep it: the ledger's incarnation, how many partitions there are, and of each metric its name and
-- "number kind". What is kept. Numbers never change, so who knows of fewer metrics takes none away; another ledger's go.
local agreed = KEYS[1]
if ARGV[2] then
  if redis.call("HGET", agreed, "incarnation") ~= ARGV[2] then redis.call("DEL", agreed) end
  redis.call("HSET", agreed, "incarnation", ARGV[2], "partitions", ARGV[3])
  for a = 4, #ARGV, 2 do redis.call("HSET", agreed, "m:" .. ARGV[a], ARGV[a + 1]) end
end
return redis.call("HGETALL", agreed)
