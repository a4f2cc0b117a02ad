/** What all routers of a Redis have taken of limits, asked for when somebody wants to see it. */
import type { SharedRedis } from "../../store/redis.ts";
import type { Limit } from "./limiter.ts";
import { LETTERS, limitKey } from "./redis-limit-keys.ts";
import { TOTALS } from "./redis-look.ts";

/** Limits that are asked for at once: the script keeps Redis for as long. */
const MOST_AT_ONCE = 500;

/** Of each limit, none of which is a budget's, in their order; undefined where Redis does not say. */
export async function limitTotals(
	redis: Pick<SharedRedis, "key" | "script">,
	limits: readonly Limit[],
): Promise<readonly number[] | undefined> {
	const totals: number[] = [];
	for (let from = 0; from < limits.length; from += MOST_AT_ONCE) {
		const some = limits.slice(from, from + MOST_AT_ONCE);
		const keys = some.map((limit) => limitKey(redis, limit));
		const said = await redis.script(
			TOTALS,
			keys,
			some.flatMap(({ unit, windowMs }) => [LETTERS[unit], windowMs]),
		);
		if (!Array.isArray(said) || said.length !== some.length) return undefined;
		totals.push(...said.map(Number));
	}
	return totals;
}
