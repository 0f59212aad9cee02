-- Goes on counting what a namespace holds: KEYS values, keys, states, logs, mark, list of namespaces; ARGV token, namespace. Answers "N" if
-- the namespace must be entered first, the names of logs whose bytes must be measured first, or the phase that it has come to.
local VALUES, KEYS_BY_NAME, STATES, LOGS_BY_NAME, MARK, NAMESPACES = unpack(KEYS)
local token, namespace, held = ARGV[1], ARGV[2], nil
--USAGE

local function tally_entries()
    local keys = call('ZRANGEBYLEX', KEYS_BY_NAME, held.place == '' and '-' or '(' .. held.place, '+', 'LIMIT', 0, CHUNK)
    if #keys > 0 then
        for _, raw in ipairs(call('HMGET', VALUES, unpack(keys))) do
            if raw then held.entries = held.entries + size_of(raw) end
        end
    end
    if #keys < CHUNK then held.phase, held.place = 's', '' else held.place = keys[#keys] end
end

-- The next logs, all that there are of each session, and whether they are the last.
local function some_logs()
    local names = call('ZRANGEBYLEX', LOGS_BY_NAME, held.place == '' and '-' or '(' .. held.place, '+', 'LIMIT', 0, CHUNK)
    if #names < CHUNK then return names, true end
    local last = session_of(names[#names])
    while #names > 0 and session_of(names[#names]) == last do names[#names] = nil end
    for _, name in ipairs(call('ZRANGEBYLEX', LOGS_BY_NAME, '[' .. last, '(' .. last .. '\255')) do names[#names + 1] = name end
    return names, false
end

local function tally_logs()
    local names, are_last = some_logs()
    local states, unmeasured, session = {}, {}, nil
    for index, name in ipairs(names) do
        states[index] = { match(call('HGET', STATES, name) or '', '^(%S+ %d+)([:+]?)(%d*)( .*)$') }
        if states[index][3] == '' then unmeasured[#unmeasured + 1] = name end
    end
    if #unmeasured > 0 then return unmeasured end
    for index, name in ipairs(names) do
        local before, counted, bytes, after = unpack(states[index])
        if counted == ':' then call('HSET', STATES, name, before .. '+' .. bytes .. after) end
        held.messages = held.messages + (tonumber(bytes) or 0)
        if session_of(name) ~= session then
            session = session_of(name)
            held.sessions = held.sessions + 1
        end
    end
    if are_last then held.phase, held.place = 'd', '' else held.place = session .. '\255' end
end

local mark = call('GET', MARK)
if mark ~= '1' and string.sub(mark or '', 1, 2) ~= '1 ' then -- not in the list
    if token ~= '' and mark ~= token then return 'N' end
    if token == '' then call('ZADD', NAMESPACES, 0, namespace) end
end
read_held(mark)
held = held or { entries = 0, messages = 0, sessions = 0, phase = 'e', place = '' }
local unmeasured
if held.phase == 'e' then tally_entries() end
if held.phase == 's' then unmeasured = tally_logs() end
write_held()
return unmeasured or held.phase
