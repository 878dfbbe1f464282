-- The same as in names.ts: it says in which bucket an id is.
local function hashOf(id)
  local hash = 1
  for i = 1, #id do hash = (hash * 32719 + string.byte(id, i)) % 65521 end
  return hash
end
