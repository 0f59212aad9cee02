-- One batch: all of it, or nothing. The operations only compute; what they come to is written when all have succeeded.
-- To make a function takes time in each call, so those that few batches need are made by others, when they are needed.
local VALUES, KEYS_BY_NAME, EXPIRY, STATES, LOGS_BY_NAME, LOG_EXPIRY = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local METADATA, METERS, MARK, REQUESTS, REQUEST, NAMESPACES, FIXED = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], 12
local at = 0
local function take()
    at = at + 1
    return ARGV[at]
end
local given_clock, not_after, fingerprint, lifetime = take(), take(), take(), take()
local publish, channel, news, seed, token, flags, namespace = take(), take(), take(), take(), take(), take(), take()
local now, adding, operation, names = clock(given_clock), false, {}, {}
for number = 1, tonumber(take()) do names[number] = take() end
local cap = take() == '1' and { bytes = take(), keys = take(), sessions = take() }
local entries, sizes, wiped, logs, refusal, held, usage = {}, {}, false, {}, nil, nil, nil
local entry, flush_entries, log, metadata, flush_log
local is_waited_for, is_again = string.find(flags, 'w', 1, true), string.find(flags, 'a', 1, true)
--REQUESTS

local function use_entries()
    --ENTRIES
end

local function use_logs()
    --LOGS
end

local function use_usage()
    --USAGE
    --SWEEP
    --ACCOUNT
    usage = { size_of = size_of, read = read_held, write = write_held, sweep = sweep, account = account, over_cap = over_cap }
end

local function keep(results) keep_request(REQUEST, REQUESTS, fingerprint, lifetime, 'm', results and cmsgpack.pack(results) or '') end

local function refused(answer)
    -- Of an attempt that was sent again, an earlier copy may still be on its way: it must not succeed after this answer.
    if answer[1] ~= 'S' and is_again then keep(false) end
    return answer
end

-- A command that lay in some connection until nobody waits for it any more is not carried out.
if not_after ~= '' and now > tonumber(not_after) then return { 'L', text(now) } end

local printed, form, kept = kept_request(REQUEST)
if printed then
    if printed ~= fingerprint then return { 'R' } end
    if kept == '' then return { 'L', text(now) } end -- given up by an attempt that came later
    if is_waited_for then call('PEXPIRE', REQUEST, text(math.ceil(lifetime / 1000))) end -- for WAIT to wait for
    return { '=', form == 'm' and cmsgpack.unpack(kept) or { { match(kept, '^(%S+) (%S+) (.*)$') } } }
end
local mark = call('GET', MARK)
local has_figures = mark and string.sub(mark, 1, 2) == '1 '
local is_listed = mark == '1' or has_figures
if token ~= '' and not is_listed and mark ~= token then return { 'N' } end
if has_figures then
    use_usage()
    usage.read(mark)
end
if cap then
    if not held or held.phase ~= 'd' then return { 'C' } end
    usage.sweep(CHUNK)
end
if string.find(flags, 'e', 1, true) then use_entries() end
if string.find(flags, 'l', 1, true) then use_logs() end

for number = 1, tonumber(take()) do -- what the caller computed from must be what is there
    local kind, name, expected = take(), take(), take()
    local found
    if kind == 'E' then
        local one = entry(name)
        found = not one and '?' or not one.live and '' or one.version .. ' ' .. one.created .. ' ' .. one.updated
    else
        local one = log(tonumber(name))
        found = one.live and metadata(one) or '{}'
    end
    if found ~= expected then return { 'S' } end
end
local charges, flush_meters = tonumber(take()), nil
if charges > 0 then
    --METERS
    refusal = charge(charges)
    if refusal then return refused(refusal) end
end

local results = {}
while at < #ARGV do
    local kind = take()
    if kind == 'F' then return refused({ 'F' }) end -- a Change that cannot be done; the caller knows why
    local result = operation[kind]()
    if refusal then return refused({ refusal[1], text(#results), refusal[2] or '' }) end
    results[#results + 1] = result
end
if held then
    local before, after = usage.account()
    refusal = cap and usage.over_cap(before, after)
    if refusal then return refused(refusal) end
end

if adding then keep(results) end -- first, since a server that is out of memory refuses this, and then nothing was written
if flush_entries then flush_entries() end
for _, one in pairs(logs) do
    if one.dirty and (one.live or one.stored) then flush_log(one) end
end
if flush_meters then flush_meters() end
if not adding then keep(results) end
if held then
    usage.write()
elseif not is_listed then
    call('SET', MARK, '1')
end
if token == '' and not is_listed then call('ZADD', NAMESPACES, 0, namespace) end
if call('ZCOUNT', EXPIRY, '-inf', text(now)) + call('ZCOUNT', LOG_EXPIRY, '-inf', text(now)) > 0 then
    if not usage then use_usage() end
    usage.sweep(50)
end
if news ~= '' then call(publish, channel, news) end
return { '+', results }
