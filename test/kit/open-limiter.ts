/** A limiter that lets everyone in and keeps count of what it is told: stands for the one in the process. */
import type { Limit, LocalLimiter, Reservation } from "../../src/accounts/limits/limiter.ts";
import { LocalTrouble } from "../../src/accounts/limits/redis-trouble.ts";

/** It, and what is reserved in it: by limit, settled tokens included, cancelled ones not. */
export interface OpenLimiter extends LocalLimiter {
	readonly taken: Map<string, number>;
	/** Ids that it refuses. */
	readonly refuses: Set<string>;
}

/** Makes one. */
export function openLimiter(): OpenLimiter {
	const taken = new Map<string, number>();
	const refuses = new Set<string>();
	const add = (limits: readonly Limit[], amountOf: (limit: Limit) => number) => {
		for (const limit of limits) {
			const name = `${limit.unit} ${limit.id}`;
			taken.set(name, (taken.get(name) ?? 0) + amountOf(limit));
		}
	};
	let count = 0;
	return {
		taken,
		refuses,
		take(limits) {
			const refused = limits.find(({ id }) => refuses.has(id));
			const statuses = limits.map((limit) => ({ limit, remaining: 7, resetMs: 70 }));
			if (refused) return { isAllowed: false, refused, retryAfterMs: 5, statuses };
			add(limits, ({ amount }) => amount);
			const reservation: Reservation = { limits: limits, id: `own-${count++}` };
			return { isAllowed: true, reservation, statuses };
		},
		settle({ limits }, tokens) {
			add(limits, ({ unit: counts, amount }) =>
				counts === "tokens" ? tokens - amount : counts === "concurrency" ? -1 : 0,
			);
		},
		trouble: new LocalTrouble(),
		takenBefore: () => [],
		counted: () => 0,
		countedBefore: () => 0,
		agreed: (_limit, _since, _now, own) => own,
		cancel({ limits }) {
			add(limits, ({ amount }) => -amount);
		},
	};
}
