/**
 * The limiter inside Redis: what is kept, and the functions in Lua that its scripts (`redis-script.ts`) share.
 *
 * A window is kept in 240 steps: bounded memory however many calls come, and a step is let go only when the last moment in it
 * has left the window. So no window of that length ever holds more than the limit, and what is freed is freed 0.42 % of the
 * window late at most. The clock is Redis's: those of the replicas may differ.
 *
 * - requests, tokens, spend: a hash with `s`, the sum; `o` and `n`, the oldest and the newest step; `b`, since when Redis had lost nothing as it
 *   was begun (µs); and a field a step
 * - concurrency, and of tokens and spend the calls with a guess: a sorted set of reservations by when they lapse
 * - usd: what each replica has spent in a period, a hash with `s`, the sum, and a field a replica, whose number only grows, so that to be
 *   sent twice, late or never does no harm; of a key, a sorted set of reservations as `id amount` by when they lapse, and their sum
 * - the routers that are there, a sorted set by when that lapses; and the names of windows and of concurrency by when they last changed
 */
import { LONGEST_WINDOW_MS } from "./limiter.ts";

/** Steps a window is kept in. */
export const STEPS = 240;
/** How long a reservation of concurrency or of a budget lasts that is not renewed, ms: those of a router that died are free then. */
export const LEASE_MS = 30_000;
/** When a call under way will be over nobody knows; asking again after so long costs little, ms. */
export const ASK_AGAIN_MS = 1_000;

/** How long it is remembered since when Redis has lost nothing, ms: renewed each second, and longer than any window is kept. */
export const SINCE_MS = 2 * LONGEST_WINDOW_MS;

/**
 * How long it is remembered when a limit changed last, ms: a router that begins hears of all windows of a minute. Of longer ones it hears what has
 * changed lately; while Redis answers it knows all of them.
 */
export const CHANGED_MS = 60_000;

/** What all scripts share: the clock, and a window brought up to date. */
export const WINDOW_LUA = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local micros = time[1] * 1000000 + time[2]
local function stepOf(at, window) return math.floor(at * ${STEPS} / window) end
local function endOf(step, window) return (step + 1) * window / ${STEPS} end
-- Lets go of the steps that have left the window. Returns sum, oldest and newest step, and whether nothing is kept of it.
local function advance(key, window)
	local kept = redis.call('HMGET', key, 's', 'o', 'n')
	local current = stepOf(now, window)
	if not kept[1] then return 0, current, current, true end
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
		return 0, current, current, true
	end
	if oldest > from then redis.call('HSET', key, 's', sum, 'o', oldest) end
	return sum, oldest, newest, false
end
`;

/** When a window will have room. */
export const ROOM_LUA = `
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

/** Since when Redis has lost nothing that it counted: another time than before tells who asks that it was flushed, or began anew. */
export const UNBROKEN_LUA = `
-- In microseconds.
local function sinceOf(key)
	local since = redis.call('GET', key)
	if not since then
		since = string.format('%.0f', micros)
		redis.call('SET', key, since, 'PX', ${SINCE_MS})
	end
	return tonumber(since)
end
`;

/** What has changed of limits, for routers that are not asked for them. */
export const CHANGED_LUA = `
local changes = {}
local function noteChange(key)
	changes[#changes + 1] = now
	changes[#changes + 1] = key
end
-- All at once, at the end of the script.
local function tellChanges(changed)
	if #changes == 0 then return end
	redis.call('ZADD', changed, unpack(changes))
	redis.call('PEXPIRE', changed, ${CHANGED_MS})
end
`;

/** The list of where a worker has leases, as long as they last. */
export const LEASES_LUA = `
local function noteLease(list, key)
	if not list then return end
	redis.call('ZADD', list, now + ${LEASE_MS}, key)
	redis.call('PEXPIRE', list, ${LEASE_MS})
end
`;

/** What is spent and reserved of budgets, in whole billionths of a USD. */
export const BUDGET_LUA = `
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
