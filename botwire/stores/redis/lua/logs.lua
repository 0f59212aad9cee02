-- Logs as this batch sees them. A log's state is stored as "head count:bytes created updated ttl expires epoch", its messages in a
-- stream with ids "<seq>-<created>", its metadata apart unless it is "{}". In place of the colon is a "+" where the mark of the namespace
-- has figures; what is older than these has no bytes. Of the stream the batch sees what lies between `lower` and `upper` (nothing once
-- it is `cut`), and after that the `tail` that it adds itself.
local epochs = 0

local function new_epoch()
    epochs = epochs + 1
    return epochs == 1 and seed or seed .. '.' .. epochs
end

local function forget(one)
    one.live, one.cut, one.count, one.bytes, one.head = false, true, 0, 0, 0
    one.tail, one.gone, one.lower, one.upper = {}, {}, nil, nil
end

function log(number)
    local one = logs[number]
    if one then return one end
    one = { name = names[number], stream = KEYS[FIXED + number], tail = {}, gone = {} }
    local raw = call('HGET', STATES, one.name)
    if raw then
        one.stored = true
        one.head, one.count, one.was, one.created, one.updated, one.ttl, one.expires, one.epoch =
            match(raw, '^(%S+) (%d+)[:+]?(%d*) (%S+) (%S+) (%S+) (%S+) (.*)$')
        one.head, one.count, one.was, one.timed = tonumber(one.head), tonumber(one.count), tonumber(one.was), one.expires ~= '-'
        one.bytes = one.was
        one.live = not over(one.expires, now)
    end
    if not one.live then forget(one) end
    logs[number] = one
    return one
end

function metadata(one)
    if not one.metadata then one.metadata = call('HGET', METADATA, one.name) or '{}' end
    return one.metadata
end

local function add_bytes(one, bytes)
    if one.bytes then one.bytes = one.bytes + bytes end
end

local function bytes_in(rows) -- of a stream, or of a tail: pairs of an id with a body, or with fields
    local bytes = 0
    for _, row in ipairs(rows) do bytes = bytes + (type(row[2]) == 'table' and #row[2][2] or #row[2]) end
    return bytes
end

local function pack_state(one)
    local bytes = one.bytes and (held and '+' or ':') .. text(one.bytes) or ''
    return text(one.head) .. ' ' .. text(one.count) .. bytes .. ' ' .. one.created .. ' ' .. one.updated .. ' ' .. one.ttl .. ' '
        .. one.expires .. ' ' .. one.epoch
end

local function touch(one, ttl)
    if not one.live then -- a new log
        one.epoch, one.created, one.ttl, one.metadata, one.metadata_changed = new_epoch(), text(now), '-', '{}', one.stored
        one.live = true
    end
    if ttl ~= '=' then one.ttl = ttl end
    one.updated, one.expires, one.dirty = text(now), one.ttl == '-' and '-' or text(now + one.ttl), true
end

local function is_in_place(one)
    local epoch, head, count = take(), take(), take()
    if epoch == '' and head == '' then return true end
    if one.live and one.epoch == epoch and text(one.head) == head and text(one.count) == count then return true end
    refusal = { 'P', text(one.live and one.head or 0) }
    return false
end

-- Some messages of the stream, of those that the batch sees: the first ones, or from the last one backwards.
local function some(one, command, count)
    if one.cut then return {} end
    local low, high = one.lower or '-', one.upper and '(' .. one.upper or '+'
    if command == 'XREVRANGE' then low, high = high, low end
    return call(command, one.stream, low, high, 'COUNT', count)
end

local function seq_of(id) return match(id, '^(%d+)-(%d+)$') end

operation.A = function() -- Append: log, ttl, bodies
    local one, ttl, count = log(tonumber(take())), take(), tonumber(take())
    touch(one, ttl)
    local first, stamp, tail = one.head + 1, '-' .. text(now), one.tail
    for seq = first, one.head + count do
        local body = take()
        tail[#tail + 1] = { text(seq) .. stamp, body }
        add_bytes(one, #body)
    end
    one.head, one.count, adding = one.head + count, one.count + count, true
    return { text(first), text(one.head), one.epoch }
end

operation.P = function() -- Pop: log
    local one = log(tonumber(take()))
    if not one.live or one.count == 0 then return '' end
    local last
    if #one.tail > 0 then
        last = table.remove(one.tail)
    else
        local found = some(one, 'XREVRANGE', 1)[1]
        if not found then return '' end
        last = { found[1], found[2][2] }
        one.upper = last[1]
        one.gone[#one.gone + 1] = last[1]
    end
    one.count = one.count - 1
    add_bytes(one, -#last[2])
    touch(one, '=')
    local seq, created = seq_of(last[1])
    return { seq, last[2], created }
end

-- Lets go of the first messages of the stream; fewer than all that are left of it. The smaller part is read, for its bytes.
local function drop_first(one, surplus, left)
    if surplus < left - surplus then
        local rows = some(one, 'XRANGE', surplus + 1)
        one.lower = table.remove(rows)[1]
        add_bytes(one, -bytes_in(rows))
    else
        local rows = some(one, 'XREVRANGE', left - surplus)
        one.lower = rows[#rows][1]
        one.bytes = bytes_in(rows) + bytes_in(one.tail)
    end
end

operation.T = function() -- Trim: log, keep_last, place
    local one, keep = log(tonumber(take())), tonumber(take())
    if not is_in_place(one) or not one.live or one.count <= keep then return '0' end
    local surplus, left = one.count - keep, one.count - #one.tail
    if surplus < left then
        drop_first(one, surplus, left)
    else
        local tail = {}
        for index = surplus - left + 1, #one.tail do tail[#tail + 1] = one.tail[index] end
        one.cut, one.tail, one.gone, one.bytes = true, tail, {}, bytes_in(tail)
    end
    one.count = keep
    touch(one, '=')
    return text(surplus)
end

operation.Z = function() -- ClearLog: log, place
    local one = log(tonumber(take()))
    if not is_in_place(one) or not one.live then return '0' end
    local count = one.count
    forget(one)
    one.live, one.epoch = true, new_epoch()
    touch(one, '=')
    return text(count)
end

operation.M = function() -- SetLog: log, ttl, whether there is metadata, metadata
    local one, ttl, given, value = log(tonumber(take())), take(), take(), take()
    touch(one, ttl)
    if given == '1' then one.metadata, one.metadata_changed, adding = value, true, true end
    return { pack_state(one), metadata(one) }
end

operation.K = function() -- DeleteLog: what the names of all logs of the session begin with ('' for one log), logs
    local prefix, count, given, found = take(), tonumber(take()), {}, 0
    for _ = 1, count do
        local one = log(tonumber(take()))
        given[one.name] = true
        if one.live then found = found + 1 end
        forget(one)
        one.dirty = true
    end
    if prefix ~= '' then
        for _, name in ipairs(call('ZRANGEBYLEX', LOGS_BY_NAME, '[' .. prefix, '(' .. prefix .. '\255')) do
            if not given[name] then refusal = { 'S' } end -- begun since the caller looked
        end
    end
    return text(found)
end

local function all_rows(one)
    local rows = {}
    for _, found in ipairs(some(one, 'XRANGE', 1e9)) do rows[seq_of(found[1])] = { found[1], found[2][2] } end
    for _, row in ipairs(one.tail) do rows[seq_of(row[1])] = row end
    return rows
end

-- The last sequence number that the stream, or the tail, has ever held: what comes after it can be added at its end.
local function last_held(one)
    if #one.tail > 0 then return tonumber((seq_of(one.tail[#one.tail][1]))) end
    if one.cut or call('EXISTS', one.stream) == 0 then return 0 end
    local facts = call('XINFO', 'STREAM', one.stream)
    for index = 1, #facts, 2 do
        if facts[index] == 'last-generated-id' then return tonumber((seq_of(facts[index + 1]))) end
    end
end

operation.B = function() -- RestoreLog: log, head, created, updated, ttl, expires, epoch, metadata, rows
    local one, head = log(tonumber(take())), tonumber(take())
    local created, updated, ttl, expires, epoch, value = take(), take(), take(), take(), take(), take()
    if one.live and one.epoch ~= epoch then forget(one) end
    head = math.max(head, one.head)
    local count, last, fits, rows = tonumber(take()), last_held(one), true, {}
    for index = 1, count do
        local seq, stamp, body = take(), take(), take()
        rows[index] = { seq .. '-' .. stamp, body }
        fits = fits and tonumber(seq) > last
        last = math.max(last, tonumber(seq))
        head = math.max(head, tonumber(seq))
    end
    if not fits then -- among, or over, what is there: all of it is written anew
        local by_seq, order = all_rows(one), {}
        for _, row in ipairs(rows) do
            local seq = seq_of(row[1])
            by_seq[seq] = row
        end
        for seq in pairs(by_seq) do order[#order + 1] = seq end
        table.sort(order, function(a, b) return tonumber(a) < tonumber(b) end)
        forget(one)
        for _, seq in ipairs(order) do one.tail[#one.tail + 1] = by_seq[seq] end
        one.count, one.bytes = #one.tail, bytes_in(one.tail)
    else
        for _, row in ipairs(rows) do one.tail[#one.tail + 1] = row end
        one.count = one.count + count
        add_bytes(one, bytes_in(rows))
    end
    one.head = head
    one.created, one.updated, one.ttl, one.expires, one.epoch = created, updated, ttl, expires, epoch
    one.metadata, one.metadata_changed, one.live, one.dirty, adding = value, true, true, true, true
    return ''
end

function flush_log(one)
    if not one.live then
        call('HDEL', STATES, one.name)
        call('HDEL', METADATA, one.name)
        call('ZREM', LOGS_BY_NAME, one.name)
        call('ZREM', LOG_EXPIRY, one.name)
        call('UNLINK', one.stream)
        return
    end
    if one.cut then
        call('UNLINK', one.stream)
    else
        if one.lower then call('XTRIM', one.stream, 'MINID', one.lower) end
        in_chunks('XDEL', one.stream, one.gone)
    end
    local stream = one.stream
    for _, row in ipairs(one.tail) do call('XADD', stream, row[1], 'b', row[2]) end
    call('HSET', STATES, one.name, pack_state(one))
    if not one.stored then call('ZADD', LOGS_BY_NAME, 0, one.name) end
    if one.expires ~= '-' then
        call('ZADD', LOG_EXPIRY, one.expires, one.name)
        -- An hour later the server removes the messages by itself; that they are over is told by the state. A test's clock is not its.
        if given_clock == '' then call('PEXPIREAT', stream, text(math.floor(one.expires / 1000) + 3600000)) end
    elseif one.timed then
        call('ZREM', LOG_EXPIRY, one.name)
        call('PERSIST', stream)
    end
    if one.metadata_changed then
        if one.metadata == '{}' then call('HDEL', METADATA, one.name) else call('HSET', METADATA, one.name, one.metadata) end
    end
end
