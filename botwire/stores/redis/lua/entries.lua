-- Entries as this batch sees them: what lies in the hash, and over it what the batch has done so far. Nothing is written here.
-- An entry is stored as "version created updated expires\nvalue"; expires is "-" for never.
-- `sizes` are those of values that lie there, as far as they were looked at.
function entry(key)
    local one = entries[key]
    if one then return one end
    local raw = not wiped and call('HGET', VALUES, key)
    one = { stored = raw and true or false }
    if raw then
        if held then sizes[key] = usage.size_of(raw) end
        one.version, one.created, one.updated, one.expires = match(raw, '^(%S+) (%S+) (%S+) (%S+)\n')
        if not one.version then return nil end -- unreadable: the caller says so
        one.timed = one.expires ~= '-'
        one.live = not over(one.expires, now)
    end
    entries[key] = one
    return one
end

local function put(one, value, ttl)
    if ttl ~= '=' then one.expires = ttl == '-' and '-' or text(now + ttl) elseif not one.live then one.expires = '-' end
    one.version = one.live and text(one.version + 1) or '1'
    one.created = one.live and one.created or text(now)
    one.updated, one.value, one.live, one.dirty = text(now), value, true, true
    adding = true
    return one.version
end

local function is_at(one, wanted)
    local current = one.live and one.version or '0'
    if wanted ~= '' and wanted ~= current then refusal = { 'V', current } end
    return not refusal
end

local function take_entry()
    local key = take()
    local one = entry(key)
    if not one then refusal = { 'U', key } end
    return one
end

operation.S = function() -- Set: key, value, ttl, if_version
    local key, value, ttl, wanted = take(), take(), take(), take()
    local one = entry(key)
    if not one then -- a value without its header: what it was is not known, so it counts as there, at an unknown version
        one = { stored = true, timed = true, live = false }
        entries[key] = one
    end
    if is_at(one, wanted) then return put(one, value, ttl) end
end

operation.C = function() -- Change: key, value, answer, ttl
    local one, value, answer, ttl = take_entry(), take(), take(), take()
    if one then return { put(one, value, ttl), answer } end
end

operation.D = function() -- Delete: key, if_version
    local key, wanted = take(), take()
    local one = entry(key)
    if not one then
        one = { stored = true, timed = true, live = true, version = '?' }
        entries[key] = one
    end
    if not is_at(one, wanted) or not one.live then return '0' end
    one.live, one.dirty = false, true
    return '1'
end

operation.R = function() -- Restore: key, version, created, updated, expires, value
    local key = take()
    local one = entry(key) or { stored = true, timed = true }
    entries[key] = one
    one.version, one.created, one.updated, one.expires, one.value = take(), take(), take(), take(), take()
    one.live, one.dirty, adding = not over(one.expires, now), true, true
    one.kept = true -- also where its time is over already
    return ''
end

local function learn_sizes(keys)
    for start = 1, #keys, CHUNK do
        local last = math.min(start + CHUNK - 1, #keys)
        for index, raw in ipairs(call('HMGET', VALUES, unpack(keys, start, last))) do
            sizes[keys[start + index - 1]] = raw and usage.size_of(raw) or 0
        end
    end
end

operation.X = function() -- Clear: prefix
    local prefix, count = take(), 0
    for key, one in pairs(entries) do
        if string.sub(key, 1, #prefix) == prefix then
            if one.live then count = count + 1 end
            one.live, one.kept, one.dirty, one.cleared = false, false, true, true
        end
    end
    if wiped then return text(count) end
    if prefix == '' and not next(entries) then -- nothing of it need be looked at
        wiped = true
        return text(call('ZCARD', KEYS_BY_NAME) - call('ZCOUNT', EXPIRY, '-inf', text(now)))
    end
    local some_expired = call('ZCOUNT', EXPIRY, '-inf', text(now)) > 0
    local keys = call('ZRANGEBYLEX', KEYS_BY_NAME, prefix == '' and '-' or '[' .. prefix, prefix == '' and '+' or '(' .. prefix .. '\255')
    if held then learn_sizes(keys) end
    for _, key in ipairs(keys) do
        if not entries[key] then
            local expires = some_expired and call('ZSCORE', EXPIRY, key)
            if not expires or tonumber(expires) > now then count = count + 1 end
            if prefix ~= '' then entries[key] = { stored = true, timed = true, live = false, dirty = true } end
        end
    end
    if prefix == '' then
        wiped = true
        for _, one in pairs(entries) do one.stored, one.timed = false, false end
    end
    return text(count)
end

function flush_entries()
    if wiped then call('UNLINK', VALUES, KEYS_BY_NAME, EXPIRY) end
    local dropped = {}
    for key, one in pairs(entries) do
        if one.dirty and (one.live or one.kept) then
            call('HSET', VALUES, key, one.version .. ' ' .. one.created .. ' ' .. one.updated .. ' ' .. one.expires .. '\n' .. one.value)
            if not one.stored then call('ZADD', KEYS_BY_NAME, 0, key) end
            if one.expires ~= '-' then call('ZADD', EXPIRY, one.expires, key) elseif one.timed then call('ZREM', EXPIRY, key) end
        elseif one.dirty and one.stored then
            dropped[#dropped + 1] = key
        end
    end
    in_chunks('HDEL', VALUES, dropped)
    in_chunks('ZREM', KEYS_BY_NAME, dropped)
    in_chunks('ZREM', EXPIRY, dropped)
end
