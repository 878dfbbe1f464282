-- identity; then, to keep it: the ledger's incarnation, how many partitions there are, and of each metric its name and
-- "number kind" → the incarnation that was kept before. Without them: what is kept. Numbers never change, so who knows of fewer
-- metrics takes none away; another ledger's go.
local agreed = KEYS[1]
if not ARGV[2] then return redis.call("HGETALL", agreed) end
local before = redis.call("HGET", agreed, "incarnation")
if before ~= ARGV[2] then redis.call("DEL", agreed) end
redis.call("HSET", agreed, "incarnation", ARGV[2], "partitions", ARGV[3])
for a = 4, #ARGV, 2 do redis.call("HSET", agreed, "m:" .. ARGV[a], ARGV[a + 1]) end
return before
