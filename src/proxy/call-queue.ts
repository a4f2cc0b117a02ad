/**
 * A queue in front of a model that takes only so many calls at once. A call that would be served too late is refused at once, while
 * there is time to go elsewhere.
 */
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

interface Waiter {
	/** The time of its coming, earlier by what its priority is worth: the least is next. */
	readonly rank: number;
	readonly admit: () => void;
}

/** What a step of priority is worth, ms of waiting: the lowest call is not passed for ever. */
const STEP_MS = 10_000;
/** How long a call is said to run where none has ended yet, ms. */
const UNKNOWN_MS = 2_000;
/** Weight of the newest call in the mean. */
const WEIGHT = 0.1;

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
		const { size } = this.settings;
		const now = this.time();
		if (this.hasRoom) {
			this.#running++;
			return { turn: Promise.resolve(), leave: this.#end(now) };
		}
		const rank = now - priority * STEP_MS;
		const behind = this.#waiting.findIndex((other) => other.rank > rank);
		const ahead = behind === -1 ? this.#waiting.length : behind;
		if (this.#waiting.length >= size) {
			return { reason: "full", retryAfterMs: this.#waitMs(this.#waiting.length, UNKNOWN_MS) };
		}
		// Nothing is refused on a guess.
		const waitMs = this.#waitMs(ahead + 1, 0);
		return waitMs > withinMs ? { reason: "late", retryAfterMs: waitMs } : this.#join(rank, ahead);
	}

	/** A place once more, for a call that came at `cameAt` and gave its own back meanwhile: it is behind nobody who came later, and never refused. */
	reenter(priority: number, cameAt: number): Ticket {
		const rank = cameAt - priority * STEP_MS;
		const behind = this.#waiting.findIndex((other) => other.rank > rank);
		const place = this.#join(rank, behind === -1 ? this.#waiting.length : behind);
		this.#admit();
		return place;
	}

	/** How long it takes until so many have had their turn: one that runs ends every mean ÷ concurrency. */
	#waitMs(turns: number, unknownMs: number): number {
		return (Math.max(1, turns) * (this.#meanMs ?? unknownMs)) / this.settings.concurrency;
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
			this.#meanMs = this.#meanMs === undefined ? ms : this.#meanMs + (ms - this.#meanMs) * WEIGHT;
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
		private readonly queue: CallQueue,
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
export async function waitTurn(name: string, queue: CallQueue, queued: QueuedCall): Promise<Slot> {
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
