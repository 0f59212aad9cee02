-- A batch that is one Append, the write that is most frequent: as write.lua does it, without what only other batches need. Making
-- functions takes time in each call, so there are none where there are no figures to keep and nothing has expired.
-- KEYS states, logs, log expiry, mark, list of namespaces, stream, metadata, values, keys, expiry, requests, request; ARGV publish, channel,
-- news, namespace, name, ttl, not after, seed, clock, fingerprint, lifetime, token, flags, bodies.
local call, match, format = redis.call, string.match, string.format
local STATES, LOG_EXPIRY, MARK, STREAM, REQUEST, BEFORE = KEYS[1], KEYS[3], KEYS[4], KEYS[6], KEYS[12], 13 -- arguments before the bodies
local name, ttl, given_clock, fingerprint, lifetime, token = ARGV[5], ARGV[6], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local now
if given_clock ~= '' then
    now = tonumber(given_clock)
else
    local time = call('TIME')
    now = time[1] * 1000000 + time[2]
end
local stamp = format('%.0f', now)
if ARGV[7] ~= '' and now > tonumber(ARGV[7]) then return { 'L', stamp } end

local kept = call('GET', REQUEST) -- see requests.lua
if kept then
    local printed, until_when, form, results = match(kept, '^(%S*) (%S+) (%S)\n(.*)$')
    if tonumber(until_when) > now then
        if printed ~= fingerprint then return { 'R' } end
        if string.find(ARGV[13], 'w', 1, true) then call('PEXPIRE', REQUEST, format('%.0f', math.ceil(lifetime / 1000))) end
        if form == 'm' then results = table.concat(cmsgpack.unpack(results)[1], ' ') end
        return '=' .. results
    end
end

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
if token ~= '' and not is_listed and mark ~= token then return { 'N' } end

local timed, was = state and expires ~= '-', tonumber(bytes)
local live = state and not (timed and tonumber(expires) <= now)
if not live then head, count, bytes, created, old_ttl, epoch = 0, 0, 0, stamp, '-', ARGV[8] end
if ttl == '=' then ttl = old_ttl end
expires = ttl == '-' and '-' or format('%.0f', now + ttl)
local bodies, added = #ARGV - BEFORE, 0
for index = BEFORE + 1, #ARGV do added = added + #ARGV[index] end
local first, last = format('%.0f', head + 1), format('%.0f', head + bodies)
local result = first .. ' ' .. last .. ' ' .. epoch
counted = has_figures and '+' or ':'
bytes = bytes ~= '' and counted .. format('%.0f', bytes + added) or '' -- an older log is measured when figures are asked for

-- First of all what a server that is out of memory refuses: then nothing was written.
local until_when = format('%.0f', now + lifetime)
call('SET', REQUEST, fingerprint .. ' ' .. until_when .. ' a\n' .. result, 'PX', format('%.0f', math.ceil(lifetime / 1000)))
if not live then
    call('UNLINK', STREAM)
    if state then call('HDEL', KEYS[7], name) end
end
if bodies == 1 then
    call('XADD', STREAM, first .. '-' .. stamp, 'b', ARGV[BEFORE + 1])
else
    for index = 1, bodies do call('XADD', STREAM, format('%.0f', head + index) .. '-' .. stamp, 'b', ARGV[BEFORE + index]) end
end
local figures = last .. ' ' .. format('%.0f', count + bodies) .. bytes
call('HSET', STATES, name, figures .. ' ' .. created .. ' ' .. stamp .. ' ' .. ttl .. ' ' .. expires .. ' ' .. epoch)
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
if has_figures or (first % 16 < bodies -- now and then is enough
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
