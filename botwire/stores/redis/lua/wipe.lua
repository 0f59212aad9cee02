-- Removes logs and remembered requests of a namespace, as its caller has found them; and all else, once these are all there are. KEYS values,
-- keys, expiry, states, logs, log expiry, metadata, meters, mark, requests, then so many streams and so many requests; ARGV publish, channel,
-- count of logs, their names. Answers how many entries and messages went, which logs, and whether it was the last step.
local VALUES, KEYS_BY_NAME, EXPIRY, STATES, LOGS_BY_NAME, LOG_EXPIRY, METADATA, METERS, MARK, REQUESTS = unpack(KEYS, 1, 10)
local publish, channel, logs, entries, messages, gone = ARGV[1], ARGV[2], tonumber(ARGV[3]), 0, 0, {}
local held
--USAGE
read_held(call('GET', MARK))
for index = 1, logs do
    local name = ARGV[3 + index]
    local count, bytes = match(call('HGET', STATES, name) or '', '^%S+ (%d+)[:+]?(%d*) ')
    if count then
        messages, gone[#gone + 1] = messages + count, name
        call('HDEL', STATES, name)
        call('HDEL', METADATA, name)
        call('ZREM', LOGS_BY_NAME, name)
        call('ZREM', LOG_EXPIRY, name)
        if counts_log(name) then
            held.messages = held.messages - (tonumber(bytes) or 0)
            if logs_of(session_of(name)) == 0 then held.sessions = held.sessions - 1 end
        end
    end
    call('UNLINK', KEYS[10 + index])
end
for index = 11 + logs, #KEYS do
    call('UNLINK', KEYS[index])
    call('ZREM', REQUESTS, KEYS[index])
end
local is_last = call('ZCARD', LOGS_BY_NAME) == 0 and call('ZCARD', REQUESTS) == 0
if is_last then
    entries = call('ZCARD', KEYS_BY_NAME)
    call('UNLINK', VALUES, KEYS_BY_NAME, EXPIRY, METADATA, METERS)
    if held then held = { entries = 0, messages = 0, sessions = 0, phase = 'd', place = '' } end
end
if held then write_held() end
call(publish, channel, '*')
return { '+', is_last and 1 or 0, entries, messages, gone }
