/** A limiter that lets everyone in and keeps count of what it is told: stands for the one in the process. */
import type { Limit, Limiter, Reservation } from "../../src/accounts/limits/limiter.ts";

/** It, and what is reserved in it: by bound, settled tokens included, cancelled ones not. */
export interface OpenLimiter extends Limiter {
	readonly taken: Map<string, number>;
	/** Ids that it refuses. */
	readonly refuses: Set<string>;
}

/** Makes one. */
export function openLimiter(): OpenLimiter {
	const taken = new Map<string, number>();
	const refuses = new Set<string>();
	const add = (bounds: readonly Limit[], amountOf: (bound: Limit) => number) => {
		for (const bound of bounds) {
			const name = `${bound.counts} ${bound.id}`;
			taken.set(name, (taken.get(name) ?? 0) + amountOf(bound));
		}
	};
	let count = 0;
	return {
		taken,
		refuses,
		take(bounds) {
			const refused = bounds.find(({ id }) => refuses.has(id));
			const standings = bounds.map((bound) => ({ bound, remaining: 7, resetMs: 70 }));
			if (refused) return { isAllowed: false, refused, retryAfterMs: 5, standings };
			add(bounds, ({ amount }) => amount);
			const reservation: Reservation = { bounds, id: `own-${count++}` };
			return { isAllowed: true, reservation, standings };
		},
		settle({ bounds }, tokens) {
			add(bounds, ({ counts, amount }) => (counts === "tokens" ? tokens - amount : counts === "concurrency" ? -1 : 0));
		},
		cancel({ bounds }) {
			add(bounds, ({ amount }) => -amount);
		},
	};
}
