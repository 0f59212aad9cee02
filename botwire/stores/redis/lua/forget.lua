-- Takes a namespace out of a Cluster's list, if nobody has entered it since: KEYS list, entrances; ARGV namespace, entrance as read.
if call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
call('HDEL', KEYS[2], ARGV[1])
return call('ZREM', KEYS[1], ARGV[1])
