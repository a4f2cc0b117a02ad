/** When an attempt must stop: its client left, or its time is up. One controller and one timer each. */
import type { Failure } from "../providers/provider.ts";
import { DEFER_MS, Deferred } from "./deferred.ts";

/** A timer of more ms (24.8 days) fires at once. */
const LONGEST = 2 ** 31 - 1;

/** What an attempt ends in whose client is gone. */
export const LEFT: Failure = { kind: "cancelled", message: "the client left" };

/** Whose call it is: the signal is aborted when the client leaves. Asked for late, since Bun makes it only then. */
export interface Client {
	readonly signal: AbortSignal;
}

/** Aborts its signal at the first of the two. `clear()` must be called when the attempt is over. */
export class Deadline extends Deferred {
	readonly #controller = new AbortController();
	#timer: ReturnType<typeof setTimeout> | undefined;
	#limitMs = 0;
	#lastByteAt = 0;
	#isWaiting = true;
	#timedOut: string | undefined;
	#dropped: string | undefined;
	#again: (() => void) | undefined;
	#isCleared = false;
	/** What its timer does, and when, while it is too young to have one. */
	#expire: (() => void) | undefined;
	#dueAt = 0;
	#whenLate: (() => void) | undefined;
	#lateMs = 0;
	#lateAt = 0;
	#lateTimer: ReturnType<typeof setTimeout> | undefined;

	constructor(private readonly client: Client) {
		super();
	}

	/** From now on its client's leaving is noticed at once. */
	protected override armed(): void {
		const { signal } = this.client;
		signal.addEventListener("abort", this.#leave);
		if (signal.aborted) this.#leave();
		else if (this.#expire) this.#set(Math.max(1, this.#dueAt - performance.now()), this.#expire);
		if (this.#whenLate && !signal.aborted) this.#watchLate();
	}

	/** What the attempt's `fetch` gets. */
	get signal(): AbortSignal {
		return this.#controller.signal;
	}

	/** Times out `ms` from now; replaces what was set before. `what` completes "no … within 30 s"; `told` ms, where that is another time; `by` says who set it. */
	within(ms: number, what: string, told = ms, by = ""): void {
		this.#again = () => this.#set(ms, () => this.#timeOut(`gave no ${what} within ${seconds(told)}${by}`));
		this.#again();
	}

	/** Calls `tell` once, `ms` from now, unless what is waited for has come by then. Replaces what was set before. */
	late(ms: number, tell: () => void): void {
		this.#whenLate = tell;
		this.#lateMs = ms;
		this.#lateAt = performance.now() + ms;
		if (!this.isUnarmed || ms <= DEFER_MS) this.#watchLate();
	}

	/** The times that `within` and `late` gave begin anew: what is waited for is on its way. */
	rearm(): void {
		this.#again?.();
		if (this.#whenLate) this.late(this.#lateMs, this.#whenLate);
	}

	/**
	 * Times out after `ms` without a `touch()`, while waiting. One timer for the whole stream, set anew only when it fires:
	 * a timer per chunk would cost more than the chunk's parse.
	 */
	silence(ms: number): void {
		this.#isInTime();
		this.arm();
		this.#again = undefined;
		this.#limitMs = ms;
		this.touch();
		this.#watch(ms);
	}

	/** Bytes of the answer arrived, or are waited for from now on. Comments are none. */
	touch(): void {
		this.#lastByteAt = performance.now();
		this.#isWaiting = true;
	}

	/** Nothing is awaited from the upstream: the client reads slowly, which is its right. */
	rest(): void {
		this.#isWaiting = false;
	}

	/** How long the upstream has been waited for without a byte of the answer, ms; 0 while it is not waited for. */
	get quietMs(): number {
		return this.#isWaiting ? performance.now() - this.#lastByteAt : 0;
	}

	/** Stops the upstream's work now. */
	abort(): void {
		this.#controller.abort();
	}

	/** The same, because nobody wants the answer any more: `why` says it of the attempt. */
	drop(why: string): void {
		this.#dropped = why;
		this.#controller.abort();
	}

	/** Ends the timer and lets go of the client's signal, for good: what is set later is not. */
	clear(): void {
		if (this.#isCleared) return;
		this.#isCleared = true;
		clearTimeout(this.#timer);
		this.#isInTime();
		if (this.end()) this.client.signal.removeEventListener("abort", this.#leave);
	}

	/** Why the signal was aborted: `cancelled` or `timeout`; undefined when it was not. */
	get failure(): Failure | undefined {
		if (this.client.signal.aborted) return LEFT;
		if (this.#dropped !== undefined) return { kind: "cancelled", message: this.#dropped };
		return this.#timedOut ? { kind: "timeout", isOurs: true, message: this.#timedOut } : undefined;
	}

	readonly #leave = (): void => this.#controller.abort();

	#timeOut(message: string): void {
		this.#timedOut = message;
		this.#controller.abort();
	}

	#watchLate(): void {
		clearTimeout(this.#lateTimer);
		if (this.#isCleared) return;
		this.#lateTimer = setTimeout(
			() => {
				const tell = this.#whenLate;
				this.#whenLate = undefined;
				tell?.();
			},
			Math.min(Math.max(1, this.#lateAt - performance.now()), LONGEST),
		);
	}

	#isInTime(): void {
		this.#whenLate = undefined;
		if (this.#lateTimer) clearTimeout(this.#lateTimer);
	}

	#watch(ms: number): void {
		this.#set(ms, () => {
			const idle = this.quietMs;
			if (idle >= this.#limitMs) this.#timeOut(`sent no byte for ${seconds(this.#limitMs)}`);
			else this.#watch(Math.max(1, this.#limitMs - idle));
		});
	}

	#set(ms: number, expire: () => void): void {
		clearTimeout(this.#timer);
		if (this.isUnarmed && ms > DEFER_MS) {
			this.#expire = expire;
			this.#dueAt = performance.now() + ms;
			return;
		}
		this.#expire = undefined;
		if (!this.#isCleared) this.#timer = setTimeout(expire, Math.min(ms, LONGEST));
	}
}

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;
