-- What the batch makes of what its namespace holds. Brings `held` to it; answers what is held before and after, as users see it.
local function account_entries(before, after)
    after.keys = wiped and 0 or before.keys
    if wiped then
        after.bytes = after.bytes - held.entries
        held.entries = 0
    end
    for key, one in pairs(entries) do
        if one.dirty then
            local is_stored, was = one.live or one.kept, wiped and 0 or sizes[key] or 0
            if counts_entry(key) then held.entries = held.entries - was + (is_stored and #one.value or 0) end
            after.bytes = after.bytes - was + (one.live and #one.value or 0)
            after.keys = after.keys - (one.stored and 1 or 0) + (one.live and 1 or 0)
        end
    end
end

local function account_sessions(sessions, after)
    for session, change in pairs(sessions) do
        local logs = logs_of(session)
        local was, stored, seen = logs > 0, logs + change.stored > 0, logs + change.seen > 0
        if change.counted then held.sessions = held.sessions + (stored and 1 or 0) - (was and 1 or 0) end
        after.sessions = after.sessions + (seen and 1 or 0) - (was and 1 or 0)
    end
end

local function account_logs(after)
    local sessions = {}
    for _, one in pairs(logs) do
        if one.dirty then
            local counted, was, bytes = counts_log(one.name), one.was or 0, one.live and one.bytes or 0
            local seen, session = one.live and not over(one.expires, now), session_of(one.name)
            local change = sessions[session] or { stored = 0, seen = 0, counted = counted }
            if counted then held.messages = held.messages - was + bytes end
            after.bytes = after.bytes - was + (seen and bytes or 0)
            change.stored = change.stored - (one.stored and 1 or 0) + (one.live and 1 or 0)
            change.seen = change.seen - (one.stored and 1 or 0) + (seen and 1 or 0)
            sessions[session] = change
        end
    end
    account_sessions(sessions, after)
end

local function account()
    local before = { bytes = held.entries + held.messages, keys = call('ZCARD', KEYS_BY_NAME), sessions = held.sessions }
    local after = { bytes = before.bytes, sessions = before.sessions }
    account_entries(before, after)
    account_logs(after)
    return before, after
end

-- Why the batch is refused under its cap, if it is. What expired is swept before; if there was too much of that, it is to be tried again.
local function over_cap(before, after)
    for _, name in ipairs({ 'bytes', 'keys', 'sessions' }) do
        local allowed = tonumber(cap[name])
        if allowed and after[name] > allowed then
            if call('ZCOUNT', EXPIRY, '-inf', text(now)) + call('ZCOUNT', LOG_EXPIRY, '-inf', text(now)) > 0 then return { 'S' } end
            if after[name] > before[name] then return { 'H', name, text(before[name]), text(after[name]) } end
        end
    end
end
