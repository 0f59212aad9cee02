-- Removes some of what has expired; nobody sees it any more. Messages of logs are removed by the server's own expiry.
local function sweep_entries(keys)
    if held then
        for index, raw in ipairs(call('HMGET', VALUES, unpack(keys))) do
            if raw and counts_entry(keys[index]) then held.entries = held.entries - size_of(raw) end
        end
    end
    call('HDEL', VALUES, unpack(keys))
    call('ZREM', KEYS_BY_NAME, unpack(keys))
    call('ZREM', EXPIRY, unpack(keys))
end

local function sweep_logs(names)
    local sessions = {}
    if held then
        for index, state in ipairs(call('HMGET', STATES, unpack(names))) do
            if counts_log(names[index]) then
                held.messages = held.messages - (tonumber(match(state or '', '^%S+ %d+[:+](%d+) ')) or 0)
                sessions[session_of(names[index])] = true
            end
        end
    end
    call('HDEL', STATES, unpack(names))
    call('HDEL', METADATA, unpack(names))
    call('ZREM', LOGS_BY_NAME, unpack(names))
    call('ZREM', LOG_EXPIRY, unpack(names))
    for session in pairs(sessions) do
        if logs_of(session) == 0 then held.sessions = held.sessions - 1 end
    end
end

local function sweep(most)
    local keys = call('ZRANGEBYSCORE', EXPIRY, '-inf', text(now), 'LIMIT', 0, most)
    local names = call('ZRANGEBYSCORE', LOG_EXPIRY, '-inf', text(now), 'LIMIT', 0, most)
    if #keys == 0 and #names == 0 then return end
    if held == nil then read_held(call('GET', MARK)) end
    if #keys > 0 then sweep_entries(keys) end
    if #names > 0 then sweep_logs(names) end
    if held then write_held() end
end
