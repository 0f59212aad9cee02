-- Counts the bytes of a log that was written before its state had them: KEYS states, stream; ARGV name.
local before, after = match(call('HGET', KEYS[1], ARGV[1]) or '', '^(%S+ %d+)( .*)$')
if not before then return 0 end
local bytes, lowest = 0, '-'
repeat
    local rows = call('XRANGE', KEYS[2], lowest, '+', 'COUNT', CHUNK)
    for _, row in ipairs(rows) do bytes = bytes + #row[2][2] end
    lowest = #rows > 0 and '(' .. rows[#rows][1]
until #rows < CHUNK
call('HSET', KEYS[1], ARGV[1], before .. ':' .. text(bytes) .. after)
return 1
