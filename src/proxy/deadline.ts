/** When an attempt must stop: its client left, or its time is up. One controller and one timer each. */
import type { Failure } from "../providers/provider.ts";

/** A timer of more ms (24.8 days) fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Aborts its signal at the first of the two. `clear()` must be called when the attempt is over. */
export class Deadline {
	readonly #controller = new AbortController();
	#timer: ReturnType<typeof setTimeout> | undefined;
	#limitMs = 0;
	#lastByteAt = 0;
	#isWaiting = true;
	#timedOut: string | undefined;
	#isCleared = false;

	constructor(private readonly client: AbortSignal) {
		client.addEventListener("abort", this.#leave);
		if (client.aborted) this.#leave();
	}

	/** What the attempt's `fetch` gets. */
	get signal(): AbortSignal {
		return this.#controller.signal;
	}

	/** Times out `ms` from now; replaces what was set before. `what` completes "no … within 30 s". */
	within(ms: number, what: string): void {
		this.#set(ms, () => this.#expire(`gave no ${what} within ${seconds(ms)}`));
	}

	/**
	 * Times out after `ms` without a `touch()`, while waiting. One timer for the whole stream, set anew only when it fires:
	 * a timer per chunk would cost more than the chunk's parse.
	 */
	silence(ms: number): void {
		this.#limitMs = ms;
		this.touch();
		this.#watch(ms);
	}

	/** Bytes arrived, or are now waited for. */
	touch(): void {
		this.#lastByteAt = performance.now();
		this.#isWaiting = true;
	}

	/** Nothing is awaited from the upstream: the client reads slowly, which is its right. */
	rest(): void {
		this.#isWaiting = false;
	}

	/** Stops the upstream's work now. */
	abort(): void {
		this.#controller.abort();
	}

	/** Ends the timer and lets go of the client's signal, for good: what is set later is not. */
	clear(): void {
		this.#isCleared = true;
		clearTimeout(this.#timer);
		this.client.removeEventListener("abort", this.#leave);
	}

	/** Why the signal was aborted: `cancelled` or `timeout`; undefined when it was not. */
	get failure(): Failure | undefined {
		if (this.client.aborted) return { kind: "cancelled", message: "the client left" };
		return this.#timedOut ? { kind: "timeout", isOurs: true, message: this.#timedOut } : undefined;
	}

	readonly #leave = (): void => this.#controller.abort();

	#expire(message: string): void {
		this.#timedOut = message;
		this.#controller.abort();
	}

	#watch(ms: number): void {
		this.#set(ms, () => {
			const idle = this.#isWaiting ? performance.now() - this.#lastByteAt : 0;
			if (idle >= this.#limitMs) this.#expire(`sent no byte for ${seconds(this.#limitMs)}`);
			else this.#watch(Math.max(1, this.#limitMs - idle));
		});
	}

	#set(ms: number, expire: () => void): void {
		clearTimeout(this.#timer);
		if (!this.#isCleared) this.#timer = setTimeout(expire, Math.min(ms, LONGEST));
	}
}

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;
