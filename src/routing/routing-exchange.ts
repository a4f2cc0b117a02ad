/**
 * What routing knows, told to the other routers of one Redis: load, cached prompts and sessions. Each tells what has changed, in 20 messages
 * a second at most; nothing of it is waited for by a call. ./design.md says what holds when messages are lost.
 */
import type { SharedRedis } from "../store/redis.ts";
import type { RedisBus } from "../store/redis-bus.ts";
import { OtherRouters } from "./other-routers.ts";
import {
	decodeBlocks,
	decodeConversation,
	decodeRoutingMessage,
	encodeBlocks,
	encodeConversation,
	encodeRoutingMessage,
	type ReadRoutingMessage,
	type RoutingMessage,
} from "./routing-message.ts";
import { MESSAGE_BLOCKS, MESSAGE_SESSIONS, RoutingNotes } from "./routing-notes.ts";
import type { ExchangedState, RoutingState } from "./target-state.ts";

const CHANNEL = "routing";
/** From one message to the next, ms on average at least. */
const PAUSE_MS = 50;
/** A router that has sent fewer may send five at once: a call is to be known elsewhere before the next one comes there. */
const BURST_MS = 4 * PAUSE_MS;
/** How often all that is under way is told, which heals what was lost, and says that this router is there, ms. */
const WHOLE_MS = 500;
/** How often a router asks for what the others remember until somebody tells it, each `WHOLE_MS`. */
const MOST_ASKS = 4;
/** From this time on routers answer that don't know either: all have been started at once. */
const ANYBODY_ASKS = 3;
/** Most blocks that a router tells one that asks. */
const MOST_BLOCKS_TOLD = 262_144;
/** Most conversations, those that are kept for longest. */
const MOST_TOLD = 10_000;

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

/** A part of what is remembered, for routers that asked. */
type MemoryPart = Required<Pick<RoutingMessage, "prompts" | "sessions" | "conversations">>;

/** One router's part in the exchange. */
export class RoutingExchange {
	readonly #notes = new RoutingNotes(() => this.#schedule());
	readonly #others: OtherRouters;
	/** Cancels the next message, where it is due at a time. */
	#cancelSend: (() => void) | undefined;
	#cancelTick: (() => void) | undefined;
	/** Until then messages are paid for, on its clock, ms. */
	#paidUntil = Number.NEGATIVE_INFINITY;
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
	#memory: Iterator<MemoryPart, undefined> | undefined;

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

	/** Messages may have been missed. */
	#ask(): void {
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
		if (await this.#publish({ from, ...asks, isWhole, loads, emptied, prompts, sessions, conversations })) return;
		this.#notes.giveBack(batch);
		this.#isWholeDue = true;
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
		for (const [target, blocks] of message.prompts) this.state.learnPrompt(target, decodeBlocks(blocks));
		for (const [key, ms] of message.conversations) this.state.conversations.learn(decodeConversation(key), ms);
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
		this.#isWholeDue = true;
		this.#schedule();
		if (this.#isNew ? asks < ANYBODY_ASKS : this.#others.countBefore(this.router, asker) >= asks) return;
		this.#askers = this.#memory ? [...new Set([...this.#askers, asker])] : [asker];
		this.#memory = memoryOf(this.state);
	}
}

/** What is remembered, in parts of a message each, the first of them even where it is nothing. */
function* memoryOf(state: ExchangedState): Generator<MemoryPart, undefined> {
	const sessions = [...state.sessions()];
	for (let at = 0; at === 0 || at < sessions.length; at += MESSAGE_SESSIONS) {
		yield { prompts: [], sessions: sessions.slice(at, at + MESSAGE_SESSIONS), conversations: [] };
	}
	const conversations = [...state.conversations.all()].sort(([, one], [, other]) => other - one).slice(0, MOST_TOLD);
	for (let at = 0; at < conversations.length; at += MESSAGE_SESSIONS) {
		const some = conversations.slice(at, at + MESSAGE_SESSIONS);
		yield {
			prompts: [],
			sessions: [],
			conversations: some.map(([key, ms]) => [encodeConversation(key), Math.round(ms)] as const),
		};
	}
	let told = 0;
	let prompts: (readonly [target: string, blocks: string])[] = [];
	let count = 0;
	for (const [target, recent] of [...state.prompts()]) {
		const blocks = recent();
		// The oldest first: those that are told last are forgotten last.
		for (let end = blocks.length; end > 0; end -= MESSAGE_BLOCKS) {
			const some = blocks.subarray(Math.max(0, end - MESSAGE_BLOCKS), end);
			prompts.push([target, encodeBlocks(some)]);
			count += some.length;
			if (count < MESSAGE_BLOCKS) continue;
			yield { prompts, sessions: [], conversations: [] };
			prompts = [];
			count = 0;
		}
		told += blocks.length;
		if (told >= MOST_BLOCKS_TOLD) break;
	}
	if (prompts.length > 0) yield { prompts, sessions: [], conversations: [] };
	return undefined;
}
