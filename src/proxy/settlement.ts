/**
 * The record of one call while it runs. An attempt closes exactly once, the call settles exactly once, however it ends: both
 * are guarded here, so that the pipeline may say it twice.
 */
import type { Operation } from "../openai/call.ts";
import type { Tokens } from "../openai/usage.ts";
import type { Failure, Target } from "../providers/provider.ts";
import type { CallSettled, Sink } from "../telemetry/events.ts";

import type { Audience } from "./audience.ts";

/** Closes an attempt; the first call counts. */
export type CloseAttempt = (status?: number, failure?: Failure) => void;

/** What becomes a `CallSettled`. The public fields are filled in on the way. */
export class Settlement {
	requested: string | undefined;
	/** What the model is called in metrics: the route's label. Said only once `isKnown`, since clients choose names. */
	label = "unknown";
	/** The configuration has this name, or an upstream has answered for it. */
	isKnown = false;
	provider = "none";
	/** What the upstream of the last attempt calls the model. */
	upstreamModel: string | undefined;
	/** The agent that the last attempt went to. */
	agent: string | undefined;
	stream = false;
	attempts = 0;
	tokens: Tokens | undefined;
	cost: number | undefined;
	key: string | undefined;
	user: string | undefined;
	reason: string | undefined;
	dropped = 0;
	/** What the cache did; undefined where there is none. */
	cache: CallSettled["cache"];
	/** Hears the answer, too. */
	audience: Audience | undefined;
	/** The client has left, and the call goes on for others. */
	hasLeft = false;
	/** Time spent waiting for others, ms: for the client's body, and for upstreams up to their first bytes. */
	waitedMs = 0;
	/** Hears of a fault of the router's own code after the answer has begun. */
	onFault: ((thrown: unknown) => void) | undefined;
	/** Called once, when the call has settled. */
	onSettled: (() => void) | undefined;
	#firstTokenMs: number | undefined;
	#isSettled = false;

	constructor(
		readonly id: string,
		readonly operation: Operation,
		/** `performance.now()` at the call's arrival. */
		readonly startedAt: number,
		private readonly sink: Sink,
	) {
		sink.callStarted();
	}

	/** Begins an attempt. */
	attempt(target: Target): CloseAttempt {
		this.attempts++;
		this.provider = target.provider.name;
		this.agent = target.agent;
		this.upstreamModel = target.model;
		this.sink.attemptOpened?.(target.id);
		const startedAt = performance.now();
		let isOpen = true;
		return (status, failure) => {
			if (!isOpen) return;
			isOpen = false;
			const { id: callId } = this;
			const ms = performance.now() - startedAt;
			this.sink.attemptClosed({
				callId,
				provider: target.provider.name,
				target: target.id,
				agent: target.agent,
				failure: failure?.kind,
				status,
				ms,
			});
		};
	}

	/** The first piece of the answer arrived. */
	firstToken(): void {
		this.#firstTokenMs ??= performance.now() - this.startedAt;
	}

	/** What the router itself has cost the call so far, ms. */
	get overheadMs(): number {
		return performance.now() - this.startedAt - this.waitedMs;
	}

	/** Ends the call with the status its client saw, or would have seen. The first call counts. */
	settle(status: number, error?: string): void {
		if (this.#isSettled) return;
		this.#isSettled = true;
		const { id, operation, stream, requested, label, isKnown, provider, agent, attempts, tokens, cost } = this;
		const { key, user, reason, cache, hasLeft } = this;
		this.sink.callSettled({
			id,
			operation,
			stream,
			requested,
			model: isKnown ? label : "unknown",
			provider,
			agent,
			status: hasLeft ? 499 : status,
			attempts,
			firstTokenMs: this.#firstTokenMs,
			ms: performance.now() - this.startedAt,
			tokens,
			cost,
			key,
			user,
			cache,
			reason,
			error: hasLeft ? "cancelled" : error,
			dropped: this.dropped || undefined,
		});
		this.onSettled?.();
	}
}
