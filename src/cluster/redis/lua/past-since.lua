-- epoch, and the places behind which and up to which
-- → "other", or the place of the first that is answered, then the moves as they were told. What is before it is not known any more
if epoch ~= ARGV[rest] then return "other" end
local ring = shard .. ":past"
local gone = (pasts or 0) - call("LLEN", ring)
local from = math.max(gone, ARGV[rest + 1] + 0)
local to = ARGV[rest + 2] - gone - 1
local moves = from - gone <= to and call("LRANGE", ring, from - gone .. "", to .. "") or {}
return { from + 1 .. "", moves }
