/** How long a connection may be silent while its call runs. */
import { Deferred } from "../proxy/deferred.ts";
import { IDLE_SECONDS } from "./idle.ts";

/** What is used of Bun's server. */
export interface IdleTimeouts {
	timeout(request: Request, seconds: number): void;
}

/**
 * Lifts the connection's idle timeout while a call runs: a model may think for minutes before its first byte. Most that end within
 * 40 ms never need it, and to lift and restore it costs 0.8 µs.
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
