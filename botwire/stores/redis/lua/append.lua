-- A batch that is one Append, the write that is most frequent: as write.lua does it, without what only other batches need. Making
-- functions takes time in each call, so there are none where there are no figures to keep and nothing has expired.
-- What is rare comes as one argument, and numbers are made text by %d, at a fraction of the cost of %.0f: in two parts where they may
-- not be within 32 bits, which is all that %d can do on some servers.
-- KEYS states, logs, log expiry, mark, list of namespaces, stream, metadata, values, keys, expiry, requests, request; ARGV publish, channel,
-- news, namespace, name, ttl, lifetime (whole milliseconds), not after, seed, rare ('' or clock, token, flags, fingerprint), bodies.
local call, match, format = redis.call, string.match, string.format
local STATES, LOG_EXPIRY, MARK, STREAM, REQUEST, BEFORE = KEYS[1], KEYS[3], KEYS[4], KEYS[6], KEYS[12], 10 -- arguments before the bodies
local name, ttl, lifetime, given_clock, token, flags, fingerprint = ARGV[5], ARGV[6], ARGV[7], '', '', '', ''
if ARGV[10] ~= '' then given_clock, token, flags, fingerprint = match(ARGV[10], '^(%S*) (%S*) (%S*) (%S*)$') end
local now, stamp
if given_clock ~= '' then
    now, stamp = tonumber(given_clock), given_clock
else
    local time = call('TIME')
    now, stamp = time[1] * 1000000 + time[2], time[1] .. format('%06d', time[2])
end
if ARGV[8] ~= '' and now > tonumber(ARGV[8]) then return { 'L', stamp } end

-- A request of the caller's, or one that is sent again, may have been carried out; of others SET below says so.
local kept = (fingerprint ~= '' or flags ~= '') and call('GET', REQUEST)
local head, count, counted, bytes, created, old_ttl, expires, epoch, _
local state = call('HGET', STATES, name)
if state then
    head, count, counted, bytes, created, _, old_ttl, expires, epoch =
        match(state, '^(%S+) (%d+)([:+]?)(%d*) (%S+) (%S+) (%S+) (%S+) (.*)$')
end
-- Where a log is known, so is its namespace; and whether that has figures.
local mark = state and counted ~= '+' and '1' or call('GET', MARK)
local has_figures = mark ~= '1' and mark and string.sub(mark, 1, 2) == '1 '
local is_listed = mark == '1' or has_figures
if token ~= '' and not is_listed and mark ~= token and not kept then return { 'N' } end

local timed, was = state and expires ~= '-', has_figures and tonumber(bytes)
local live = state and not (timed and tonumber(expires) <= now)
if not live then head, count, bytes, created, old_ttl, epoch = 0, 0, 0, stamp, '-', ARGV[9] end
if ttl == '=' then ttl = old_ttl end
expires = ttl == '-' and '-' or format('%.0f', now + ttl)
local bodies, added = #ARGV - BEFORE, 0
for index = BEFORE + 1, #ARGV do added = added + #ARGV[index] end
local last = head + bodies
local result = format('%d %d %s', head + 1, last, epoch)
local until_when = now + lifetime
local fraction = until_when % 1000000000
until_when = format('%d%09d', (until_when - fraction) / 1000000000, fraction)

-- First of all what a server that is out of memory refuses: then nothing was written.
local record, milliseconds = fingerprint .. ' ' .. until_when .. ' a\n' .. result, string.sub(lifetime, 1, -4)
if not kept and not call('SET', REQUEST, record, 'PX', milliseconds, 'NX') then kept = call('GET', REQUEST) end
if kept then -- see requests.lua
    local printed, until_then, form, results = match(kept, '^(%S*) (%S+) (%S)\n(.*)$')
    if tonumber(until_then) > now then
        if printed ~= fingerprint then return { 'R' } end
        if string.find(flags, 'w', 1, true) then call('PEXPIRE', REQUEST, milliseconds) end
        if form == 'm' then results = table.concat(cmsgpack.unpack(results)[1], ' ') end
        return '=' .. results
    end
    call('SET', REQUEST, record, 'PX', milliseconds)
end
if not live then
    call('UNLINK', STREAM)
    if state then call('HDEL', KEYS[7], name) end
end
for index = 1, bodies do call('XADD', STREAM, format('%d-%s', head + index, stamp), 'b', ARGV[BEFORE + index]) end
local figures = format('%d %d', last, count + bodies)
if bytes ~= '' then -- an older log is measured when figures are asked for
    figures = figures .. (has_figures and '+' or ':') .. format(bytes + added < 1000000000 and '%d' or '%.0f', bytes + added)
end
call('HSET', STATES, name, format('%s %s %s %s %s %s', figures, created, stamp, ttl, expires, epoch))
if expires ~= '-' then
    call('ZADD', LOG_EXPIRY, expires, name)
    if given_clock == '' then call('PEXPIREAT', STREAM, format('%.0f', math.floor(expires / 1000) + 3600000)) end
elseif timed then
    call('ZREM', LOG_EXPIRY, name)
    call('PERSIST', STREAM)
end
if not is_listed then
    call('SET', MARK, '1')
    if token == '' then call('ZADD', KEYS[5], 0, ARGV[4]) end
end
if fingerprint ~= '' then
    call('ZADD', KEYS[11], until_when, REQUEST)
    local old = call('ZRANGEBYSCORE', KEYS[11], '-inf', stamp, 'LIMIT', 0, 2) -- two go for each that comes
    if #old > 0 then call('ZREM', KEYS[11], unpack(old)) end
end
if has_figures or ((head + 1) % 16 < bodies -- now and then is enough
    and call('ZCOUNT', KEYS[10], '-inf', stamp) + call('ZCOUNT', LOG_EXPIRY, '-inf', stamp) > 0) then
    local VALUES, KEYS_BY_NAME, EXPIRY, LOGS_BY_NAME, METADATA, held = KEYS[8], KEYS[9], KEYS[10], KEYS[2], KEYS[7], nil
    --COMMON
    --USAGE
    --SWEEP
    if has_figures then
        read_held(mark)
        if held and counts_log(name) then
            if not state and logs_of(session_of(name)) == 0 then held.sessions = held.sessions + 1 end
            held.messages = held.messages + added - (live and 0 or was or 0)
            write_held()
        end
    end
    sweep(50)
end
if not state then call('ZADD', KEYS[2], 0, name) end
if ARGV[3] ~= '' then call(ARGV[1], ARGV[2], ARGV[3]) end
return '+' .. result
