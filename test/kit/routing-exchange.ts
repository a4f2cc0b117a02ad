/** Routers that exchange what they know over a Redis of the test's own, which loses, delays and refuses what the test says. */
import { ExchangedThreads, NotedRouting } from "../../src/routing/exchanged-threads.ts";
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { type ExchangeClock, type ExchangedTargets, RoutingExchange } from "../../src/routing/routing-exchange.ts";
import { MOST_SLABS } from "../../src/routing/shared-prefixes.ts";
import { makeRoutingMemory, SharedRoutingState } from "../../src/routing/shared-routing-state.ts";
import { MOST_CACHES, type RoutingState } from "../../src/routing/target-state.ts";

/** What a router knows, as its calls see it, and as it exchanges it with others. */
export interface ExchangedKind {
	/** Of how many targets it remembers cached prompts. */
	readonly caches: number;
	make(time: () => number): { readonly state: RoutingState; readonly exchanged: ExchangedTargets };
}

const oneWorker: ExchangedKind = {
	caches: MOST_CACHES,
	make(time) {
		const state = new LocalRoutingState(time);
		return { state, exchanged: state };
	},
};

/** A worker's clock began so long after the main thread's, by its number, ms. */
const OFFSET = 1_000;

/** Calls come to both workers in turn, and are asked about at the second. */
const twoWorkers: ExchangedKind = {
	caches: MOST_SLABS,
	make(time) {
		const memory = makeRoutingMemory();
		const main = new SharedRoutingState(memory, { thread: 0, offset: 0 }, time);
		const exchanged = new ExchangedThreads(main);
		const workers = [1, 2].map((thread) => {
			const offset = OFFSET * thread;
			const worker = new SharedRoutingState(memory, { thread, offset }, () => time() - offset);
			worker.listener = new NotedRouting((batch) => exchanged.take(structuredClone(batch))).listener;
			return worker;
		});
		let calls = 0;
		const last = workers[1]!;
		const state: RoutingState = {
			now: () => last.now(),
			of: (target) => last.of(target),
			session: (name) => last.session(name),
			conversations: last.conversations,
			breakers: () => last.breakers(),
			get openings() {
				return last.openings;
			},
			opened: (...call) => workers[calls++ % 2]!.opened(...call),
			pause: (...pause) => last.pause(...pause),
			// Agents are the main thread's.
			restarted: (target) => main.restarted(target),
			reported: (target, report) => main.reported(target, report),
		};
		return { state, exchanged };
	},
};

/** Rows of tests that hold for each. */
export const EXCHANGED_KINDS: [name: string, kind: ExchangedKind][] = [
	["one worker", oneWorker],
	["two workers", twoWorkers],
];

/** One router: what it knows, and what Redis does to it. */
export interface ExchangingRouter {
	readonly name: string;
	readonly state: RoutingState;
	readonly exchanged: ExchangedTargets;
	/** It gets no messages. */
	isDeaf: boolean;
	/** It is stopped where it stands: it sends nothing more, and says no goodbye. */
	isDead: boolean;
	/** It listens again, after it may have missed messages. */
	resume(): void;
	/** What is done twice a second. */
	tick(): void;
	leave(): void;
}

/** The Redis, and a clock. */
export class ExchangeNetwork {
	/** ms */
	now = 0;
	/** Messages that Redis took. */
	readonly sent: string[] = [];
	/** Whether Redis drops a message that it took. */
	loses: (text: string) => boolean = () => false;
	/** Whether Redis refuses a message. */
	refuses: (text: string) => boolean = () => false;
	/** What stands for timers: real ones. */
	readonly after: ExchangeClock["after"] = (ms, run) => {
		const timer = setTimeout(run, ms);
		return () => clearTimeout(timer);
	};
	readonly #routers: (ExchangingRouter & { receive(text: string): void; up(): void; close(): void })[] = [];
	#isUp = true;

	/** @param kind of all that join */
	constructor(private readonly kind: ExchangedKind = oneWorker) {}

	/** Whether commands are sent. */
	get isUp(): boolean {
		return this.#isUp;
	}

	set isUp(isUp: boolean) {
		this.#isUp = isUp;
		if (isUp) for (const { up } of this.#routers) up();
	}

	/** A router joins. It listens at once. */
	join(name: string): ExchangingRouter {
		const { state, exchanged } = this.kind.make(() => this.now);
		const listeners = { message: (_: string) => {}, resumed: () => {}, up: () => {} };
		const network = this;
		const redis = {
			get isUp() {
				return network.isUp && !router.isDead;
			},
			onUp: (up: () => void) => void Object.assign(listeners, { up }),
		};
		const bus = {
			listen: (_: string, message: (text: string) => void) => void Object.assign(listeners, { message }),
			onResumed: (resumed: () => void) => void Object.assign(listeners, { resumed }),
			publish: async (_: string, text: string) => !router.isDead && this.#take(text),
		};
		const router = {
			name,
			state,
			exchanged,
			isDeaf: false,
			isDead: false,
			resume: () => listeners.resumed(),
			tick: () => exchange.tick(),
			leave: () => close(),
			receive: (text: string) => listeners.message(text),
			up: () => listeners.up(),
			close: () => close(),
		};
		const exchange = new RoutingExchange(redis, bus, name, exchanged, { now: () => this.now, after: this.after });
		this.#routers.push(router);
		const close = exchange.open();
		router.resume();
		return router;
	}

	/** Ends all. */
	close(): void {
		for (const { close } of this.#routers) close();
	}

	/** A message of whoever it is. */
	publish(text: string): void {
		this.#take(text);
	}

	#take(text: string): boolean {
		if (!this.#isUp || this.refuses(text)) return false;
		this.sent.push(text);
		if (this.loses(text)) return true;
		for (const router of this.#routers) if (!router.isDeaf && !router.isDead) router.receive(text);
		return true;
	}
}
