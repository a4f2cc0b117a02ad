/**
 * A queue in front of a model that takes only so many calls at once. A call that would be served too late is refused at once, while
 * there is time to go elsewhere.
 */
import type { ModelConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import type { CallRecord } from "./call-record.ts";
import { clientGone, type Pause } from "./pause.ts";

/** What a model's queue is held to. */
export interface QueueSettings {
	/** Calls that may run at once. */
	readonly concurrency: number;
	/** Calls that may wait. */
	readonly size: number;
}

/** What a model's configuration says of its queue. */
export type QueuedModel = Pick<ModelConfig, "name" | "concurrency" | "queue">;

/** Calls that may wait for a model where nothing is said. */
const SIZE = 100;

/** What the queue of a model of the configuration is held to; undefined where it has none. */
export function queueSettings({ concurrency, queue }: QueuedModel): QueueSettings | undefined {
	return concurrency === undefined ? undefined : { concurrency, size: queue ?? SIZE };
}

/** Why a call was not let in. */
export interface QueueRefused {
	/** `full`: the queue is. `late`: its turn would come after its deadline. */
	readonly reason: "full" | "late";
	/** When those that wait now will have been served, ms from now. */
	readonly retryAfterMs: number;
}

/** A call's place in a queue. */
export interface Ticket {
	/** Resolves when it may run. */
	readonly turn: Promise<void>;
	/** It has run, or waits no longer. Must be called; the first call counts. */
	leave(): void;
}

/** What a queue is to calls, wherever it is kept. */
export type ModelQueue = Pick<CallQueue, "waiting" | "hasRoom" | "enter" | "enterNow" | "reenter">;

interface Waiter {
	/** See {@link rankOf}. */
	readonly rank: number;
	readonly admit: () => void;
}

/** What a step of priority is worth, ms of waiting: the lowest call is not passed for ever. */
const STEP_MS = 10_000;
/** How long a call is said to run where none has ended yet, ms: to one that is refused. Nothing is refused on a guess. */
const UNKNOWN_MS = 2_000;
/** Weight of the newest call in the mean. */
const WEIGHT = 0.1;

/** The rank of a call that came at this time: the least is next. */
export const rankOf = (cameAt: number, priority: number): number => cameAt - priority * STEP_MS;

/** How long calls run, a moving mean, ms, after one that ran for `ms`. */
export const meanWith = (meanMs: number | undefined, ms: number): number =>
	meanMs === undefined ? ms : meanMs + (ms - meanMs) * WEIGHT;

/** How long it takes until so many have had their turn, ms: one that runs ends every mean ÷ concurrency. */
const turnsMs = (turns: number, meanMs: number, { concurrency }: QueueSettings): number =>
	(Math.max(1, turns) * meanMs) / concurrency;

/** What a queue knows when it may have to refuse a call. */
export interface QueueState {
	readonly settings: QueueSettings;
	/** Calls that wait. */
	readonly waiting: number;
	/** Those of them that are before the call. */
	readonly ahead: number;
	/** How long calls run; undefined where none has ended yet. */
	readonly meanMs: number | undefined;
}

/** Why a call that can wait `withinMs` at most must not join; undefined where it may. */
export function refusalOf(
	{ settings, waiting, ahead, meanMs }: QueueState,
	withinMs: number,
): QueueRefused | undefined {
	if (waiting >= settings.size) {
		return { reason: "full", retryAfterMs: turnsMs(waiting, meanMs ?? UNKNOWN_MS, settings) };
	}
	const waitMs = turnsMs(ahead + 1, meanMs ?? 0, settings);
	return waitMs > withinMs ? { reason: "late", retryAfterMs: waitMs } : undefined;
}

/** One model's queue. Times are ms on any clock that never goes back. */
export class CallQueue {
	/** The next to run first. */
	readonly #waiting: Waiter[] = [];
	#running = 0;
	/** How long a call runs: a moving mean. */
	#meanMs: number | undefined;

	constructor(
		/** May change while calls wait: the next to leave sees it. */
		public settings: QueueSettings,
		private readonly time: () => number = () => performance.now(),
	) {}

	/** Calls that wait. */
	get waiting(): number {
		return this.#waiting.length;
	}

	/** A call that came now would run at once. */
	get hasRoom(): boolean {
		return this.#running < this.settings.concurrency && this.#waiting.length === 0;
	}

	/** A place for a call that can wait `withinMs` at most; or why it gets none. */
	enter(priority: number, withinMs: number): Ticket | QueueRefused {
		const entered = this.enterNow();
		if (entered) return entered;
		const { settings, waiting } = this;
		const rank = rankOf(this.time(), priority);
		const ahead = this.#ahead(rank);
		return refusalOf({ settings, waiting, ahead, meanMs: this.#meanMs }, withinMs) ?? this.#join(rank, ahead);
	}

	/** A place for a call that does not wait; undefined where there is none. */
	enterNow(): Ticket | undefined {
		if (!this.hasRoom) return undefined;
		this.#running++;
		return { turn: Promise.resolve(), leave: this.#end(this.time()) };
	}

	/** A place once more, for a call that came at `cameAt` and gave its own back meanwhile: it is behind nobody who came later, and never refused. */
	reenter(priority: number, cameAt: number): Ticket {
		const rank = rankOf(cameAt, priority);
		const place = this.#join(rank, this.#ahead(rank));
		this.#admit();
		return place;
	}

	/** How many of those that wait are before a call of this rank. */
	#ahead(rank: number): number {
		const behind = this.#waiting.findIndex((other) => other.rank > rank);
		return behind === -1 ? this.#waiting.length : behind;
	}

	#join(rank: number, ahead: number): Ticket {
		const { promise: turn, resolve } = Promise.withResolvers<void>();
		let end: (() => void) | undefined;
		const waiter: Waiter = {
			rank,
			admit: () => {
				end = this.#end(this.time());
				resolve();
			},
		};
		this.#waiting.splice(ahead, 0, waiter);
		const leave = () => {
			if (end) return end();
			const at = this.#waiting.indexOf(waiter);
			if (at !== -1) this.#waiting.splice(at, 1);
		};
		return { turn, leave };
	}

	/** What ends a call that runs from now on. */
	#end(startedAt: number): () => void {
		let isOver = false;
		return () => {
			if (isOver) return;
			isOver = true;
			const ms = this.time() - startedAt;
			this.#meanMs = meanWith(this.#meanMs, ms);
			this.#running--;
			this.#admit();
		};
	}

	/** Those that wait run, as far as there is room. */
	#admit(): void {
		while (this.#running < this.settings.concurrency && this.#waiting.length > 0) {
			this.#running++;
			this.#waiting.shift()!.admit();
		}
	}
}

/** One call's place among those that its model has at once. It ends with the call. */
export class Slot {
	constructor(
		private readonly queue: ModelQueue,
		private readonly queued: QueuedCall,
		private ticket: Ticket | undefined,
	) {
		queued.record.atEnd(() => this.release());
	}

	get isHeld(): boolean {
		return this.ticket !== undefined;
	}

	/** Gives it back while the call waits for something else. */
	release(): void {
		this.ticket?.leave();
		this.ticket = undefined;
	}

	/** Takes one again. False where that takes longer, ms, or the client leaves meanwhile. */
	async take(withinMs: number): Promise<boolean> {
		const { call, pause } = this.queued;
		const ticket = this.queue.reenter(call.priority ?? 0, call.startedAt);
		this.ticket = ticket;
		const isTaken = await pause.until(ticket.turn, withinMs);
		if (!isTaken) this.release();
		return isTaken;
	}
}

/** The call that waits. */
export interface QueuedCall {
	readonly call: Pick<Call, "priority" | "startedAt">;
	/** How long it can wait at most, ms. */
	readonly withinMs: number;
	readonly pause: Pause;
	readonly record: CallRecord;
}

/** Resolves when it is the call's turn. Throws `model_busy`; and `cancelled` where its client leaves meanwhile. */
export async function waitTurn(name: string, queue: ModelQueue, queued: QueuedCall): Promise<Slot> {
	const { call, withinMs, pause, record } = queued;
	const ticket = queue.enter(call.priority ?? 0, withinMs);
	if ("reason" in ticket) throw refused(name, ticket, record);
	const slot = new Slot(queue, queued, ticket);
	const startedAt = performance.now();
	const isServed = await pause.until(
		ticket.turn.then(() => true),
		withinMs,
	);
	const waitedMs = performance.now() - startedAt;
	record.waitedMs += waitedMs;
	if (pause.isOver) throw clientGone();
	if (!isServed) throw refused(name, { reason: "late", retryAfterMs: 0 }, record);
	record.queued({ model: name, waitedMs });
	return slot;
}

function refused(model: string, { reason, retryAfterMs }: QueueRefused, record: CallRecord): RouterError {
	record.queued({ model, refused: reason });
	const why =
		reason === "full"
			? "as many calls wait for it as may"
			: "the calls before this one would take longer than it can wait";
	return new RouterError("model_busy", `"${model}" is busy: ${why}.`, {
		headers: { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) },
	});
}
