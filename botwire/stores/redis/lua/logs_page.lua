-- A page of logs by name: KEYS states, names, metadata; ARGV clock, lowest, limit.
local now, lowest, limit, found = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), {}
while limit > 0 do
    local names = call('ZRANGEBYLEX', KEYS[2], lowest, '+', 'LIMIT', 0, math.min(limit, CHUNK))
    if #names == 0 then break end
    lowest = '(' .. names[#names]
    local states, metadata = call('HMGET', KEYS[1], unpack(names)), call('HMGET', KEYS[3], unpack(names))
    for index, name in ipairs(names) do
        local expires = match(states[index], '^%S+ %S+ %S+ %S+ %S+ (%S+) ')
        if not over(expires, now) then
            found[#found + 1], found[#found + 2], found[#found + 3] = name, states[index], metadata[index] or '{}'
            limit = limit - 1
        end
    end
end
return found
