-- Charges: what each meter will stand at, and until when; written when all have succeeded.
local meters = {}

local function charge(count)
    for number = 1, count do
        local meter, amount, limit, expires = take(), tonumber(take()), tonumber(take()), take()
        if not meters[meter] then
            local used, until_when = match(call('HGET', METERS, meter) or '0 0', '^(%S+) (%S+)$')
            if tonumber(until_when) <= now then used = 0 end
            meters[meter] = { tonumber(used), expires }
        end
        local used = meters[meter][1] + amount
        if used > limit then return { 'Q', text(number - 1), text(meters[meter][1]), text(math.max(0, tonumber(expires) - now)) } end
        meters[meter] = { used, expires }
    end
end

function flush_meters()
    for meter, state in pairs(meters) do call('HSET', METERS, meter, text(state[1]) .. ' ' .. state[2]) end
    if call('HLEN', METERS) <= 8 then return end
    local all = call('HGETALL', METERS)
    for index = 1, #all, 2 do
        if tonumber(match(all[index + 1], '(%S+)$')) <= now then call('HDEL', METERS, all[index]) end
    end
end
