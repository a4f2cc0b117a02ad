/** Waiting that ends early when the client leaves. */
import { RouterError } from "../errors.ts";
import type { Client } from "../openai/call.ts";
import type { CallRecord } from "./call-record.ts";
import { CLIENT_GONE } from "./deadline.ts";

/** One call's pauses, one at a time. */
export class Pause {
	#isEnded = false;
	#wake: (() => void) | undefined;

	constructor(
		private readonly client: Client,
		private readonly record: CallRecord,
	) {}

	/** The client is gone. */
	get isOver(): boolean {
		return this.#isEnded || this.client.signal.aborted;
	}

	/** Ends the pause at hand, and every later one at once. */
	end(): void {
		this.#isEnded = true;
		this.#wake?.();
	}

	/** Waits so long, ms, which is not the router's own time. Throws `cancelled` where the client leaves. */
	async wait(ms: number): Promise<void> {
		const startedAt = performance.now();
		await this.until(undefined, ms);
		this.record.waitedMs += performance.now() - startedAt;
		if (this.isOver) throw clientGone();
	}

	/** True as soon as `done` resolves; false after `ms`, or when the client leaves. `done` must not reject. */
	async until(done: Promise<unknown> | undefined, ms: number): Promise<boolean> {
		if (this.isOver) return false;
		this.record.liftIdleTimeout();
		const { promise, resolve } = Promise.withResolvers<boolean>();
		const wake = () => resolve(false);
		const timer = setTimeout(wake, Math.min(ms, LONGEST));
		this.#wake = wake;
		this.client.signal.addEventListener("abort", wake);
		void done?.then(() => resolve(true));
		const isDone = await promise;
		clearTimeout(timer);
		this.client.signal.removeEventListener("abort", wake);
		return isDone;
	}
}

/** A timer of more ms (24.8 days) fires at once. */
const LONGEST = 2 ** 31 - 1;

/** Of a call whose client is gone. */
export const clientGone = (): RouterError => new RouterError("cancelled", CLIENT_GONE.message);
