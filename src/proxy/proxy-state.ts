/** What calls have in common while they try upstreams. One per server; it outlives a reload of the configuration. */
import type { Provider } from "../providers/provider.ts";
import { LocalRoutingState } from "../routing/local-routing-state.ts";
import type { RoutingState } from "../routing/target-state.ts";
import { CallQueue, type ModelQueue, type QueueSettings } from "./call-queue.ts";
import { HedgeBudget } from "./hedge-budget.ts";
import { KeyRotation } from "./key-rotation.ts";
import { type StoredThoughts, ThinkingMemory } from "./net/request-inputs.ts";
import { RefusedAdditions, type RefusedView } from "./refused-additions.ts";
import { RetryBudget } from "./retry.ts";
import { Suspects, type SuspectsView } from "./suspects.ts";

/** What a budget is to those who spend it, wherever it is counted. */
export type RetryCount = Pick<RetryBudget, "call" | "has" | "spend">;
export type HedgeCount = Pick<HedgeBudget, "call" | "take" | "giveBack">;

/** Budgets that all threads of the process spend together, where it has several. */
export interface CallBudgets {
	readonly retries: RetryCount;
	/** The budget of that name, the same for each call and thread. @param isFull it begins with as many as can be saved up */
	hedges(name: string, isFull: boolean): HedgeCount;
}

/** Queues that all threads of the process keep together, where it has several. */
export interface CallQueues {
	/** The queue of that name, the same for each call and thread. @param settings where no thread has made it yet */
	queue(name: string, settings: QueueSettings): ModelQueue;
}

/** What is known and counted by all threads of the process together, where it has several. Of what is absent the thread has its own. */
export interface ProxyParts {
	/** What is known of each target. */
	readonly targets?: RoutingState;
	readonly budgets?: CallBudgets;
	/** What upstreams have signed of their models' thoughts. */
	readonly thinking?: StoredThoughts;
	readonly queues?: CallQueues;
	/** What targets have refused of what the router adds to calls. */
	readonly refused?: RefusedView;
	/** Keys of providers. */
	readonly keys?: KeyRotation;
	/** Calls that may have killed an engine. */
	readonly suspects?: SuspectsView;
}

/** The holder. */
export class ProxyState {
	readonly targets: RoutingState;
	readonly thinking: StoredThoughts;
	readonly retries: RetryCount;
	readonly refused: RefusedView;
	readonly keys: KeyRotation;
	readonly suspects: SuspectsView;
	readonly #parts: Pick<ProxyParts, "budgets" | "queues">;
	readonly #freeHedges = new WeakMap<Provider, HedgeCount>();
	/** By name in `models:`. */
	readonly #hedges = new Map<string, HedgeCount>();
	readonly #queues = new Map<string, ModelQueue>();

	/** @param random 0 to 1 */
	constructor(
		{ targets, thinking, refused, keys, suspects, ...parts }: ProxyParts = {},
		readonly random: () => number = Math.random,
	) {
		this.targets = targets ?? new LocalRoutingState();
		this.thinking = thinking ?? new ThinkingMemory();
		this.refused = refused ?? new RefusedAdditions();
		this.keys = keys ?? new KeyRotation();
		this.suspects = suspects ?? new Suspects();
		this.#parts = parts;
		this.retries = parts.budgets?.retries ?? new RetryBudget();
	}

	/** Keys out of use of each provider that has some. */
	keysOut(entries: Iterable<{ readonly provider: Provider }>): Iterable<readonly [string, number]> {
		return this.keys.outOfUse(entries);
	}

	/** How often calls to targets of this provider may be sent twice where that costs nothing. */
	freeHedges(provider: Provider): HedgeCount {
		let budget = this.#freeHedges.get(provider);
		if (!budget) {
			budget = this.#parts.budgets?.hedges(`provider ${provider.name}`, true) ?? new HedgeBudget(true);
			this.#freeHedges.set(provider, budget);
		}
		return budget;
	}

	/** How often calls for this name may be sent twice where that costs something. */
	hedges(alias: string): HedgeCount {
		return getOrMake(
			this.#hedges,
			alias,
			() => this.#parts.budgets?.hedges(`model ${alias}`, false) ?? new HedgeBudget(),
		);
	}

	/** The queue of a name, with these settings from now on; one of all threads has those of the configuration that the main thread has last used. */
	queue(alias: string, settings: QueueSettings): ModelQueue {
		const make = () => this.#parts.queues?.queue(alias, settings) ?? new CallQueue(settings);
		const queue = getOrMake(this.#queues, alias, make);
		if (queue instanceof CallQueue) queue.settings = settings;
		return queue;
	}

	/** Calls of this thread that wait in queues, by name. */
	*waiting(): Iterable<readonly [string, number]> {
		for (const [alias, queue] of this.#queues) yield [alias, queue.waiting];
	}
}

function getOrMake<T>(values: Map<string, T>, name: string, make: () => T): T {
	let value = values.get(name);
	if (value === undefined) {
		value = make();
		values.set(name, value);
	}
	return value;
}
