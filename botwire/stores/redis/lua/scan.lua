-- A page of entries in the order of their keys: KEYS values, keys, expiry; ARGV clock, lowest, highest, limit, what.
local now, lowest, highest, limit, what = clock(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local found, some_expired = {}, call('ZCOUNT', KEYS[3], '-inf', text(now)) > 0
while limit > 0 do
    local keys = call('ZRANGEBYLEX', KEYS[2], lowest, highest, 'LIMIT', 0, math.min(limit, CHUNK))
    if #keys == 0 then break end
    lowest = '(' .. keys[#keys]
    local rows = what ~= 'keys' and call('HMGET', KEYS[1], unpack(keys))
    for index, key in ipairs(keys) do
        local expires = some_expired and call('ZSCORE', KEYS[3], key)
        if not expires or tonumber(expires) > now then
            found[#found + 1] = key
            if what == 'stamps' then
                found[#found + 1] = rows[index] and match(rows[index], '^[^\n]*')
            elseif rows then
                found[#found + 1] = rows[index]
            end
            limit = limit - 1
        end
    end
end
return found
