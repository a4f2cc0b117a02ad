/**
 * The record of one call while it runs. An attempt closes exactly once, the call settles exactly once, however it ends: both
 * are guarded here, so that the pipeline may say it twice.
 */
import type { Operation } from "../openai/call.ts";
import type { Tokens } from "../openai/usage.ts";
import type { Failure, Target } from "../providers/provider.ts";
import type { AttemptStep, CallSettled, Queued, Sink } from "../telemetry/events.ts";
import type { Audience } from "./audience.ts";

/** How an attempt ended. */
export interface RecordEnd {
	/** The upstream's; absent where it gave none. */
	readonly status?: number | undefined;
	readonly failure?: Failure | undefined;
	/** What it cost, whether or not its answer was used. */
	readonly tokens?: Tokens | undefined;
	readonly cost?: number | undefined;
}

/** What an attempt tells of itself while it is under way. */
export interface OpenRecord {
	/** The first piece of a streamed answer is here; `isTypical` where it took no longer for a reason of its own. */
	firstToken(isTypical: boolean): void;
	/** The first call counts. */
	closed(end: RecordEnd): void;
}

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
	/** Why its targets were chosen, as the client asked to be told. */
	explanation: string | undefined;
	/** Time spent waiting for others, ms: for the client's body, and for upstreams up to their first bytes. */
	waitedMs = 0;
	/** Hears of a fault of the router's own code after the answer has begun. */
	onFault: ((thrown: unknown) => void) | undefined;
	/** When the first piece of the answer was here, as `performance.now()` tells. */
	firstTokenAt: number | undefined;
	readonly #hooks: (() => void)[] = [];
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
	attempt(target: Target): (end: RecordEnd) => void {
		this.attempts++;
		this.servedBy(target);
		this.sink.attemptOpened?.(target.id);
		const startedAt = performance.now();
		let isOpen = true;
		return ({ status, failure, tokens, cost }) => {
			if (!isOpen) return;
			isOpen = false;
			this.sink.attemptClosed({
				callId: this.id,
				provider: target.provider.name,
				target: target.id,
				agent: target.agent,
				failure: failure?.kind,
				status,
				ms: performance.now() - startedAt,
				tokens,
				cost,
			});
		};
	}

	/** The call goes on after an attempt that failed, or beside one that is late. */
	step(step: AttemptStep): void {
		this.sink.attemptFollowed?.(step);
	}

	/** The call has stood in line before its model, or was not let in. */
	queued(what: Queued): void {
		this.sink.queued?.(what);
	}

	/** Whom the client, the log and the metrics see: of the last attempt, and at the end of the one that answered. */
	servedBy({ provider, agent, model }: Target): void {
		this.provider = provider.name;
		this.agent = agent;
		this.upstreamModel = model;
	}

	/** To be done once, when the call has settled. */
	atEnd(hook: () => void): void {
		this.#hooks.push(hook);
	}

	/** What the router itself has cost the call so far, ms. */
	get overheadMs(): number {
		return Math.max(0, performance.now() - this.startedAt - this.waitedMs);
	}

	/** The call has ended. */
	get isSettled(): boolean {
		return this.#isSettled;
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
			firstTokenMs: this.firstTokenAt === undefined ? undefined : this.firstTokenAt - this.startedAt,
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
		for (const hook of this.#hooks) hook();
	}
}
