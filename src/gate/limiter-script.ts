/**
 * The limiter inside Redis: what is kept, and the scripts that change it. One call is one script, so nobody comes in between.
 *
 * A window is kept in 240 steps: bounded memory however many calls come, and a step is let go only when the last moment in it
 * has left the window. So no window of that length ever holds more than the limit, and what is freed is freed 0.42 % of the
 * window late at most. The clock is Redis's: those of the replicas may differ.
 *
 * - requests, tokens: a hash with `s`, the sum; `o` and `n`, the oldest and the newest step; and a field a step
 * - concurrency: a sorted set of reservations by when they lapse
 * - usd: what each replica has spent in a period, a hash with `s`, the sum, and a field a replica, whose number only grows, so that to be
 *   told it twice, late or never does no harm; of a key, a sorted set of reservations as `id amount` by when they lapse, and their sum
 */

/** Steps a window is kept in. */
export const STEPS = 240;
/** How long a reservation of concurrency or of a budget lasts that is not renewed, ms: those of a router that died are free then. */
export const LEASE_MS = 30_000;
/** When a place at once, or a part of a budget, may be free nobody knows; asking again after so long costs little, ms. */
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

/** What is spent and reserved of budgets, in whole billionths of a USD. */
const BUDGET = `
local function whole(number) return string.format('%.0f', number) end
-- What is reserved by calls under way; those of routers that died are let go.
local function heldOf(heldKey, sumKey)
	local lapsed = redis.call('ZRANGEBYSCORE', heldKey, '-inf', now)
	local sum = tonumber(redis.call('GET', sumKey) or '0')
	if #lapsed > 0 then
		for _, member in ipairs(lapsed) do sum = sum - tonumber(string.match(member, '%d+$')) end
		redis.call('ZREMRANGEBYSCORE', heldKey, '-inf', now)
		redis.call('SET', sumKey, whole(sum), 'KEEPTTL')
	end
	if redis.call('ZCARD', heldKey) == 0 then return 0 end
	return sum
end
-- Takes down what a replica has spent. Returns what all have.
local function spentOf(key, replica, own, ttl)
	local kept = redis.call('HMGET', key, 's', replica)
	local sum, before = tonumber(kept[1] or '0'), tonumber(kept[2] or '0')
	if own <= before then return sum end
	sum = sum + own - before
	redis.call('HSET', key, 's', whole(sum), replica, whole(own))
	redis.call('PEXPIRE', key, ttl)
	return sum
end
`;

/**
 * KEYS: one a bound, then of each budget its reservations and their sum. ARGV: the reservation, the replica and how long its spending is
 * kept in ms, then of each bound what it counts (`r`, `t`, `c`, `b`), limit, window in ms, amount, and what of that is certain (a guess
 * that does not fit is left out, unless another call with one is under way: the next bound holds their places; -1 where there is none). Of a budget, instead of the window what all replicas have spent as this one has
 * heard, and last what it has spent itself.
 * Returns whether it was taken (1 or 0), the time, the refused bound's number and its wait in ms (-1: for ever), then of each bound
 * what is left, when all is there again in ms, and what was taken.
 */
export const TAKE = {
	name: "routerTake",
	lua: `${WINDOW}${BUDGET}
local count = (#ARGV - 3) / 5
local further = count
local answer = { 1, now, -1, 0 }
local states = {}
for index = 1, count do
	local key, at = KEYS[index], 4 + (index - 1) * 5
	local counts, limit, window, amount = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
	local last = tonumber(ARGV[at + 4])
	local sum, oldest, newest, wait = 0, 0, 0, nil
	if counts == 'b' then
		local heldKey, sumKey = KEYS[further + 1], KEYS[further + 2]
		further = further + 2
		local spent = math.max(window, spentOf(key, ARGV[2], last, ARGV[3]))
		local held = heldOf(heldKey, sumKey)
		if spent >= limit then
			wait = -1
		elseif spent + held + amount > limit and redis.call('ZCARD', heldKey) > 0 then
			wait = ${ASK_AGAIN_MS}
		end
		sum, oldest, newest = spent + held, heldKey, sumKey
	elseif counts == 'c' then
		redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
		sum = redis.call('ZCARD', key)
		if sum + amount > limit then wait = ${ASK_AGAIN_MS} end
	else
		sum, oldest, newest = advance(key, window)
		if last >= 0 and sum + amount > limit then
			redis.call('ZREMRANGEBYSCORE', KEYS[index + 1], '-inf', now)
			if redis.call('ZCARD', KEYS[index + 1]) == 0 then amount = last end
		end
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
	states[index] = { sum, oldest, newest, amount }
end
for index = 1, count do
	local key, at = KEYS[index], 4 + (index - 1) * 5
	local counts, limit, window = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
	local sum, oldest, newest, amount = unpack(states[index])
	if answer[1] == 1 then
		if counts == 'b' then
			local held = redis.call('ZCARD', oldest) == 0 and 0 or tonumber(redis.call('GET', newest) or '0')
			redis.call('ZADD', oldest, now + ${LEASE_MS}, ARGV[1] .. ' ' .. whole(amount))
			redis.call('SET', newest, whole(held + amount), 'PX', ${LEASE_MS})
			redis.call('PEXPIRE', oldest, ${LEASE_MS})
		elseif counts == 'c' then
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
	if counts ~= 'c' and counts ~= 'b' and sum > 0 then reset = math.ceil(endOf(newest, window) + window - now) end
	answer[#answer + 1] = math.max(0, limit - sum)
	answer[#answer + 1] = reset
	answer[#answer + 1] = amount
end
return answer`,
};

/**
 * KEYS: one a bound, then of each budget its reservations and their sum. ARGV: the reservation, when it was taken, the replica and how
 * long its spending is kept in ms, then of each bound what it counts, window, and what is to be added to what was taken (a negative
 * number takes back; of concurrency any number frees the place). Of a budget, instead of the window what this replica has spent, and
 * what was reserved.
 */
export const SETTLE = {
	name: "routerSettle",
	lua: `${WINDOW}${BUDGET}
local taken = tonumber(ARGV[2])
local count = (#ARGV - 4) / 3
local further = count
for index = 1, count do
	local key, at = KEYS[index], 5 + (index - 1) * 3
	local counts, window, delta = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
	if counts == 'b' then
		local heldKey, sumKey = KEYS[further + 1], KEYS[further + 2]
		further = further + 2
		spentOf(key, ARGV[3], window, ARGV[4])
		local held = heldOf(heldKey, sumKey)
		if redis.call('ZREM', heldKey, ARGV[1] .. ' ' .. whole(delta)) == 1 then
			redis.call('SET', sumKey, whole(held - delta), 'KEEPTTL')
		end
	elseif counts == 'c' then
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

/**
 * KEYS: sorted sets of reservations, and sums of those of budgets. ARGV: of each the reservation as it stands there, or nothing. Makes
 * them last, there where they still are.
 */
export const RENEW = {
	name: "routerRenewPlaces",
	lua: `${WINDOW}
for index, key in ipairs(KEYS) do
	if ARGV[index] == '' then
		redis.call('PEXPIRE', key, ${LEASE_MS})
	elseif redis.call('ZADD', key, 'XX', 'CH', now + ${LEASE_MS}, ARGV[index]) == 1 then
		redis.call('PEXPIRE', key, ${LEASE_MS})
	end
end
return 1`,
};
