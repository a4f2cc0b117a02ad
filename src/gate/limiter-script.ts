/**
 * The limiter inside Redis: what is kept, and the scripts that change it. One call is one script, so nobody comes in between.
 *
 * A window is kept in 240 steps: bounded memory however many calls come, and a step is let go only when the last moment in it
 * has left the window. So no window of that length ever holds more than the limit, and what is freed is freed 0.42 % of the
 * window late at most. The clock is Redis's: those of the replicas may differ.
 *
 * - requests, tokens: a hash with `s`, the sum; `o` and `n`, the oldest and the newest step; and a field a step
 * - concurrency: a sorted set of reservations by when they lapse
 */

/** Steps a window is kept in. */
export const STEPS = 240;
/** How long a reservation of concurrency lasts that is not renewed, ms: those of a router that died are free then. */
export const LEASE_MS = 30_000;
/** When a place at once may be free nobody knows; asking again after so long costs little, ms. */
const ASK_AGAIN_MS = 1_000;

/** What all scripts share: the clock, and a window brought up to date. */
const WINDOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function stepOf(at, window) return math.floor(at * ${STEPS} / window) end
local function endOf(step, window) return (step + 1) * window / ${STEPS} end
-- Lets go of the steps that have left the window. Returns sum, oldest and newest step.
local function advance(key, window)
	local kept = redis.call('HMGET', key, 's', 'o', 'n')
	local current = stepOf(now, window)
	if not kept[1] then return 0, current, current end
	local sum, oldest, newest = tonumber(kept[1]), tonumber(kept[2]), tonumber(kept[3])
	local from = oldest
	while oldest <= newest and endOf(oldest, window) + window <= now do
		local amount = redis.call('HGET', key, oldest)
		if amount then
			sum = sum - tonumber(amount)
			redis.call('HDEL', key, oldest)
		end
		oldest = oldest + 1
	end
	if oldest > newest then
		redis.call('DEL', key)
		return 0, current, current
	end
	if oldest > from then redis.call('HSET', key, 's', sum, 'o', oldest) end
	return sum, oldest, newest
end
`;

/**
 * KEYS: one a bound. ARGV: the reservation, then of each bound what it counts (`r`, `t`, `c`), limit, window in ms, amount.
 * Returns whether it was taken (1 or 0), the time, the refused bound's number and its wait in ms (-1: for ever), then of each bound
 * what is left and when all is there again in ms.
 */
export const TAKE = {
	name: "routerTake",
	lua: `${WINDOW}
local answer = { 1, now, -1, 0 }
local states = {}
for index, key in ipairs(KEYS) do
	local at = 2 + (index - 1) * 4
	local counts, limit, window, amount = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
	local sum, oldest, newest, wait = 0, 0, 0, nil
	if counts == 'c' then
		redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
		sum = redis.call('ZCARD', key)
		if sum + amount > limit then wait = ${ASK_AGAIN_MS} end
	else
		sum, oldest, newest = advance(key, window)
		if amount > limit then
			wait = -1
		elseif sum + amount > limit then
			local freed, step = 0, oldest
			while step <= newest do
				freed = freed + tonumber(redis.call('HGET', key, step) or '0')
				if sum - freed + amount <= limit then break end
				step = step + 1
			end
			wait = math.ceil(endOf(step, window) + window - now)
		end
	end
	if wait and answer[4] ~= -1 and (wait == -1 or wait > answer[4] or answer[1] == 1) then
		answer[1], answer[3], answer[4] = 0, index - 1, wait
	end
	states[index] = { sum, oldest, newest }
end
for index, key in ipairs(KEYS) do
	local at = 2 + (index - 1) * 4
	local counts, limit, window, amount = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
	local sum, oldest, newest = states[index][1], states[index][2], states[index][3]
	if answer[1] == 1 then
		if counts == 'c' then
			redis.call('ZADD', key, now + ${LEASE_MS}, ARGV[1])
			redis.call('PEXPIRE', key, ${LEASE_MS})
		else
			newest = stepOf(now, window)
			redis.call('HINCRBY', key, newest, amount)
			redis.call('HSET', key, 's', sum + amount, 'o', oldest, 'n', newest)
			redis.call('PEXPIRE', key, math.ceil(window + 2 * window / ${STEPS}))
		end
		sum = sum + amount
	end
	local reset = 0
	if counts ~= 'c' and sum > 0 then reset = math.ceil(endOf(newest, window) + window - now) end
	answer[#answer + 1] = math.max(0, limit - sum)
	answer[#answer + 1] = reset
end
return answer`,
};

/**
 * KEYS: one a bound. ARGV: the reservation, when it was taken, then of each bound what it counts, window, and what is to be added
 * to what was taken (a negative number takes back; of concurrency any number frees the place).
 */
export const SETTLE = {
	name: "routerSettle",
	lua: `${WINDOW}
local taken = tonumber(ARGV[2])
for index, key in ipairs(KEYS) do
	local at = 3 + (index - 1) * 3
	local counts, window, delta = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
	if counts == 'c' then
		redis.call('ZREM', key, ARGV[1])
	else
		local sum, oldest = advance(key, window)
		local step = stepOf(taken, window)
		-- What has left the window, or was flushed, is settled already.
		if redis.call('HEXISTS', key, step) == 1 and step >= oldest then
			redis.call('HINCRBY', key, step, delta)
			redis.call('HSET', key, 's', sum + delta)
		end
	end
end
return 1`,
};

/** KEYS: of concurrency. ARGV: the reservation. Makes its places last, there where they still are. */
export const RENEW = {
	name: "routerRenewPlaces",
	lua: `${WINDOW}
for _, key in ipairs(KEYS) do
	if redis.call('ZADD', key, 'XX', 'CH', now + ${LEASE_MS}, ARGV[1]) == 1 then redis.call('PEXPIRE', key, ${LEASE_MS}) end
end
return 1`,
};
