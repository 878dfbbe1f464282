-- how much at most → "many", or incarnation, version, position, end, epoch, number of keys, keys, number of sources, sources,
-- then each count with the number of its actors and them
local counts = call("SMEMBERS", shard .. ":names")
local size = call("HLEN", shard .. ":keyed") + call("HLEN", shard .. ":tallies")
for _, count in ipairs(counts) do size = size + call("HLEN", shard .. ":r:" .. count) end
if size > ARGV[rest] + 0 then return "many" end

local answer = { incarnation, version, position, ending, epoch }
local function say(values)
  answer[#answer + 1] = tostring(#values)
  for _, value in ipairs(values) do answer[#answer + 1] = value end
end
local sources, isNamed = {}, {}
local function name(source)
  if isNamed[source] then return end
  isNamed[source] = true
  sources[#sources + 1] = source
end

local keys = {}
local keyed = call("HGETALL", shard .. ":keyed")
for a = 1, #keyed, 2 do
  keys[#keys + 1] = keyed[a]
  name(string.match(keyed[a + 1], "^[^\n]+\n[^\n]+\n%d+ ([^\n]*)\n"))
end
for _, field in ipairs(call("HKEYS", shard .. ":tallies")) do name(string.match(field, "^%d+ (.*)$")) end
local actorsOf = {}
for _, count in ipairs(counts) do
  local actors = {}
  local entries = call("HGETALL", shard .. ":r:" .. count)
  for a = 1, #entries, 2 do
    actors[#actors + 1] = entries[a]
    name(string.match(entries[a + 1], "^%d+ %d+ %d+ (.*)$"))
  end
  actorsOf[count] = actors
end

say(keys)
say(sources)
for _, count in ipairs(counts) do
  answer[#answer + 1] = count
  say(actorsOf[count])
end
return answer
