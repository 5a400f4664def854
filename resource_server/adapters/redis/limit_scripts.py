"""The Lua that Redis runs for limits: each script is one step that nobody else sees half of.

Arguments are the lease's name and length in microseconds, the tokens to charge, and for each key
its measure and amount. Each key's answer is three whole numbers: what remains, the microseconds
until all of it does, and the microseconds until there is room (0: there is; -1: nobody knows).
A bucket is a hash of its level and of the moment that this was its level; a set of places is
sorted by the moment that each is free again. The arithmetic is that of `domain.limits.Bucket`.
Times are the server's, in microseconds.
"""

from __future__ import annotations

_COMMON = """
local MINUTE, ROUNDING = 60e6, 1e-6
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1e6 + tonumber(clock[2])
local lease, lease_us, tokens = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local function measure(i) return ARGV[2 + 2 * i] end
local function amount(i) return tonumber(ARGV[3 + 2 * i]) end

local function level(i)
  local held = redis.call('HMGET', KEYS[i], 'level', 'at')
  if not held[1] then return amount(i) end
  local filled = math.max(0, now - tonumber(held[2])) * amount(i) / MINUTE
  return math.min(amount(i), tonumber(held[1]) + filled)
end

local function reset_us(i, left)
  return math.ceil(math.max(0, amount(i) - left) * MINUTE / amount(i))
end

local function draw(i, quantity)
  local left = level(i) - quantity
  redis.call('HSET', KEYS[i], 'level', string.format('%.17g', left),
                              'at', string.format('%.17g', now))
  -- A full bucket is as good as none.
  redis.call('PEXPIRE', KEYS[i], math.ceil(reset_us(i, left) / 1000) + 1)
end

local function places_left(i)
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  return amount(i) - redis.call('ZCARD', KEYS[i])
end

local function occupy(i)
  redis.call('ZADD', KEYS[i], now + lease_us, lease)
  redis.call('PEXPIRE', KEYS[i], math.ceil(lease_us / 1000) + 1)
end

local function wait_us(i)
  if measure(i) == 'concurrent' then
    if places_left(i) > 0 then return 0 end
    return -1
  end
  local missing = 1 - level(i)
  if missing <= ROUNDING then return 0 end
  return math.ceil(missing * MINUTE / amount(i))
end

local function standing(i, wait)
  if measure(i) == 'concurrent' then return places_left(i), 0, wait end
  local left = level(i)
  return math.floor(left + ROUNDING), reset_us(i, left), wait
end

local function answer(waits)
  local said = {}
  for i = 1, #KEYS do
    for _, number in ipairs({standing(i, waits[i])}) do said[#said + 1] = number end
  end
  return said
end
"""

#: Take from every limit, or from none.
TAKE = (
    _COMMON
    + """
local waits, granted = {}, true
for i = 1, #KEYS do
  waits[i] = wait_us(i)
  granted = granted and waits[i] == 0
end
if granted then
  for i = 1, #KEYS do
    if measure(i) == 'concurrent' then occupy(i) end
    if measure(i) == 'requests' then draw(i, 1) end
  end
end
return answer(waits)
"""
)

#: Give places back, and charge tokens.
SETTLE = (
    _COMMON
    + """
local waits = {}
for i = 1, #KEYS do
  waits[i] = 0
  if measure(i) == 'concurrent' then redis.call('ZREM', KEYS[i], lease) end
  if measure(i) == 'tokens' and tokens > 0 then draw(i, tokens) end
end
return answer(waits)
"""
)

#: Begin a lease anew where its place is still taken.
RENEW = (
    _COMMON
    + """
for i = 1, #KEYS do
  if redis.call('ZSCORE', KEYS[i], lease) then occupy(i) end
end
return {}
"""
)
