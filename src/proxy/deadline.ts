/**
 * When an attempt must stop: its client left, or its time is up. One timer each, and an AbortController, only where they are needed: most
 * answers of small models, embeddings above all, are there before anything could be late, and to listen for a client's leaving
 * and to set a timer for each costs a twentieth of such a call. So one timer looks at all of them, and only what it finds a second time gets
 * its own.
 */
import type { Client } from "../openai/call.ts";
import type { Failure } from "../providers/failure.ts";
import type { CancelListener, CancelSignal } from "../providers/provider.ts";
import type { CallRecord } from "./call-record.ts";

/** A timer of more ms (24.8 days) fires at once. */
const LONGEST = 2 ** 31 - 1;

/** What an attempt ends in whose client is gone. */
export const CLIENT_GONE: Failure = { kind: "cancelled", message: "the client left" };

/** How long arming is deferred at most, ms: a client that leaves is noticed that much later, and has 100 ms. */
export const DEFER_MS = 40;

/** Interval of the looks, ms: a deadline is armed at the second that finds it. */
const LOOK_MS = DEFER_MS / 2;

/** Deadlines that wait for their arming, before their first look and after it. One that is over leaves at once: it holds all of its call. */
let fresh: Deadline[] = [];
let seen: Deadline[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

/** Is aborted at the first of the two. `clear()` must be called when the attempt is over. */
export class Deadline implements CancelSignal {
	aborted = false;
	#reason: DOMException | undefined;
	#controller: AbortController | undefined;
	/** Whom it is told when it is aborted; mostly one. */
	#listeners: CancelListener[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** What is to come within the time that `within` gave; undefined while silence is what counts. */
	#awaited: { readonly what: string; readonly ms: number; readonly saidMs: number; readonly by: string } | undefined;
	#silenceMs = 0;
	#lastByteAt = 0;
	#isWaiting = true;
	#timedOut: string | undefined;
	#dropped: string | undefined;
	#isCleared = false;
	/** When its timer is due that is not set yet. */
	#dueAt: number | undefined;
	#whenLate: (() => void) | undefined;
	#lateMs = 0;
	#lateAt = 0;
	#lateTimer: ReturnType<typeof setTimeout> | undefined;

	/** The list in which it waits for its own timer and listener, and its index there; undefined once it has those, or is over. */
	#waiting: Deadline[] | undefined = fresh;
	#place = fresh.length;

	/** @param record whose client's connection is held open once the attempt takes its time */
	constructor(
		private readonly client: Client,
		private readonly record?: Pick<CallRecord, "liftIdleTimeout">,
	) {
		fresh.push(this);
		timer ??= setTimeout(look, LOOK_MS);
	}

	/** As the reason of an AbortSignal. */
	get reason(): unknown {
		if (!this.aborted) return undefined;
		this.#reason ??= new DOMException("The operation was aborted.", "AbortError");
		return this.#reason;
	}

	throwIfAborted(): void {
		if (this.aborted) throw this.reason;
	}

	addEventListener(_type: "abort", listener: CancelListener): void {
		if (!this.aborted) this.#listeners.push(listener);
	}

	removeEventListener(_type: "abort", listener: CancelListener): void {
		const index = this.#listeners.indexOf(listener);
		if (index !== -1) this.#listeners.splice(index, 1);
	}

	get signal(): AbortSignal {
		if (!this.#controller) {
			this.#controller = new AbortController();
			if (this.aborted) this.#controller.abort(this.reason);
		}
		return this.#controller.signal;
	}

	/** From now on its client's leaving is noticed at once. Done within {@link DEFER_MS}, unless it is over before. */
	arm(): void {
		if (!this.#waiting) return;
		this.#leave(this.#waiting);
		this.record?.liftIdleTimeout();
		const { signal } = this.client;
		signal.addEventListener("abort", this);
		if (signal.aborted) this.abort();
		else if (this.#dueAt !== undefined) this.#setTimer(Math.max(1, this.#dueAt - performance.now()));
		if (this.#whenLate && !signal.aborted) this.#watchLate();
	}

	/**
	 * Times out `ms` from now; replaces what was set before.
	 * @param what completes "no … within 30 s"
	 * @param saidMs the time that is named, where that is another one
	 * @param by says who set it, behind that
	 */
	within(ms: number, what: string, saidMs = ms, by = ""): void {
		this.#awaited = { what, ms, saidMs, by };
		this.#setTimer(ms);
	}

	/** Calls `onLate` once, `ms` from now, unless what is waited for has come by then. Replaces what was set before. */
	late(ms: number, onLate: () => void): void {
		this.#whenLate = onLate;
		this.#lateMs = ms;
		this.#lateAt = performance.now() + ms;
		if (!this.#waiting || ms <= DEFER_MS) this.#watchLate();
	}

	/** The times that `within` and `late` gave begin anew: what is waited for is on its way. */
	rearm(): void {
		if (this.#awaited) this.#setTimer(this.#awaited.ms);
		if (this.#whenLate) this.late(this.#lateMs, this.#whenLate);
	}

	/**
	 * Times out after `ms` without a `touch()`, while waiting. One timer for the whole stream, set anew only when it fires:
	 * a timer per chunk would cost more than the chunk's parse.
	 */
	silence(ms: number): void {
		this.#clearLate();
		this.#awaited = undefined;
		this.#silenceMs = ms;
		this.touch();
		this.#setTimer(ms);
	}

	/** Bytes of the answer arrived, or are waited for from now on. Comments are none. */
	touch(): void {
		this.#lastByteAt = performance.now();
		this.#isWaiting = true;
	}

	/** Nothing is awaited from the upstream: the client reads slowly, which is its right. */
	stopWaiting(): void {
		this.#isWaiting = false;
	}

	/** How long the upstream has been waited for without a byte of the answer, ms; 0 while it is not waited for. */
	get silentMs(): number {
		return this.#isWaiting ? performance.now() - this.#lastByteAt : 0;
	}

	/** Stops the upstream's work now. */
	abort(): void {
		if (this.aborted) return;
		this.aborted = true;
		const listeners = this.#listeners;
		this.#listeners = [];
		this.#controller?.abort(this.reason);
		for (const listener of listeners) {
			if (typeof listener === "function") listener();
			else listener.handleEvent();
		}
	}

	/** Its client has left. */
	handleEvent(): void {
		this.abort();
	}

	/** The same, because nobody wants the answer any more: `why` says it of the attempt. */
	drop(why: string): void {
		this.#dropped = why;
		this.abort();
	}

	/** Ends the timer and lets go of the client's signal, for good: what is set later is not. */
	clear(): void {
		if (this.#isCleared) return;
		this.#isCleared = true;
		if (this.#timer) clearTimeout(this.#timer);
		this.#clearLate();
		if (this.#waiting) this.#leave(this.#waiting);
		else this.client.signal.removeEventListener("abort", this);
	}

	/** Why the signal was aborted: `cancelled` or `timeout`; undefined when it was not. */
	get failure(): Failure | undefined {
		if (this.client.signal.aborted) return CLIENT_GONE;
		if (this.#dropped !== undefined) return { kind: "cancelled", message: this.#dropped };
		return this.#timedOut ? { kind: "timeout", isOurs: true, message: this.#timedOut } : undefined;
	}

	/** Waits for its arming no longer. */
	#leave(waiting: Deadline[]): void {
		const last = waiting.pop()!;
		if (last !== this) {
			waiting[this.#place] = last;
			last.#place = this.#place;
		}
		this.#waiting = undefined;
		if (fresh.length > 0 || seen.length > 0) return;
		clearTimeout(timer);
		timer = undefined;
	}

	#expire(): void {
		const idleMs = this.silentMs;
		if (this.#awaited) {
			const { what, saidMs, by } = this.#awaited;
			this.#timeOut(`gave no ${what} within ${seconds(saidMs)}${by}`);
		} else if (idleMs >= this.#silenceMs) this.#timeOut(`sent no byte for ${seconds(this.#silenceMs)}`);
		else this.#setTimer(Math.max(1, this.#silenceMs - idleMs));
	}

	#timeOut(message: string): void {
		this.#timedOut = message;
		this.abort();
	}

	#watchLate(): void {
		clearTimeout(this.#lateTimer);
		if (this.#isCleared) return;
		this.#lateTimer = setTimeout(
			() => {
				const onLate = this.#whenLate;
				this.#whenLate = undefined;
				onLate?.();
			},
			Math.min(Math.max(1, this.#lateAt - performance.now()), LONGEST),
		);
	}

	#clearLate(): void {
		this.#whenLate = undefined;
		if (this.#lateTimer) clearTimeout(this.#lateTimer);
	}

	#setTimer(ms: number): void {
		if (this.#timer) clearTimeout(this.#timer);
		if (this.#waiting && ms > DEFER_MS) {
			this.#dueAt = performance.now() + ms;
			return;
		}
		this.#dueAt = undefined;
		if (!this.#isCleared) this.#timer = setTimeout(() => this.#expire(), Math.min(ms, LONGEST));
	}
}

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;

/** Arms all that were there at the look before. */
function look(): void {
	const due = seen;
	seen = fresh;
	fresh = [];
	timer = undefined;
	for (let one = due.at(-1); one; one = due.at(-1)) one.arm();
	if (seen.length > 0) timer ??= setTimeout(look, LOOK_MS);
}
