/**
 * The record of one call while it runs. An attempt closes exactly once, the call settles exactly once, however it ends: both
 * are guarded here, so that the pipeline may say it twice.
 */

import type { Admission } from "../accounts/limits/admission.ts";
import type { AnswerToBill, CallCost } from "../accounts/usage/call-cost.ts";
import type { EnergyMeter } from "../accounts/usage/energy-meters.ts";
import type { Meter } from "../accounts/usage/hardware-clocks.ts";
import type { Operation } from "../openai/operations.ts";
import { computedTokens, type Tokens } from "../openai/usage.ts";
import type { Target } from "../providers/provider.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { OpenAttempt, RoutingState, Work } from "../routing/target-state.ts";
import type { AttemptClosed, AttemptStep, Bill, CallSettled, Queued, Sink } from "../telemetry/events.ts";
import type { CallTrace, TracedAttempt } from "../telemetry/otel/call-trace.ts";
import type { KeptAnswer } from "../telemetry/otel/span-contents.ts";
import type { AttemptSpan } from "../telemetry/otel/span-context.ts";
import type { AttemptResult } from "./attempt-result.ts";
import type { AnswerListener, ClientConnection } from "./call-client.ts";

/** Labels kept as known: the metrics hold 500 in all, and configured names must find room. */
const MOST_ANSWERED = 100;

/** An attempt under way. */
export interface AttemptRecord {
	readonly record: CallRecord;
	/** Of the call's attempts, from 1. */
	readonly number: number;
	readonly target: Target;
	readonly targets: RoutingState;
	/** What is reported of it to its target's state. */
	readonly state: OpenAttempt;
	readonly meter: Meter | undefined;
	/** Of the energy of its engine. */
	readonly energy: EnergyMeter | undefined;
	readonly startedAt: number;
	readonly isSecond: boolean | undefined;
	/** Of a trace that is sent. */
	readonly span: AttemptSpan | undefined;
	isOpen: boolean;
}

/** What becomes a `CallSettled`. The public fields are filled in on the way. */
export class CallRecord {
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
	/** USD; undefined where nobody knows. */
	costUsd: number | undefined;
	/** What its attempts so far got of the energy of their engines, J; undefined where nobody says what those draw. */
	energyJ: number | undefined;
	/** The tokens are a guess, or partly. */
	isEstimated = false;
	/** The client left before the answer was whole: it says nothing of how long answers are. */
	isCutShort = false;
	/** Whose call it is; the name is shown. */
	caller: { readonly id: string; readonly name: string; readonly team?: string | undefined } | undefined;
	user: string | undefined;
	reason: string | undefined;
	dropped = 0;
	/** What the cache did; undefined where there is none. */
	cache: CallSettled["cache"];
	/** What it is answered, kept for its span; undefined where nobody wants it. */
	kept: KeptAnswer | undefined;
	/** Hears the answer, too. */
	listener: AnswerListener | undefined;
	/** The client has left, and the call goes on for others. */
	clientLeft = false;
	/** The call has ended. */
	isSettled = false;
	#isIdleTimeoutLifted = false;
	/** Why its targets were chosen: for the client that asked for it, and for the ledger. */
	explanation: string | undefined;
	decision: object | undefined;
	snapshot: string | undefined;
	/** Headers that every answer to this call has, also an error: the state of its limits. */
	headers: Readonly<Record<string, string>> | undefined;
	/** The limits and the budget that the call was let through; they are settled first. */
	admission: Admission | undefined;
	/** What the call costs; there once it is known where it may go. */
	cost: CallCost | undefined;
	/** Of its client; undefined where that can't be held open (tests). Set before the cache is asked, since to wait there may take long, too. */
	connection: ClientConnection | undefined;
	/** Labels of models that have answered: the call's is added where it `isKnown` and there is room. */
	answeredModels: Set<string> | undefined;
	/** The answer's `usage` says what the call cost. */
	tellsCost = false;
	/** Time spent waiting for others, ms: for the client's body, and for upstreams up to their first bytes. */
	waitedMs = 0;
	/** Fields of the call that its upstream has no form for, and that were left out. */
	droppedFields: readonly string[] | undefined;
	/** Targets that the call was not sent to when it was their turn. */
	skipped: CallSettled["skipped"];
	/** Hears of a fault of the router's own code after the answer has begun. */
	onFault: ((id: string, thrown: unknown) => void) | undefined;
	/** When the first piece of the answer was here, on `performance.now()`'s clock. */
	firstTokenAt: number | undefined;
	/** Undefined where nothing is traced. */
	trace: CallTrace | undefined;
	readonly #hooks: (() => void)[] = [];
	#target: string | undefined;
	#bill: Bill | undefined;
	/** What its key pays for attempts that failed, USD. */
	#failedUsd = 0;
	#meters: Map<string, Meter> | undefined;

	constructor(
		readonly id: string,
		public operation: Operation,
		/** `performance.now()` at the call's arrival. */
		readonly startedAt: number,
		/** Called in this order. */
		private readonly sinks: readonly Partial<Sink>[],
	) {
		for (const sink of sinks) sink.callStarted?.();
	}

	/** It is known whose it is, and what its model's name leads to. @param isKnown see the field */
	named(found: { readonly reason: string | undefined; readonly label: string }, isKnown: boolean): void {
		this.reason = found.reason;
		this.label = found.label;
		this.isKnown = isKnown;
		for (const sink of this.sinks) sink.callNamed?.(this);
	}

	/** Since the call came in, ms. */
	get totalMs(): number {
		return performance.now() - this.startedAt;
	}
	/** From then until the first piece of the answer was here, ms. */
	get firstTokenMs(): number | undefined {
		return this.firstTokenAt === undefined ? undefined : this.firstTokenAt - this.startedAt;
	}

	/**
	 * Begins an attempt.
	 * @param targets what is known of all targets
	 * @param isSecond it runs beside another one
	 * @param request gets the headers by which its upstream continues the trace
	 */
	openAttempt(
		target: Target,
		targets: RoutingState,
		isStream: boolean,
		work?: Work,
		isSecond = false,
		request?: TracedAttempt,
	): AttemptRecord {
		this.attempts++;
		this.#target = target.id;
		this.provider = target.provider.name;
		this.agent = target.agent;
		this.upstreamModel = target.model;
		const meter = this.cost?.isMetered ? this.cost.meter(target) : undefined;
		if (meter) {
			this.#meters ??= new Map();
			this.#meters.set(target.id, meter);
		}
		const { id, agent, engine = id }: Target & Pick<RouteTarget, "engine"> = target;
		const energy = agent === undefined ? undefined : this.cost?.meterEnergy(engine);
		const call = { operation: this.operation, stream: isStream };
		const span = request && this.trace?.attempt(request, call, target, isSecond);
		const startedAt = performance.now();
		const state = targets.opened(target.id, isStream, work);
		const { attempts: number } = this;
		return { record: this, number, target, targets, state, meter, energy, startedAt, isSecond, span, isOpen: true };
	}

	/** Ends an attempt; the first call counts. */
	closeAttempt(
		attempt: AttemptRecord,
		{ status, failure, tokens, cost, isUnused, unbilled, isOtherForm, target: health, firstTokenAt }: AttemptResult,
	): void {
		if (!attempt.isOpen) return;
		attempt.isOpen = false;
		const { target, meter, state, span, startedAt } = attempt;
		meter?.stop();
		if (span && firstTokenAt !== undefined) span.firstTokenMs = firstTokenAt - startedAt;
		const joules = attempt.energy?.end(computedTokens(tokens));
		if (joules !== undefined) this.energyJ = (this.energyJ ?? 0) + joules;
		const isUnbilled = unbilled !== undefined || isOtherForm === true;
		const usd = isUnused || isUnbilled ? this.#ownCost(attempt, tokens, cost, unbilled) : cost;
		const isCharged = isOtherForm && !isUnused && !attempt.isSecond && this.caller !== undefined;
		if (isCharged) this.#failedUsd += usd ?? 0;
		const closed: AttemptClosed = {
			callId: this.id,
			number: attempt.number,
			provider: target.provider.name,
			target: target.id,
			agent: target.agent,
			failure,
			status,
			ms: performance.now() - startedAt,
			beganMs: startedAt - this.startedAt,
			tokens: tokens?.uncounted ? undefined : tokens,
			cost: usd,
			isSecond: attempt.isSecond || undefined,
			isUnused: isUnused || undefined,
			isUnbilled: (isUnbilled && !isCharged) || undefined,
			isCharged: isCharged || undefined,
			span,
		};
		for (const sink of this.sinks) {
			sink.attemptClosed?.(closed);
			if (failure) sink.attemptFailed?.(closed);
			if (target.agent !== undefined) sink.agentAttemptClosed?.(closed);
		}
		state.closed({
			status,
			failure: health?.failure ?? failure,
			retryAfterMs: health?.retryAfterMs,
			tokens: tokens?.uncounted ? undefined : tokens?.output,
		});
		if (health?.outOfUseMs !== undefined) attempt.targets.pause(target.id, health.outOfUseMs, "its key is out of use");
	}

	/**
	 * What an answer cost that its client did not get, USD: where its upstream did not say, its prompt, at least, was read.
	 * @param written tokens of it as far as its text shows them; undefined where it is complete, or none of it came
	 */
	#ownCost(
		{ target, meter }: AttemptRecord,
		tokens: Tokens | undefined,
		cost: number | undefined,
		written: number | undefined,
	): number | undefined {
		if (cost !== undefined) return cost;
		const answer = { target, tokens, upstreamCost: cost, gpuMs: meter?.ms() ?? 0 };
		const isCounted = written === undefined;
		return this.cost?.bill({ ...answer, isCounted, guess: () => written ?? 0 }).usd;
	}

	/** The call goes on after an attempt that failed, or beside one that is late. */
	step(step: AttemptStep): void {
		this.trace?.followed(step);
		for (const sink of this.sinks) sink.attemptFollowed?.(step);
	}

	/** The call has waited in the queue of its model, or was refused there. */
	queued(what: Queued): void {
		this.trace?.queued(what);
		for (const sink of this.sinks) sink.queued?.(what);
	}

	/** Whom the client, the log and the metrics see: of the last attempt, and at the end of the one that answered. */
	servedBy({ id, provider, agent, model }: Target): void {
		this.#target = id;
		this.provider = provider.name;
		this.agent = agent;
		this.upstreamModel = model;
	}

	/**
	 * The answer is there, or as much of it as the client wanted: puts down what it used and what that costs. Of attempts that failed
	 * only those are added whose answers were of another form than was asked for.
	 * @param cost USD, where the upstream says so itself
	 * @param guess tokens of the answer as far as its text shows them; where the upstream has counted none
	 * @param isCounted false: the client left, and what was counted so far may not be all that it was sent
	 * @param units what else is priced of a call that is passed on
	 */
	bill(
		target: Target,
		tokens: Tokens | undefined,
		cost: number | undefined,
		guess: () => number,
		isCounted = true,
		units?: AnswerToBill["units"],
	): void {
		const gpuMs = this.#meters?.get(target.id)?.ms() ?? 0;
		const billed = this.cost!.bill({ target, tokens, upstreamCost: cost, gpuMs, isCounted, guess, units });
		this.tokens = billed.tokens;
		this.costUsd = this.#failedUsd > 0 ? (billed.usd ?? 0) + this.#failedUsd : billed.usd;
		this.#bill = billed.bill;
		this.isEstimated = billed.bill.isEstimated;
	}

	/**
	 * From now on until the call settles its client's connection may be silent: a model may think for minutes before its first byte.
	 * Said by whatever waits for longer than a moment. Most calls end before that, and to lift and restore the timeout costs each of them.
	 */
	liftIdleTimeout(): void {
		if (!this.connection || this.#isIdleTimeoutLifted || this.isSettled) return;
		this.#isIdleTimeoutLifted = true;
		this.connection.server.timeout(this.connection.request, 0);
	}

	/** To be done once, when the call has settled; at once where it has. */
	atEnd(hook: () => void): void {
		if (this.isSettled) hook();
		else this.#hooks.push(hook);
	}

	/** Ends the call with the status its client saw, or would have seen. The first call counts. */
	settle(status: number, error?: string): void {
		if (this.isSettled) return;
		this.isSettled = true;
		const { id, operation, stream, requested, label, isKnown, provider, agent, attempts, tokens } = this;
		const cost = this.costUsd ?? (this.#failedUsd || undefined);
		const { admission, connection, answeredModels, caller, user, reason, cache, clientLeft } = this;
		// A guess of the router's own says nothing of what answers come to, nor does what failed before.
		const isConclusive = !this.isCutShort && !this.isEstimated && this.#failedUsd === 0;
		admission?.settle({ tokens, usd: cost, isConclusive });
		const settled: CallSettled = {
			id,
			operation,
			stream,
			requested,
			model: isKnown ? label : "unknown",
			provider,
			agent,
			status: clientLeft ? 499 : status,
			attempts,
			firstTokenMs: this.firstTokenAt === undefined ? undefined : this.firstTokenAt - this.startedAt,
			ms: performance.now() - this.startedAt,
			tokens,
			cost,
			energyJ: this.energyJ,
			bill: this.#bill,
			key: caller?.name,
			keyId: caller?.id,
			team: caller?.team,
			user,
			target: this.#target,
			decision: this.decision,
			snapshot: this.snapshot,
			cache,
			reason,
			error: clientLeft ? "cancelled" : error,
			dropped: this.dropped || undefined,
			droppedFields: this.droppedFields,
			skipped: this.skipped,
			trace: this.trace?.settled(status),
		};
		for (const sink of this.sinks) sink.callSettled?.(settled);
		if (this.#isIdleTimeoutLifted) connection!.server.timeout(connection!.request, connection!.idleSeconds);
		if (isKnown && answeredModels && answeredModels.size < MOST_ANSWERED) answeredModels.add(label);
		for (const hook of this.#hooks) hook();
	}
}
