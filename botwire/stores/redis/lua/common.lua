-- What every script shares. Numbers travel and lie as decimal text; all of them are below 2^53, so Lua's doubles hold them.
local call, match, format = redis.call, string.match, string.format
local CHUNK = 1000 -- arguments of one command that come from a table: Lua's stack holds a few thousand

local function text(number) return format('%.0f', number) end

-- Microseconds since 1970: what a test says, or else the server's own time.
local function clock(given)
    if given ~= '' then return tonumber(given) end
    local time = call('TIME')
    return time[1] * 1000000 + time[2]
end

local function over(expires, now) return expires ~= '-' and tonumber(expires) <= now end

-- Calls a command with many arguments in pieces.
local function in_chunks(command, key, members)
    for start = 1, #members, CHUNK do
        call(command, key, unpack(members, start, math.min(start + CHUNK - 1, #members)))
    end
end
