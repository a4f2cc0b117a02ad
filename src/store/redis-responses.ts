/** Stored responses in a Redis, so that each of its routers reaches them. */
import type { SharedRedis } from "./redis.ts";
import type { ResponseName, ResponseRow } from "./response-table.ts";

/** Stored responses that routers share. Each method answers within its deadline, and never rejects. Times are Unix times, ms. */
export interface SharedResponses {
	/** The value of a response that was used since `since`; undefined where there is none, or Redis can't be asked. */
	get(name: ResponseName, since: number): Promise<Uint8Array | undefined>;
	/** Stores a response. Whether it is there. */
	put(row: ResponseRow, bounds: ResponseBounds): Promise<boolean>;
	/** Marks responses as used. @param keepMs as in `ResponseBounds` */
	use(names: readonly ResponseName[], now: number, keepMs: number): Promise<void>;
	/** Whether there was one; undefined where Redis can't be asked. */
	remove(name: ResponseName): Promise<boolean | undefined>;
	/** Deletes all of these keys. Whether it came to its end. */
	removeOf(keys: ReadonlySet<string>): Promise<boolean>;
}

/** How long responses are stored, and how much room they have. */
export interface ResponseBounds {
	readonly now: number;
	/** ms since the last use */
	readonly keepMs: number;
	readonly bytes: number;
}

/** Larger values are not sent to Redis, bytes: to move one takes longer than a command may take. */
const LARGEST_SHARED = 1024 * 1024;
/** So many are looked at by one command, where those of a key are sought. */
const SCANNED = 500;

/** KEYS: values, times of use, bytes. ARGV: field, since. */
const GET = {
	name: "routerGetResponse",
	lua: `
local used = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not used or tonumber(used) < tonumber(ARGV[2]) then return false end
return redis.call('HGET', KEYS[1], ARGV[1])`,
};

/** ARGV: field, value, now, time to live in ms, bytes. Deletes what has lapsed, and the longest unused where there is no room. */
const PUT = {
	name: "routerPutResponse",
	lua: `
local before = redis.call('HSTRLEN', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
local size = redis.call('INCRBY', KEYS[3], #ARGV[2] - before)
local function drop(field)
	size = redis.call('DECRBY', KEYS[3], redis.call('HSTRLEN', KEYS[1], field))
	redis.call('HDEL', KEYS[1], field)
	redis.call('ZREM', KEYS[2], field)
end
local lapsed = string.format('(%.0f', tonumber(ARGV[3]) - tonumber(ARGV[4]))
for _, field in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', lapsed, 'LIMIT', 0, 100)) do drop(field) end
for _ = 1, 1000 do
	if size <= tonumber(ARGV[5]) then break end
	local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)
	if #oldest == 0 then break end
	drop(oldest[1])
end
for at = 1, 3 do redis.call('PEXPIRE', KEYS[at], ARGV[4]) end
return 1`,
};

/** ARGV: now, time to live in ms, then fields. */
const USE = {
	name: "routerUseResponses",
	lua: `
for at = 3, #ARGV do redis.call('ZADD', KEYS[2], 'XX', ARGV[1], ARGV[at]) end
for at = 1, 3 do redis.call('PEXPIRE', KEYS[at], ARGV[2]) end
return 1`,
};

/** ARGV: field. */
const REMOVE = {
	name: "routerRemoveResponse",
	lua: `
local size = redis.call('HSTRLEN', KEYS[1], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DECRBY', KEYS[3], size)
return 1`,
};

/** Ids hold no space. */
const fieldOf = ({ key, id }: ResponseName): string => `${id} ${key}`;

/** The responses in a Redis. */
export function redisResponses(redis: SharedRedis): SharedResponses {
	// One slot for all: the braces are the hash tag.
	const keys = ["values", "used", "bytes"].map((name) => redis.key(`{responses}:${name}`));
	return {
		async get(name, since) {
			const found = await redis.scriptBuffer(GET, keys, [fieldOf(name), since]);
			return found instanceof Uint8Array ? found : undefined;
		},
		async put(row, { now, keepMs, bytes }) {
			if (row.value.length > LARGEST_SHARED) return false;
			// Of another kind of bytes the client would send the text.
			const args = [fieldOf(row), Buffer.from(row.value), now, Math.ceil(keepMs), bytes];
			return (await redis.script(PUT, keys, args)) === 1;
		},
		async use(names, now, keepMs) {
			if (names.length > 0) await redis.script(USE, keys, [now, Math.ceil(keepMs), ...names.map(fieldOf)]);
		},
		async remove(name) {
			const removed = await redis.script(REMOVE, keys, [fieldOf(name)]);
			return removed === undefined ? undefined : removed === 1;
		},
		async removeOf(owners) {
			let cursor = "0";
			do {
				const page = await redis.run((client) => client.zscan(keys[1]!, cursor, "COUNT", SCANNED));
				if (!page) return false;
				// Each field stands before its time.
				for (const field of page[1].filter((_, at) => at % 2 === 0)) {
					if (!owners.has(field.slice(field.indexOf(" ") + 1))) continue;
					if ((await redis.script(REMOVE, keys, [field])) === undefined) return false;
				}
				cursor = page[0];
			} while (cursor !== "0");
			return true;
		},
	};
}
