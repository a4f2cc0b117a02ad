/** Limits as Redis is asked of them: what they are called there, and the leases that some hold. */
import type { SharedRedis } from "../../store/redis.ts";
import type { Limit, LimitUnit } from "./limiter.ts";

/** How scripts are told what a limit counts. */
export const LETTERS = { requests: "r", tokens: "t", spend: "s", concurrency: "c", usd: "b", guesses: "g" } as const;

/** The lease of a call that has a guess among its tokens: Redis leaves a guess out only where no other call has one. */
interface GuessLease {
	readonly id: string;
	readonly unit: "guesses";
	readonly max: number;
	readonly windowMs: number;
	readonly amount: number;
	readonly certain?: undefined;
	readonly spending?: undefined;
}

/** What Redis is asked for. */
export type RedisLimit = Limit | GuessLease;

/** Where Redis keeps what it counts of limits: all in one slot, since a script may touch no other. */
const SPACE = "{limits}:";

/** Whose names they are. */
type Named = Pick<SharedRedis, "key">;

/** The list of where a worker has leases: its router gives them back where it dies. @param worker names it among all that share the Redis */
export const leasesKey = (redis: Named, worker: string): string => redis.key(`${SPACE}of:${worker}`);
/** Since when Redis has lost nothing that it counted. */
export const sinceKey = (redis: Named): string => redis.key(`${SPACE}since`);
/** What is reserved of a key's budget, and the sum of that. @param key the key's id */
export const reservedKeys = (redis: Named, key: string): [held: string, sum: string] => [
	redis.key(`${SPACE}held:${key}`),
	redis.key(`${SPACE}sum:${key}`),
];

/** The window, or the period, is part of the name, since what is counted there is of it alone. */
export function limitKey(redis: Named, { id, unit, windowMs, spending }: RedisLimit): string {
	return redis.key(`${SPACE}${LETTERS[unit]}:${spending ? `${spending.period}:${spending.key}` : `${windowMs}:${id}`}`);
}

/** The routers that count limits there. */
export const routersKey = (redis: Named): string => redis.key(`${SPACE}routers`);
/** Windows, and calls at once, of which calls have taken something lately. */
export const changedKey = (redis: Named): string => redis.key(`${SPACE}changed`);

const UNITS: Readonly<Record<string, LimitUnit>> = { r: "requests", t: "tokens", s: "spend", c: "concurrency" };

/** The window, or the calls at once, that are called so there, by {@link limitKey}; how much may be taken of it nobody knows by that. */
export function countedLimit(redis: Named, key: string): Limit | undefined {
	const [, letter = "", windowMs = "", id = ""] =
		/^([rtsc]):(\d+):(.*)$/s.exec(key.slice(redis.key(SPACE).length)) ?? [];
	const unit = UNITS[letter];
	return unit && { id, unit, windowMs: Number(windowMs), max: Number.POSITIVE_INFINITY, amount: 0 };
}

/** Those of limits, in their order; then of each budget its reservations and their sum. */
export function limitKeys(redis: Named, limits: readonly RedisLimit[]): string[] {
	const keys = limits.map((limit) => limitKey(redis, limit));
	for (const { spending } of limits) if (spending) keys.push(...reservedKeys(redis, spending.key));
	return keys;
}

/** Whether it lasts as long as the call, and no longer than it is renewed. */
export const isLease = ({ unit }: RedisLimit): boolean =>
	unit === "concurrency" || unit === "usd" || unit === "guesses";

/** Whether what is taken of it stays in a window. */
export const isWindow = ({ unit }: RedisLimit): boolean => unit === "requests" || unit === "tokens" || unit === "spend";

/** The limits, with a lease behind each that has a guess. */
export function withLeases(limits: readonly Limit[]): readonly RedisLimit[] {
	return limits.flatMap((limit) => (limit.certain === undefined ? limit : [limit, guessLeaseOf(limit)]));
}

function guessLeaseOf({ id, windowMs }: Limit): GuessLease {
	return { id, unit: "guesses", max: Number.MAX_SAFE_INTEGER, windowMs, amount: 1 };
}
