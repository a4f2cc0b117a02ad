/** Routers that exchange what they know over a Redis of the test's own, which loses, delays and refuses what the test says. */
import { LocalRoutingState } from "../../src/routing/local-routing-state.ts";
import { type ExchangeClock, RoutingExchange } from "../../src/routing/routing-exchange.ts";

/** One router: what it knows, and what Redis does to it. */
export interface ExchangingRouter {
	readonly name: string;
	readonly state: LocalRoutingState;
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
		const state = new LocalRoutingState(() => this.now);
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
			isDeaf: false,
			isDead: false,
			resume: () => listeners.resumed(),
			tick: () => exchange.tick(),
			leave: () => close(),
			receive: (text: string) => listeners.message(text),
			up: () => listeners.up(),
			close: () => close(),
		};
		const exchange = new RoutingExchange(redis, bus, name, state, { now: () => this.now, after: this.after });
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
