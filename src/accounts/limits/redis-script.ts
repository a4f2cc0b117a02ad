/** The limiter inside Redis: the scripts that change what it keeps (`redis-script-parts.ts`). One call is one script, so nobody comes in between. */
import {
	ASK_AGAIN_MS,
	BUDGET_LUA,
	CHANGED_LUA,
	LEASE_MS,
	LEASES_LUA,
	ROOM_LUA,
	STEPS,
	UNBROKEN_LUA,
	WINDOW_LUA,
} from "./redis-script-parts.ts";

/**
 * KEYS: one a limit, then of each budget its reservations and their sum, then, where the router has several workers, the worker's list of
 * where it has leases; last, since when Redis has lost nothing, and what has changed. ARGV: the reservation, the replica and how long its spending is kept in ms, then of each limit its unit, its most,
 * and three more:
 *
 * - `r`, `t`, `s` (requests, tokens, spend): its window in ms, the amount, and what of that is certain; -1 where all of it is. A guess that does not
 *   fit is left out, unless another call with a guess is under way: the limit behind it, a `g`, holds their leases
 * - `c` (concurrency), `g` (calls with a guess, without a limit): nothing, 1, nothing
 * - `b` (a budget): what all replicas have spent as this one has heard, the amount, and what this one has spent itself
 *
 * Returns whether it was taken (1 or 0), the time (µs), the refused limit's number and its wait in ms (-1: for ever), since when Redis has lost
 * nothing (µs), then of each limit what is left, when all is there again in ms, and what was taken.
 */
export const TAKE = {
	name: "routerTake",
	lua: `${WINDOW_LUA}${ROOM_LUA}${BUDGET_LUA}${LEASES_LUA}${UNBROKEN_LUA}${CHANGED_LUA}
local count = (#ARGV - 3) / 5
local further = count
local answer = { 1, micros, -1, 0, sinceOf(KEYS[#KEYS - 1]) }
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
		state.sum, state.oldest, state.newest, state.isNew = advance(key, window)
		if certain >= 0 and state.sum + amount > limit then
			redis.call('ZREMRANGEBYSCORE', KEYS[index + 1], '-inf', now)
			isBeside = redis.call('ZCARD', KEYS[index + 1]) > 0
			if not isBeside then amount = certain end
		end
		wait = waitOf(key, state.sum, state.oldest, state.newest, window, limit, amount)
		if isBeside then
			-- What is certain is let in once the others are over, which may be at any moment. What they may cost is not spent.
			local alone = waitOf(key, state.sum, state.oldest, state.newest, window, limit, certain)
			if counts == 's' then
				wait = ${ASK_AGAIN_MS}
			elseif alone ~= -1 then
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
local list = KEYS[further + 3] and KEYS[further + 1]
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
			if counts == 'c' then noteChange(key) end
		else
			local window = tonumber(ARGV[at + 2])
			state.newest = stepOf(now, window)
			if state.isNew then redis.call('HSET', key, 'b', whole(answer[5])) end
			redis.call('HINCRBY', key, state.newest, amount)
			redis.call('HSET', key, 's', sum + amount, 'o', state.oldest, 'n', state.newest)
			redis.call('PEXPIRE', key, math.ceil(window + 2 * window / ${STEPS}))
			noteChange(key)
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
tellChanges(KEYS[#KEYS])
return answer`,
};

/**
 * KEYS: one a limit, then of each budget its reservations and their sum; last, what has changed. ARGV: the reservation, when it was taken, the replica and how
 * long its spending is kept in ms, then of each limit its unit (as for `TAKE`), and two more:
 *
 * - `r`, `t`, `s`: its window in ms, and what is to be added to what was taken; a negative number takes back
 * - `c`, `g`: nothing, nothing: the lease ends
 * - `b`: what this replica has spent, and what was reserved
 */
export const SETTLE = {
	name: "routerSettle",
	lua: `${WINDOW_LUA}${BUDGET_LUA}${CHANGED_LUA}
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
		if counts == 'c' then noteChange(key) end
	else
		local window, delta = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
		local sum, oldest = advance(key, window)
		local step = stepOf(taken, window)
		-- What has left the window, or was flushed, is settled already.
		if redis.call('HEXISTS', key, step) == 1 and step >= oldest then
			redis.call('HINCRBY', key, step, delta)
			redis.call('HSET', key, 's', sum + delta)
			noteChange(key)
		end
	end
end
tellChanges(KEYS[#KEYS])
return 1`,
};

/**
 * KEYS: sorted sets of reservations, and sums of those of budgets; the worker's list, as for `TAKE`. ARGV: 1 where Redis has lost them, 0
 * otherwise; then of each but the list the reservation as it stands there, or nothing. Makes them last, there where they still are; those
 * that Redis has lost are put back.
 */
export const RENEW = {
	name: "routerRenewLeases",
	lua: `${WINDOW_LUA}${BUDGET_LUA}${LEASES_LUA}
local isLost = ARGV[1] == '1'
local list = KEYS[#ARGV]
for index = 1, #ARGV - 1 do
	local key, member = KEYS[index], ARGV[index + 1]
	if member == '' then
		redis.call('PEXPIRE', key, ${LEASE_MS})
	elseif isLost then
		if redis.call('ZADD', key, 'NX', now + ${LEASE_MS}, member) == 1 then
			redis.call('PEXPIRE', key, ${LEASE_MS})
			noteLease(list, key)
			if ARGV[index + 2] == '' then
				local sum = tonumber(redis.call('GET', KEYS[index + 1]) or '0') + tonumber(string.match(member, '%d+$'))
				redis.call('SET', KEYS[index + 1], whole(sum), 'PX', ${LEASE_MS})
			end
		end
	elseif redis.call('ZADD', key, 'XX', 'CH', now + ${LEASE_MS}, member) == 1 then
		redis.call('PEXPIRE', key, ${LEASE_MS})
		noteLease(list, key)
	end
end
return 1`,
};

/**
 * KEYS: windows; last, since when Redis has lost nothing, and what has changed. ARGV: who puts back what Redis has lost, or nothing; then of each window its length in ms, and how many steps of it follow:
 * a moment of it, ms, and how much. Adds that to what is counted there. What Redis has lost each router puts back once,
 * and only in windows that were begun since: one that was begun before was not lost.
 */
export const COUNT = {
	name: "routerCount",
	lua: `${WINDOW_LUA}${UNBROKEN_LUA}${CHANGED_LUA}
local since = string.format('%.0f', sinceOf(KEYS[#KEYS - 1]))
local function lacks(key)
	local begun = redis.call('HGET', key, 'b')
	return (not begun or begun == since) and redis.call('HSETNX', key, ARGV[1], 1) == 1
end
local at = 2
for index = 1, #KEYS - 2 do
	local key = KEYS[index]
	local window, steps = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
	at = at + 2
	local sum, oldest, newest, isNew = advance(key, window)
	if isNew and steps > 0 then redis.call('HSET', key, 'b', since) end
	if steps > 0 and (ARGV[1] == '' or lacks(key)) then
		for from = at, at + 2 * steps - 1, 2 do
			local step, amount = stepOf(math.min(now, tonumber(ARGV[from])), window), tonumber(ARGV[from + 1])
			if endOf(step, window) + window > now then
				redis.call('HINCRBY', key, step, amount)
				sum = sum + amount
				oldest, newest = math.min(oldest, step), math.max(newest, step)
			end
		end
		redis.call('HSET', key, 's', sum, 'o', oldest, 'n', newest)
		redis.call('PEXPIRE', key, math.ceil(window + 2 * window / ${STEPS}))
		noteChange(key)
	end
	at = at + 2 * steps
end
tellChanges(KEYS[#KEYS])
return 1`,
};

/**
 * KEYS: of each limit the sorted set of its reservations, and their sum, or the set once more where they have none. ARGV: how the
 * reservations of a worker begin that has died. Gives them back.
 */
export const FREE = {
	name: "routerFreeLeases",
	lua: `${WINDOW_LUA}${BUDGET_LUA}
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
