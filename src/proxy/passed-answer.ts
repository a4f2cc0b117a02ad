/** The answer of an operation that is passed on: its bytes, as they come, and what they say of its usage. */

import { AnswerEnds } from "../openai/answer-ends.ts";
import type { Failure } from "../providers/failure.ts";
import type { ByteSource, UpstreamAnswer } from "../providers/provider.ts";
import type { AttemptResult } from "./attempt-result.ts";
import type { Deadline } from "./deadline.ts";
import { transportFailure } from "./net/transport-failure.ts";
import type { CallTimeouts } from "./timeouts.ts";

/** A source of the same bytes, which ends its attempt with them. */
export class PassedAnswer implements ByteSource {
	readonly ends = new AnswerEnds();
	/** Why it broke off. */
	failure: Failure | undefined;
	#isOver = false;

	/** What is no text says nothing of its usage. */
	readonly #isRead: boolean;

	/** @param ended called once */
	constructor(
		private readonly head: UpstreamAnswer,
		private readonly deadline: Deadline,
		{ stallMs, totalMs }: Pick<CallTimeouts, "stallMs" | "totalMs">,
		private readonly ended: (end: AttemptResult, failure: Failure | undefined) => void,
	) {
		const type = head.headers.get("content-type")?.toLowerCase() ?? "";
		const isEvents = type.startsWith("text/event-stream");
		this.#isRead = isEvents || type.includes("json");
		// Some servers send the head of a picture before they begin with it.
		deadline.silence(isEvents ? stallMs : Math.max(stallMs, totalMs));
	}

	/** Resolves with undefined at its end, good or bad: `failure` tells which. Never rejects. */
	async read(): Promise<Uint8Array | undefined> {
		if (this.#isOver) return undefined;
		this.deadline.touch();
		try {
			const chunk = await this.head.body.read();
			// Until the next one is asked for, its client is what is slow.
			this.deadline.stopWaiting();
			if (!chunk) this.#end(undefined);
			else if (this.#isRead) this.ends.push(chunk);
			return chunk;
		} catch (thrown) {
			this.#end(this.deadline.failure ?? transportFailure(thrown, true));
			return undefined;
		}
	}

	/** Nobody reads on. */
	leave(failure: Failure): void {
		this.#end(failure);
		this.deadline.abort();
	}

	#end(failure: Failure | undefined): void {
		if (this.#isOver) return;
		this.#isOver = true;
		this.failure = failure;
		this.deadline.clear();
		const { tokens, cost } = this.ends.usage();
		this.ended({ status: this.head.status, failure: failure?.kind, tokens, cost }, failure);
	}
}
