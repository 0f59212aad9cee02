-- Whether a namespace holds anything: KEYS keys, expiry, logs, log expiry; ARGV clock.
local now = text(clock(ARGV[1]))
return call('ZCARD', KEYS[1]) + call('ZCARD', KEYS[3]) - call('ZCOUNT', KEYS[2], '-inf', now) - call('ZCOUNT', KEYS[4], '-inf', now)
