-- How many entries there are: KEYS keys, expiry; ARGV clock, lowest, highest, prefix.
local now, prefix = clock(ARGV[1]), ARGV[4]
local expired = call('ZCOUNT', KEYS[2], '-inf', text(now))
if prefix == '' then return call('ZCARD', KEYS[1]) - expired end
local count, start = call('ZLEXCOUNT', KEYS[1], ARGV[2], ARGV[3]), 0
while start < expired do
    for _, key in ipairs(call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now), 'LIMIT', start, CHUNK)) do
        if string.sub(key, 1, #prefix) == prefix then count = count - 1 end
    end
    start = start + CHUNK
end
return count
