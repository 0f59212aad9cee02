-- What a namespace holds is counted in its mark, from the first cap on that anybody asks for. A mark is "1" once the namespace is in the
-- list of namespaces; with figures it is "1 <bytes of entries> <bytes of messages> <sessions> <phase><place>". What was there before is
-- counted in steps, the entries (phase e) and then the sessions (s), in their order: what comes after the place is not in the figures
-- yet. In phase d all is. `held` is nil before a mark was read, false if it has no figures.

local function read_held(mark)
    local entries, messages, sessions, phase, place = match(mark or '', '^1 (%d+) (%d+) (%d+) (%l)(.*)$')
    held = false
    if not entries then return end
    held = { entries = tonumber(entries), messages = tonumber(messages), sessions = tonumber(sessions), phase = phase, place = place }
end

local function write_held()
    local mark = '1'
    if held.entries >= 0 and held.messages >= 0 and held.sessions >= 0 then -- else others have changed our keys: it is counted anew
        mark = '1 ' .. text(held.entries) .. ' ' .. text(held.messages) .. ' ' .. text(held.sessions) .. ' ' .. held.phase .. held.place
    end
    call('SET', MARK, mark)
end

-- Whether one name comes no later than another, by their bytes: Lua's own comparison follows the server's locale.
local function comes_by(name, place)
    for index = 1, math.min(#name, #place) do
        local one, other = string.byte(name, index), string.byte(place, index)
        if one ~= other then return one < other end
    end
    return #name <= #place
end

local function counts_entry(key) return held and (held.phase ~= 'e' or comes_by(key, held.place)) end

local function counts_log(name) return held and (held.phase == 'd' or (held.phase == 's' and comes_by(name, held.place))) end

local function size_of(raw) -- of an entry's value, after its header
    local header = string.find(raw, '\n', 1, true)
    return header and #raw - header or #raw
end

-- What the names of a session's logs begin with, and how many there are.
local function session_of(name) return string.sub(name, 1, string.find(name, '\0', 1, true)) end

local function logs_of(session) return call('ZLEXCOUNT', LOGS_BY_NAME, '[' .. session, '(' .. session .. '\255') end
