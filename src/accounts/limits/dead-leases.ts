/** What workers that have died held of limits at Redis: given back by their router, long before it would lapse. */
import type { SharedRedis } from "../../store/redis.ts";
import { leasesKey, reservedKeys } from "./redis-limit-keys.ts";
import { FREE } from "./redis-script.ts";
import { LEASE_MS } from "./redis-script-parts.ts";

/** How soon they are looked for once more, ms: what a worker had sent when it died Redis may read later than what its router sends. */
const AGAIN_MS = 500;
/** Limits that one script looks through. */
const PAGE = 100;

/** The main thread's. */
export class DeadLeases {
	/** Workers of which something may be there, and when they died, `performance.now()`. */
	readonly #dead = new Map<string, number>();
	/** How the keys of what is reserved of budgets begin, and those of its sums. */
	readonly #reserved: readonly [held: string, sum: string];

	constructor(private readonly redis: Pick<SharedRedis, "key" | "run" | "script" | "onUp">) {
		this.#reserved = reservedKeys(redis, "");
		redis.onUp(() => {
			for (const worker of this.#dead.keys()) void this.#free(worker);
		});
	}

	/** Gives back what this worker held; where Redis is away, when it is back. @param worker as its limiter named it */
	free(worker: string): void {
		this.#dead.set(worker, performance.now());
		void this.#free(worker);
		setTimeout(() => void this.#free(worker), AGAIN_MS).unref();
	}

	async #free(worker: string): Promise<void> {
		const diedAt = this.#dead.get(worker);
		if (diedAt === undefined) return;
		const ageMs = performance.now() - diedAt;
		const isDone = await this.#freeAll(worker);
		if ((isDone && ageMs >= AGAIN_MS) || ageMs > LEASE_MS) this.#dead.delete(worker);
	}

	/** Whether Redis has done so. */
	async #freeAll(worker: string): Promise<boolean> {
		const list = leasesKey(this.redis, worker);
		const sets = await this.redis.run((client) => client.zrange(list, "0", "-1"));
		if (sets === undefined) return false;
		for (let at = 0; at < sets.length; at += PAGE) {
			const keys = sets.slice(at, at + PAGE).flatMap((set) => [set, this.#sumOf(set)]);
			if ((await this.redis.script(FREE, keys, [`${worker}:`])) === undefined) return false;
		}
		return true;
	}

	/** Where the sum of a set stands; the set, where it has none. */
	#sumOf(set: string): string {
		const [held, sum] = this.#reserved;
		return set.startsWith(held) ? sum + set.slice(held.length) : set;
	}
}
