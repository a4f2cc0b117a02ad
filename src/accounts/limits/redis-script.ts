/**
 * The limiter inside Redis: what is kept, and the scripts that change it. One call is one script, so nobody comes in between.
 *
 * A window is kept in 240 steps: bounded memory however many calls come, and a step is let go only when the last moment in it
 * has left the window. So no window of that length ever holds more than the limit, and what is freed is freed 0.42 % of the
 * window late at most. The clock is Redis's: those of the replicas may differ.
 *
 * - requests, tokens: a hash with `s`, the sum; `o` and `n`, the oldest and the newest step; and a field a step
 * - concurrency, and of tokens the calls with a guess: a sorted set of reservations by when they lapse
 * - usd: what each replica has spent in a period, a hash with `s`, the sum, and a field a replica, whose number only grows, so that to be
 *   sent twice, late or never does no harm; of a key, a sorted set of reservations as `id amount` by when they lapse, and their sum
 */

/** Steps a window is kept in. */
export const STEPS = 240;
/** How long a reservation of concurrency or of a budget lasts that is not renewed, ms: those of a router that died are free then. */
export const LEASE_MS = 30_000;
/** When a call under way will be over nobody knows; asking again after so long costs little, ms. */
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

/** When a window will have room. */
const ROOM = `
-- In ms: nil where there is, -1 where there never will be.
local function waitOf(key, sum, oldest, newest, window, limit, amount)
	if amount > limit then return -1 end
	if sum + amount <= limit then return nil end
	local freed, step = 0, oldest
	while step <= newest do
		freed = freed + tonumber(redis.call('HGET', key, step) or '0')
		if sum - freed + amount <= limit then break end
		step = step + 1
	end
	return math.ceil(endOf(step, window) + window - now)
end
`;

/** The list of where a worker has leases, as long as they last. */
const LEASES = `
local function noteLease(list, key)
	if not list then return end
	redis.call('ZADD', list, now + ${LEASE_MS}, key)
	redis.call('PEXPIRE', list, ${LEASE_MS})
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
 * KEYS: one a limit, then of each budget its reservations and their sum, then, where the router has several workers, the worker's list of
 * where it has leases. ARGV: the reservation, the replica and how long its spending is kept in ms, then of each limit its unit, its most,
 * and three more:
 *
 * - `r`, `t` (requests, tokens): its window in ms, the amount, and what of that is certain; -1 where all of it is. A guess that does not
 *   fit is left out, unless another call with a guess is under way: the limit behind it, a `g`, holds their leases
 * - `c` (concurrency), `g` (calls with a guess, without a limit): nothing, 1, nothing
 * - `b` (a budget): what all replicas have spent as this one has heard, the amount, and what this one has spent itself
 *
 * Returns whether it was taken (1 or 0), the time, the refused limit's number and its wait in ms (-1: for ever), then of each limit
 * what is left, when all is there again in ms, and what was taken.
 */
export const TAKE = {
	name: "routerTake",
	lua: `${WINDOW}${ROOM}${BUDGET}${LEASES}
local count = (#ARGV - 3) / 5
local further = count
local answer = { 1, now, -1, 0 }
local states = {}
for index = 1, count do
	local key, at = KEYS[index], 4 + (index - 1) * 5
	local counts, limit, amount = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3])
	local state, wait = {}, nil
	if counts == 'b' then
		local heard, own = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 4])
		state.heldKey, state.sumKey = KEYS[further + 1], KEYS[further + 2]
		further = further + 2
		local spent = math.max(heard, spentOf(key, ARGV[2], own, ARGV[3]))
		state.held = heldOf(state.heldKey, state.sumKey)
		state.sum = spent + state.held
		if spent >= limit then
			wait = -1
		elseif state.sum + amount > limit and redis.call('ZCARD', state.heldKey) > 0 then
			wait = ${ASK_AGAIN_MS}
		end
	elseif counts == 'c' or counts == 'g' then
		redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
		state.sum = redis.call('ZCARD', key)
		if counts == 'c' and state.sum + amount > limit then wait = ${ASK_AGAIN_MS} end
	else
		local window, certain = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 4])
		local isBeside = false
		state.sum, state.oldest, state.newest = advance(key, window)
		if certain >= 0 and state.sum + amount > limit then
			redis.call('ZREMRANGEBYSCORE', KEYS[index + 1], '-inf', now)
			isBeside = redis.call('ZCARD', KEYS[index + 1]) > 0
			if not isBeside then amount = certain end
		end
		wait = waitOf(key, state.sum, state.oldest, state.newest, window, limit, amount)
		if isBeside then
			-- What is certain is let in once the others are over, which may be at any moment.
			local alone = waitOf(key, state.sum, state.oldest, state.newest, window, limit, certain)
			if alone ~= -1 then
				alone = math.max(alone or 0, ${ASK_AGAIN_MS})
				if wait == -1 or alone < wait then wait = alone end
			end
		end
	end
	if wait and answer[4] ~= -1 and (wait == -1 or wait > answer[4] or answer[1] == 1) then
		answer[1], answer[3], answer[4] = 0, index - 1, wait
	end
	state.amount = amount
	states[index] = state
end
local list = KEYS[further + 1]
if list then redis.call('ZREMRANGEBYSCORE', list, '-inf', now) end
for index = 1, count do
	local key, at = KEYS[index], 4 + (index - 1) * 5
	local counts, limit, state = ARGV[at], tonumber(ARGV[at + 1]), states[index]
	local sum, amount, reset = state.sum, state.amount, 0
	if answer[1] == 1 then
		if counts == 'b' then
			redis.call('ZADD', state.heldKey, now + ${LEASE_MS}, ARGV[1] .. ' ' .. whole(amount))
			redis.call('SET', state.sumKey, whole(state.held + amount), 'PX', ${LEASE_MS})
			redis.call('PEXPIRE', state.heldKey, ${LEASE_MS})
			noteLease(list, state.heldKey)
		elseif counts == 'c' or counts == 'g' then
			redis.call('ZADD', key, now + ${LEASE_MS}, ARGV[1])
			redis.call('PEXPIRE', key, ${LEASE_MS})
			noteLease(list, key)
		else
			local window = tonumber(ARGV[at + 2])
			state.newest = stepOf(now, window)
			redis.call('HINCRBY', key, state.newest, amount)
			redis.call('HSET', key, 's', sum + amount, 'o', state.oldest, 'n', state.newest)
			redis.call('PEXPIRE', key, math.ceil(window + 2 * window / ${STEPS}))
		end
		sum = sum + amount
	end
	if state.newest and sum > 0 then
		local window = tonumber(ARGV[at + 2])
		reset = math.ceil(endOf(state.newest, window) + window - now)
	end
	answer[#answer + 1] = math.max(0, limit - sum)
	answer[#answer + 1] = reset
	answer[#answer + 1] = amount
end
return answer`,
};

/**
 * KEYS: one a limit, then of each budget its reservations and their sum. ARGV: the reservation, when it was taken, the replica and how
 * long its spending is kept in ms, then of each limit its unit (as for `TAKE`), and two more:
 *
 * - `r`, `t`: its window in ms, and what is to be added to what was taken; a negative number takes back
 * - `c`, `g`: nothing, nothing: the lease ends
 * - `b`: what this replica has spent, and what was reserved
 */
export const SETTLE = {
	name: "routerSettle",
	lua: `${WINDOW}${BUDGET}
local taken = tonumber(ARGV[2])
local count = (#ARGV - 4) / 3
local further = count
for index = 1, count do
	local key, at = KEYS[index], 5 + (index - 1) * 3
	local counts = ARGV[at]
	if counts == 'b' then
		local own, reserved = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
		local heldKey, sumKey = KEYS[further + 1], KEYS[further + 2]
		further = further + 2
		spentOf(key, ARGV[3], own, ARGV[4])
		local held = heldOf(heldKey, sumKey)
		if redis.call('ZREM', heldKey, ARGV[1] .. ' ' .. whole(reserved)) == 1 then
			redis.call('SET', sumKey, whole(held - reserved), 'KEEPTTL')
		end
	elseif counts == 'c' or counts == 'g' then
		redis.call('ZREM', key, ARGV[1])
	else
		local window, delta = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
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
 * KEYS: sorted sets of reservations, and sums of those of budgets; the worker's list, as for `TAKE`. ARGV: of each but that the reservation
 * as it stands there, or nothing. Makes them last, there where they still are.
 */
export const RENEW = {
	name: "routerRenewLeases",
	lua: `${WINDOW}${LEASES}
local list = KEYS[#ARGV + 1]
for index, member in ipairs(ARGV) do
	local key = KEYS[index]
	if member == '' then
		redis.call('PEXPIRE', key, ${LEASE_MS})
	elseif redis.call('ZADD', key, 'XX', 'CH', now + ${LEASE_MS}, member) == 1 then
		redis.call('PEXPIRE', key, ${LEASE_MS})
		noteLease(list, key)
	end
end
return 1`,
};

/**
 * KEYS: of each limit the sorted set of its reservations, and their sum, or the set once more where they have none. ARGV: how the
 * reservations of a worker begin that has died. Gives them back.
 */
export const FREE = {
	name: "routerFreeLeases",
	lua: `${WINDOW}${BUDGET}
for index = 1, #KEYS, 2 do
	local set, sumKey = KEYS[index], KEYS[index + 1]
	local freed = 0
	for _, member in ipairs(redis.call('ZRANGE', set, 0, -1)) do
		if string.sub(member, 1, #ARGV[1]) == ARGV[1] and redis.call('ZREM', set, member) == 1 and sumKey ~= set then
			freed = freed + tonumber(string.match(member, '%d+$'))
		end
	end
	if freed > 0 then
		redis.call('SET', sumKey, whole(tonumber(redis.call('GET', sumKey) or '0') - freed), 'KEEPTTL')
	end
end
return 1`,
};
