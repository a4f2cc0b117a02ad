/** How much of their limits keys have taken now: what the next call of each would find. */
import type { KeyLimits } from "../../accounts/auth/key-store.ts";
import { limitsOfKey } from "../../accounts/limits/admission.ts";
import type { Limit } from "../../accounts/limits/limiter.ts";

/** Of the limits that a key has: calls and tokens of the last minute, reserved ones included, and calls under way. */
export interface LimitUse {
	readonly rpm?: number;
	readonly tpm?: number;
	readonly concurrency?: number;
}

/** Counts what was taken of these limits; undefined where nobody counts any. */
export type CountTaken = (limits: readonly Limit[]) => Promise<readonly number[] | undefined>;

const NAMES = { requests: "rpm", tokens: "tpm", concurrency: "concurrency" } as const;

/** The use of each key that has limits, by its id; of none where nobody counts. */
export async function limitUses(
	keys: readonly { readonly id: string; readonly limits: KeyLimits }[],
	count: CountTaken,
): Promise<ReadonlyMap<string, LimitUse>> {
	const limits = keys.flatMap(({ id, limits: own }) => limitsOfKey(id, own).map((limit) => ({ key: id, limit })));
	const uses = new Map<string, Record<string, number>>();
	if (limits.length === 0) return uses;
	const taken = await count(limits.map(({ limit }) => limit));
	if (!taken) return uses;
	for (const [at, { key, limit }] of limits.entries()) {
		const use = uses.get(key) ?? {};
		use[NAMES[limit.unit as keyof typeof NAMES]] = taken[at]!;
		uses.set(key, use);
	}
	return uses;
}
