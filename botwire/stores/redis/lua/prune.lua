-- Sweeps a namespace, and takes its mark away if it is empty then: KEYS values, keys, expiry, states, logs, log expiry, metadata, mark,
-- list of namespaces; ARGV clock, namespace ('' on a Cluster, where the list is in another slot). Answers whether it was.
local VALUES, KEYS_BY_NAME, EXPIRY, STATES, LOGS_BY_NAME, LOG_EXPIRY, METADATA, MARK = unpack(KEYS, 1, 8)
local now, held = clock(ARGV[1]), nil
--USAGE
--SWEEP
sweep(50)
if call('ZCARD', KEYS_BY_NAME) > 0 or call('ZCARD', LOGS_BY_NAME) > 0 then return 0 end
call('DEL', MARK)
if ARGV[2] ~= '' then call('ZREM', KEYS[9], ARGV[2]) end
return 1
