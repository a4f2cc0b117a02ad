/** The scripts by which a limiter looks after Redis, once a second: none of them is asked for by a call. */
import { CHANGED_MS, SINCE_MS, UNBROKEN_LUA, WINDOW_LUA } from "./redis-script-parts.ts";

/** How long a router that does not look counts as there, ms: longer than most outages, after which not all look at once. */
const PRESENT_MS = 10_000;

/**
 * KEYS: since when Redis has lost nothing; the routers; the limits that calls have changed. ARGV: the router that looks, from when on it wants to hear of
 * limits, ms, and of how many at most, but for those of that millisecond, of which it hears of all where they are more. Returns the time and since when nothing was lost, µs, which is remembered for another while; the names of the
 * routers; and of limits that have changed since then the earliest, each with its time in ms behind it.
 */
export const LOOK = {
	name: "routerLookLimits",
	lua: `${WINDOW_LUA}${UNBROKEN_LUA}
local since = sinceOf(KEYS[1])
redis.call('PEXPIRE', KEYS[1], ${SINCE_MS})
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ${PRESENT_MS}, ARGV[1])
redis.call('PEXPIRE', KEYS[2], ${PRESENT_MS})
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - ${CHANGED_MS})
local changed = redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
-- What is put back at once has one time: the first of it would be all that is ever heard.
if #changed > 0 and changed[#changed] == ARGV[2] then changed = redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[2], ARGV[2], 'WITHSCORES') end
return { micros, since, redis.call('ZRANGE', KEYS[2], 0, -1), changed }`,
};

/** KEYS: the routers. ARGV: the one that leaves. */
export const LEAVE = {
	name: "routerLeaveLimits",
	lua: `return redis.call('ZREM', KEYS[1], ARGV[1])`,
};

/** KEYS: windows, and calls at once. ARGV: of each its unit (as for `TAKE`), and its length in ms. Returns what all routers have taken of each. */
export const TOTALS = {
	name: "routerLimitTotals",
	lua: `${WINDOW_LUA}
local totals = {}
for index, key in ipairs(KEYS) do
	if ARGV[2 * index - 1] == 'c' then
		redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
		totals[index] = redis.call('ZCARD', key)
	else
		totals[index] = advance(key, tonumber(ARGV[2 * index]))
	end
end
return totals`,
};
