/** What calls have in common while they try upstreams. One per server; it outlives a reload of the configuration. */
import type { Provider } from "../providers/provider.ts";
import { RoutingState } from "../routing/target-state.ts";
import { CallQueue, type QueueSettings } from "./call-queue.ts";
import { HedgeBudget } from "./hedge-budget.ts";
import { AccountRing } from "./key-rotation.ts";
import { RefusedAdditions } from "./refused-additions.ts";
import { RetryBudget } from "./retry-budget.ts";

/** The holder. */
export class ProxyState {
	readonly retries = new RetryBudget();
	readonly refused = new RefusedAdditions();
	/** By provider as it was configured: a key that was put right is not held against its forerunner's refusal. */
	readonly #rings = new WeakMap<Provider, AccountRing>();
	readonly #freeHedges = new WeakMap<Provider, HedgeBudget>();
	/** By name in `models:`. */
	readonly #hedges = new Map<string, HedgeBudget>();
	readonly #queues = new Map<string, CallQueue>();

	constructor(
		/** What is known of each target. */
		readonly targets: RoutingState = new RoutingState(),
		/** 0 to 1. */
		readonly chance: () => number = Math.random,
	) {}

	/** The keys of a provider, and which of them are in use. */
	accounts(provider: Provider): AccountRing {
		let ring = this.#rings.get(provider);
		if (!ring) {
			ring = new AccountRing(1 + (provider.otherAccounts?.length ?? 0));
			this.#rings.set(provider, ring);
		}
		return ring;
	}

	/** Keys out of use of each provider that has some. */
	*keysOut(entries: Iterable<{ readonly provider: Provider }>): Iterable<readonly [string, number]> {
		for (const { provider } of entries) {
			const count = this.#rings.get(provider)?.outOfUse(performance.now()) ?? 0;
			if (count > 0) yield [provider.name, count];
		}
	}

	/** How often calls to targets of this provider may be sent twice where that costs nothing. */
	freeHedges(provider: Provider): HedgeBudget {
		let budget = this.#freeHedges.get(provider);
		if (!budget) {
			budget = new HedgeBudget(true);
			this.#freeHedges.set(provider, budget);
		}
		return budget;
	}

	/** How often calls for this name may be sent twice where that costs something. */
	hedges(alias: string): HedgeBudget {
		return kept(this.#hedges, alias, () => new HedgeBudget());
	}

	/** The line in front of a name, held to these settings from now on. */
	queue(alias: string, settings: QueueSettings): CallQueue {
		const queue = kept(this.#queues, alias, () => new CallQueue(settings));
		queue.settings = settings;
		return queue;
	}

	/** Calls that wait in line, by name. */
	*waiting(): Iterable<readonly [string, number]> {
		for (const [alias, queue] of this.#queues) yield [alias, queue.waiting];
	}
}

function kept<T>(values: Map<string, T>, name: string, make: () => T): T {
	let value = values.get(name);
	if (value === undefined) {
		value = make();
		values.set(name, value);
	}
	return value;
}
