/** How long a connection may be silent while its call runs. */
import { begin, end, type Young } from "../proxy/young.ts";
import { IDLE_SECONDS } from "./idle.ts";

/** What is used of Bun's server. */
export interface Timeouts {
	timeout(request: Request, seconds: number): void;
}

/**
 * Lifts the connection's idle timeout while a call runs: a model may think for minutes before its first byte. Most that end within
 * 40 ms never need it, and to lift and restore it costs 0.8 µs.
 */
export class Patience implements Young {
	#isYoung = true;

	constructor(
		private readonly server: Timeouts,
		private readonly request: Request,
	) {
		begin(this);
	}

	grow(): void {
		if (!this.#isYoung) return;
		this.#isYoung = false;
		end();
		this.server.timeout(this.request, 0);
	}

	/** The call has settled: from now on the connection is an idle one again. To be called once. */
	over(): void {
		if (!this.#isYoung) {
			this.server.timeout(this.request, IDLE_SECONDS);
			return;
		}
		this.#isYoung = false;
		end();
	}
}
