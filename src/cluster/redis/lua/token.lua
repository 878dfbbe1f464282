-- → the head, and how often the shard has changed; then how many counts have registers on their way
return { incarnation, version, position, ending, epoch, changes, call("SCARD", shard .. ":names") }
