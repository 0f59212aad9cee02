-- What is kept of a request: "<fingerprint> <expires> <form>\n" and its results; of one that is given up, no results.
-- Of an Append alone they are text (form a), else packed (form m). Those with an id that a caller gave are listed by their expiry.
local function kept_request(key)
    local raw = call('GET', key)
    if not raw then return nil end
    local fingerprint, expires, form, results = match(raw, '^(%S*) (%S+) (%S)\n(.*)$')
    if tonumber(expires) <= now then return nil end
    return fingerprint, form, results
end

local function keep_request(key, listed, fingerprint, lifetime, form, results)
    local expires = text(now + lifetime)
    call('SET', key, fingerprint .. ' ' .. expires .. ' ' .. form .. '\n' .. results, 'PX', text(math.ceil(lifetime / 1000)))
    if fingerprint == '' then return end
    call('ZADD', listed, expires, key)
    local old = call('ZRANGEBYSCORE', listed, '-inf', text(now), 'LIMIT', 0, 2) -- two go for each that comes
    if #old > 0 then call('ZREM', listed, unpack(old)) end
end
