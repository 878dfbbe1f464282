-- an end that is none, and that no other call has given
call("HSET", shard, "end", ARGV[rest])
return "ok"
