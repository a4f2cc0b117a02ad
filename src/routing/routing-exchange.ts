/**
 * What routing knows, told to the other routers of one Redis: load, cached prompts and sessions. Each tells what has changed, in 20 messages
 * a second at most; nothing of it is waited for by a call. ./design.md says what holds when messages are lost.
 */
import type { SharedRedis } from "../store/redis.ts";
import type { RedisBus } from "../store/redis-bus.ts";
import { OtherRouters } from "./other-routers.ts";
import { learnPart, type RememberedPart, rememberedParts } from "./remembered-parts.ts";
import {
	decodeRoutingMessage,
	encodeRoutingMessage,
	type ReadRoutingMessage,
	type RoutingMessage,
} from "./routing-message.ts";
import { type RoutingBatch, RoutingNotes } from "./routing-notes.ts";
import type { ExchangedState, RoutingState } from "./target-state.ts";

const CHANNEL = "routing";
/** From one message to the next, ms on average at least. */
const PAUSE_MS = 50;
/** A router that has sent fewer may send five at once: a call is to be known elsewhere before the next one comes there. */
const BURST_MS = 4 * PAUSE_MS;
/** How often all that is under way is told, which heals what was lost, and says that this router is there, ms. */
const WHOLE_MS = 500;
/**
 * How long what was told is kept to be told again, ms: after an outage a router may tell all that it has noted before the others listen again, which
 * each does when it does.
 */
const AGAIN_MS = 10_000;
/** How often a router asks for what the others remember until somebody tells it, each `WHOLE_MS`. */
const MOST_ASKS = 4;
/** From this time on routers answer that don't know either: all have been started at once. */
const ANYBODY_ASKS = 3;

/** What is exchanged. */
export type ExchangedTargets = ExchangedState & Pick<RoutingState, "session">;

/** When things are done. */
export interface ExchangeClock {
	/** A time that never goes back, ms. */
	now(): number;
	/** Does something after so long, ms, while the process lives. Returns how to cancel it. */
	after(ms: number, run: () => void): () => void;
}

const STEADY_CLOCK: ExchangeClock = {
	now: () => performance.now(),
	after(ms, run) {
		const timer = setTimeout(run, ms);
		timer.unref();
		return () => clearTimeout(timer);
	},
};

/** One router's part in the exchange. */
export class RoutingExchange {
	readonly #notes = new RoutingNotes(() => this.#schedule());
	readonly #others: OtherRouters;
	/** Cancels the next message, where it is due at a time. */
	#cancelSend: (() => void) | undefined;
	#cancelTick: (() => void) | undefined;
	/** Until then messages are paid for, on its clock, ms. */
	#paidUntil = Number.NEGATIVE_INFINITY;
	/** What was told lately, the first first, and when. */
	#told: { readonly at: number; readonly batch: RoutingBatch }[] = [];
	#isOpen = false;
	#isSending = false;
	/** The next message tells all that is under way. */
	#isWholeDue = true;
	/** It has not been told yet what the others remember. */
	#isNew = true;
	/** How often it has asked for that; 0: it does not ask. */
	#asks = 0;
	/** Routers that have asked this one, and what they are yet to be told. */
	#askers: string[] = [];
	#memory: Iterator<RememberedPart, undefined> | undefined;

	/** @param router names this router among those that share the Redis */
	constructor(
		private readonly redis: Pick<SharedRedis, "isUp" | "onUp">,
		private readonly bus: Pick<RedisBus, "listen" | "onResumed" | "publish">,
		private readonly router: string,
		private readonly state: ExchangedTargets,
		private readonly clock: ExchangeClock = STEADY_CLOCK,
	) {
		this.#others = new OtherRouters(state);
		bus.listen(CHANNEL, (text) => this.#receive(text));
		bus.onResumed(() => this.#ask());
		redis.onUp(() => this.#schedule());
	}

	/** The names of the other routers that were heard of lately. */
	get others(): readonly string[] {
		return this.#others.names;
	}

	/** Begins to tell, and to listen. Returns how to end it; what this router has under way counts nowhere else then. */
	open(): () => void {
		this.#isOpen = true;
		this.state.listener = this.#notes;
		this.#tickLater();
		return () => {
			this.#isOpen = false;
			this.state.listener = undefined;
			this.#cancelTick?.();
			this.#cancelSend?.();
			void this.#publish({ from: this.router, isLeaving: true });
		};
	}

	#tickLater(): void {
		this.#cancelTick = this.clock.after(WHOLE_MS, () => {
			this.tick();
			this.#tickLater();
		});
	}

	/** To be called each `WHOLE_MS`; `open` does. */
	tick(): void {
		this.#others.lapse(this.clock.now());
		if (this.#asks >= MOST_ASKS) this.#stopAsking();
		else if (this.#asks > 0) this.#asks++;
		this.#isWholeDue = true;
		this.#schedule();
	}

	/** Messages may have been missed, and the last ones of its own by all who asked meanwhile. */
	#ask(): void {
		this.#tellAgain();
		this.#asks = 1;
		this.#isWholeDue = true;
		this.#schedule();
	}

	#stopAsking(): void {
		this.#asks = 0;
		this.#isNew = false;
	}

	/** On the path of calls. While a message is under way, and while Redis is away, the end of that sends what was noted. */
	#schedule(): void {
		if (this.#cancelSend || this.#isSending || !this.#isOpen || !this.redis.isUp) return;
		const waitMs = Math.max(0, this.#paidUntil - BURST_MS - this.clock.now());
		this.#cancelSend = this.clock.after(waitMs, this.#send);
	}

	readonly #send = async (): Promise<void> => {
		this.#cancelSend = undefined;
		if (!this.redis.isUp) return;
		this.#isSending = true;
		this.#paidUntil = Math.max(this.#paidUntil, this.clock.now()) + PAUSE_MS;
		const part = this.#memory?.next();
		if (part?.done) this.#memory = undefined;
		else if (part && !(await this.#publish({ from: this.router, to: this.#askers, ...part.value }))) {
			// They ask again.
			this.#memory = undefined;
		}
		if (this.#isWholeDue || !this.#notes.isEmpty) await this.#sendNotes();
		this.#isSending = false;
		if (this.#isWholeDue || this.#memory || !this.#notes.isEmpty) this.#schedule();
	};

	async #sendNotes(): Promise<void> {
		const batch = this.#notes.take();
		const isWhole = this.#isWholeDue || batch.changed === undefined;
		this.#isWholeDue = false;
		const { emptied, prompts, sessions, conversations } = batch;
		const loads = isWhole
			? [...this.state.ownLoads()]
			: batch.changed!.map((target) => [target, this.state.ownLoad(target)] as const);
		const { router: from } = this;
		const asks = { asks: this.#asks, isNew: this.#isNew };
		if (await this.#publish({ from, ...asks, isWhole, loads, emptied, prompts, sessions, conversations })) {
			this.#keepTold(batch);
			return;
		}
		this.#notes.giveBack(batch);
		this.#isWholeDue = true;
	}

	#keepTold(batch: RoutingBatch): void {
		const now = this.clock.now();
		const { emptied, prompts, sessions, conversations } = batch;
		this.#told = this.#told.filter(({ at }) => now - at < AGAIN_MS);
		if (prompts.length + sessions.length + conversations.length + emptied.length > 0)
			this.#told.push({ at: now, batch });
	}

	/**
	 * Has what was told lately told once more. Not which caches became empty: others may have been told since what is in them. And no session that
	 * another router has moved since, or that this one has a later word of.
	 */
	#tellAgain(): void {
		const now = this.clock.now();
		const emptied = new Set<string>();
		for (const { at, batch } of this.#told.reverse()) {
			if (now - at >= AGAIN_MS) break;
			const prompts = batch.prompts.filter(([target]) => !emptied.has(target));
			const sessions = batch.sessions.filter(([session, target]) => this.state.session(session) === target);
			for (const target of batch.emptied) emptied.add(target);
			this.#notes.giveBack({ ...batch, changed: [], emptied: [], prompts, sessions });
		}
		this.#told = [];
	}

	/** Whether Redis took it. */
	#publish(message: RoutingMessage): Promise<boolean> {
		return this.bus.publish(CHANNEL, encodeRoutingMessage(message));
	}

	#receive(text: string): void {
		const message = decodeRoutingMessage(text);
		if (!message) return;
		const { from, to, asks } = message;
		if (from === this.router) {
			// Redis gives all routers all messages in one order: of two that moved a session at once, the same one is the last everywhere.
			if (!to) this.#learnSessions(message);
		} else if (message.isLeaving) this.#others.left(from);
		else if (to) {
			if (!to.includes(this.router)) return;
			this.#stopAsking();
			this.#learn(message);
		} else {
			this.#others.heard(message, this.clock.now());
			this.#learn(message);
			if (asks > 0) this.#answer(from, asks);
		}
	}

	#learn(message: ReadRoutingMessage): void {
		for (const target of message.emptied) this.state.forgetPrompts(target);
		learnPart(this.state, message);
		this.#learnSessions(message);
	}

	/** What this router has yet to tell of a session comes later, and will be the last everywhere. */
	#learnSessions({ sessions }: ReadRoutingMessage): void {
		for (const [session, target] of sessions) {
			if (!this.#notes.hasSession(session)) this.state.learnSession(session, target);
		}
	}

	/** One router tells what is remembered: the first by name, and after each time that it was asked for in vain one more. */
	#answer(asker: string, asks: number): void {
		this.#tellAgain();
		this.#isWholeDue = true;
		this.#schedule();
		if (this.#isNew ? asks < ANYBODY_ASKS : this.#others.countBefore(this.router, asker) >= asks) return;
		this.#askers = this.#memory ? [...new Set([...this.#askers, asker])] : [asker];
		this.#memory = rememberedParts(this.state);
	}
}
