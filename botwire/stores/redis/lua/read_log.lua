-- Messages of a log, and its state: KEYS states, metadata, stream; ARGV clock, name, lowest, highest, command, limit ('' for all).
-- All messages come as two texts, "<seq>-<created> <bytes>" of each and the bodies: a thousand answers cost a client a thousandfold.
-- Numbers go into the first as they are: to make a text of each would cost as much as to find the message.
local state = call('HGET', KEYS[1], ARGV[2])
if not state or over(match(state, '^%S+ %S+ %S+ %S+ %S+ (%S+) '), clock(ARGV[1])) then return {} end
local rows, heads, bodies = {}, {}, {}
if ARGV[6] == '' then
    rows = call(ARGV[5], KEYS[3], ARGV[3], ARGV[4])
elseif ARGV[6] ~= '0' then
    rows = call(ARGV[5], KEYS[3], ARGV[3], ARGV[4], 'COUNT', ARGV[6])
end
for index, row in ipairs(rows) do
    local body = row[2][2]
    heads[2 * index - 1], heads[2 * index], bodies[index] = row[1], #body, body
end
return { state, call('HGET', KEYS[2], ARGV[2]) or '{}', table.concat(heads, ' '), table.concat(bodies) }
