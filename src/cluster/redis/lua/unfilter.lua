-- Without a filter nobody is told that a register never was.
call("HDEL", shard, "filter")
return "ok"
