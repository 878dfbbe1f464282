-- sources that the ledger has forgotten
for a = rest, #ARGV do call("HDEL", shard, ">" .. ARGV[a]) end
return "ok"
