/** The idle timeout of connections, and lifting it while a call runs. */
import { Deferred } from "../proxy/deadline.ts";

/**
 * Seconds without a byte until Bun closes a connection (slow loris). Calls lift it for themselves ({@link IdleTimeoutLift}), and so do
 * streams of logs.
 */
export const IDLE_SECONDS = 30;

/** The part of Bun's server that is used here. */
export interface IdleTimeouts {
	timeout(request: Request, seconds: number): void;
}

/**
 * Lifts the connection's idle timeout while a call runs: a model may think for minutes before its first byte. A call that ends before
 * it is armed never lifts it.
 */
export class IdleTimeoutLift extends Deferred {
	constructor(
		private readonly server: IdleTimeouts,
		private readonly request: Request,
	) {
		super();
	}

	protected override armed(): void {
		this.server.timeout(this.request, 0);
	}

	/** The call has settled: from now on the connection is an idle one again. To be called once. */
	over(): void {
		if (this.end()) this.server.timeout(this.request, IDLE_SECONDS);
	}
}
