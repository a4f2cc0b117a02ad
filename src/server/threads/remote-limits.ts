/** A worker's limits where another process takes this one's place, which then counts them: it is asked over the main thread. */
import { HandedLimiter, type LimitsOwner, type ToldDecision } from "../../accounts/limits/handed-limits.ts";
import type { Limiter } from "../../accounts/limits/limiter.ts";
import type { SharedLimiter } from "../../accounts/limits/shared-limiter.ts";
import { Questions, type ToMain, type ToWorker } from "./link.ts";

/** What a worker asks that process. */
export class RemoteLimits {
	readonly #questions: Questions<ToMain, { readonly decision: ToldDecision | undefined }>;
	readonly #owner: LimitsOwner;

	constructor(send: (message: ToMain) => void) {
		this.#questions = new Questions(send);
		this.#owner = {
			take: async (limits) => (await this.#questions.ask({ type: "limits-take", limits }))?.decision,
			end: (end) => send({ type: "limits-end", end }),
		};
	}

	/** The worker's limiter: by what all threads count, and once that was handed on, which each call finds there, by the process that has it. */
	limiter(own: SharedLimiter): Limiter {
		return new HandedLimiter(own, this.#owner, undefined, () => own.handedOn);
	}

	/** The main thread's answer. */
	decided(message: Extract<ToWorker, { type: "limits-decided" }>): void {
		this.#questions.answered(message.id, message);
	}
}
