/** A call's way over its targets: attempts one after the other, now and then two at once, until one has begun to answer. */
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import type { SentSoFar } from "../openai/sent-so-far.ts";
import { FAILURES, type Failure, OF_ONE_CALL } from "../providers/failure.ts";
import type { Target } from "../providers/provider.ts";
import { Attempt, type AttemptOptions, type AttemptOwner } from "./attempt.ts";
import type { TargetFailure } from "./attempt-result.ts";
import { attemptTimeouts, longestWait, type TimedCall, usualTimeouts } from "./attempt-timeouts.ts";
import { accountFor, errorOfAttempt, failureOfKey, keepCached, mayOthers } from "./cached-calls.ts";
import type { CallPlan } from "./call-plan.ts";
import { type ModelQueue, queueSettings, type Slot, waitTurn } from "./call-queue.ts";
import type { CallRecord } from "./call-record.ts";
import { CLIENT_GONE } from "./deadline.ts";
import { Hedge } from "./hedge.ts";
import { FIRST_ACCOUNT, targetWith } from "./key-rotation.ts";
import { LateTargets } from "./late-targets.ts";
import { clientGone, Pause } from "./pause.ts";
import type { ProxyState } from "./proxy-state.ts";
import { CallResumes, canResume, type ResumedAttempt } from "./resume.ts";
import { budgetedStep, hasOthers as isAnyLeft, NOT_TRIED, type RetryStep, soonest, type TriedTarget } from "./retry.ts";
import { type Failed, Round, type RoundOwner, type RoundPart } from "./round.ts";
import type { Late } from "./second-target.ts";
import type { AttemptListener, StartedAnswer } from "./started-answer.ts";
import { SuspectCall } from "./suspect-call.ts";
import { failureOfTarget } from "./target-failure.ts";
import { type CallTimeouts, knownSoleLimits, timeLeft } from "./timeouts.ts";

/** With less left of the time that its client gave a call, ms, no further attempt is begun. */
const TOO_LATE = 5;

/** The attempts of one call. */
export class CallAttempts implements AttemptOwner {
	readonly #running: Attempt[] = [];
	#pause: Pause | undefined;
	#hedge: Hedge | undefined;
	#resumes: CallResumes | undefined;
	#suspicion: SuspectCall | undefined;
	#late: LateTargets | undefined;
	#slot: Slot | undefined;

	/** @param tried the plan's targets */
	constructor(
		readonly call: Call,
		private readonly plan: CallPlan,
		private readonly tried: TriedTarget[],
		private readonly record: CallRecord,
		private readonly state: ProxyState,
		private readonly client: AttemptListener,
	) {}

	/**
	 * Resolves once a target answers. Throws the RouterError of the last failure. What a failure allows, again at the same target or
	 * elsewhere, is in the table of failure kinds.
	 */
	async open(): Promise<StartedAnswer> {
		const { call, tried, record, state, plan } = this;
		const { alias } = plan;
		if (alias?.hedge) state.hedges(alias.name).call();
		if (tried.length > 1) state.freeHedges(tried[0]!.target.provider).call();
		const queue = this.#queue;
		if (queue) {
			const withinMs = Math.min(plan.attemptsMs, timeLeft(call));
			this.#slot = await waitTurn(alias!.name, queue, { call, withinMs, pause: this.#pauses, record });
		}
		// Behind a router second targets are left to that: it knows other places.
		const isSole = tried.length === 1 || alias?.hedge === false || plan.noWaiting || call.passed !== undefined;
		for (let index = 0, error: RouterError | undefined; ; ) {
			// Of a first attempt the deadline sees it soon enough.
			if (error && this.#pauses.isOver) throw clientGone();
			if (state.suspects.hasAny) index = await this.#suspect.admit(index);
			const result =
				isSole || this.#suspicion?.isSuspect
					? await this.#try(index)
					: await new Round(this.#roundOwner(), index).result;
			if ("head" in result) {
				this.#suspicion?.answered(result.target);
				// Beside it others may have been asked, or found that they could not be.
				if (tried.length > 1) record.servedBy(result.target);
				keepCached(state.targets, call, result.target, tried);
				record.isKnown = true;
				return result;
			}
			if (!error || !result.wasNotTried) {
				error = result.error;
				record.servedBy(tried[result.index]!.target);
			}
			const placed = await this.#suspicion?.next(result);
			if (placed !== undefined) {
				index = placed;
				continue;
			}
			const step = this.#next(result);
			if (!step) throw soonest(error, tried);
			if (step.waitMs > 0) {
				await this.#pauses.wait(step.waitMs);
				tried[step.target]!.waitedMs += step.waitMs;
			}
			index = step.target;
		}
	}

	/** The client is gone: whatever runs is ended, nothing more begins. */
	leave(): void {
		this.#pauses.end();
		for (const attempt of this.#running) attempt.drop(CLIENT_GONE.message);
	}

	/** Whether what this target has begun might go on elsewhere, so that what its client is sent must be kept. */
	canResume(target: Target): boolean {
		return canResume({ call: this.call, alias: this.plan.alias, targets: this.plan.targets }, target);
	}

	/** The rest of a stream that broke after its client was sent so much; undefined where it goes on nowhere. */
	async resume(broken: StartedAnswer, failure: Failure, sent: SentSoFar): Promise<StartedAnswer | undefined> {
		const { call, tried, record, state, plan } = this;
		this.#resumes ??= new CallResumes({
			terms: { call, alias: plan.alias, targets: plan.targets },
			tried,
			state,
			pause: this.#pauses,
			attempt: async (index, rest) => {
				const result = await this.#try(index, rest);
				return "head" in result ? result : result.failure;
			},
			suspicion: () => this.#suspicion,
			late: () => this.#lateTargets.add(),
		});
		const opened = await this.#resumes.after(broken, failure, sent);
		if (!opened) return undefined;
		record.step({ how: "resume", provider: broken.target.provider.name, failure: failure.kind });
		record.servedBy(opened.target);
		record.isKnown = true;
		return opened;
	}

	failed(attempt: Attempt, failure: Failure): TargetFailure {
		const { call, account = FIRST_ACCOUNT, part, index } = attempt.options;
		const { timeLeftMs, hasFirstToken, record } = attempt;
		const { keys } = this.state;
		const tried = this.tried[index]!;
		if (mayOthers(this.state, call, tried.target, account.index, failure)) tried.refusedKeys.push(account.index);
		keys.ended(tried.target, account, failureOfKey(call, tried.target, failure));
		const failed = { call, timeLeftMs, hasFirstToken, state: record?.state, part };
		const health = failureOfTarget(failure, failed, () => usualTimeouts(this.#timed, tried.target));
		const mayBeCause = failure.kind === "engine_died" || this.state.suspects.hasAny;
		const ended = { target: tried.target, record: record!, hasTokens: hasFirstToken };
		return {
			// Behind a router the router sees all that its engines do.
			failure: mayBeCause && !this.plan.noWaiting ? this.#suspect.failed(ended, failure, health) : health,
			// What one key was answered is not held against the target while another is in use.
			retryAfterMs: tried.hasOtherKey ? undefined : failure.retryAfterMs,
			outOfUseMs: keys.outOfUseMs(tried.target),
		};
	}

	keyAccepted({ options: { index, account } }: Attempt): void {
		this.state.keys.ended(this.tried[index]!.target, account!, undefined);
	}

	late({ options: { part } }: Attempt, late: Late): void {
		part!.round.late(part!, late);
	}

	/**
	 * One attempt.
	 * @param rest where it is for the rest of an answer
	 * @param leftOut what is left out of it, where the target has refused that in this call
	 */
	async #try(
		index: number,
		rest?: ResumedAttempt,
		part?: RoundPart,
		leftOut?: AttemptOptions["withoutAdditions"],
	): Promise<StartedAnswer | Failed> {
		const tried = this.tried[index]!;
		if (this.state.suspects.hasAny && this.#suspect.isKeptFrom(tried.target)) return this.#suspect.keptFrom(index);
		let attempt: Attempt | undefined;
		try {
			const isSole = this.tried.length === 1;
			const hasOthers = rest?.hasOthers ?? (!isSole && isAnyLeft(this.tried, index));
			const { provider, readiness } = tried.target;
			const isUsual = isSole && !hasOthers && !this.call.limits && !this.plan.alias?.timeouts && !readiness;
			const known = isUsual ? knownSoleLimits.get(provider) : undefined;
			const limits = known ?? attemptTimeouts(this.#timed, index, hasOthers);
			attempt = new Attempt(this.#options(index, limits, rest, part, leftOut));
			tried.running++;
			this.#running.push(attempt);
			if (part) {
				part.attempt = attempt;
				if (part.position > 0 && !hasOthers) part.round.extend((each) => longestWait(this.#timed, each));
			}
			const result = await attempt.open();
			if ("head" in result) return result;
			const { refused } = result;
			const { target, withoutAdditions } = attempt.options;
			if (refused && !withoutAdditions?.has(refused)) {
				const again = await this.#try(index, rest, part, new Set([...(withoutAdditions ?? []), refused]));
				// Its words alone are no proof: they may be about something else.
				if ("head" in again && !OF_ONE_CALL.has(refused)) this.state.refused.add(target.id, refused);
				return again;
			}
			tried.failed(result, attempt.waitedMs);
			return { index, failure: result, error: errorOfAttempt(this.call, result, target, tried), wasNotTried: false };
		} catch (thrown) {
			if (!(thrown instanceof RouterError)) throw thrown;
			return this.#notTried(index, thrown);
		} finally {
			if (attempt) {
				tried.running--;
				this.#running.splice(this.#running.indexOf(attempt), 1);
				if (!part?.round.hasSeveral) this.record.waitedMs += attempt.waitedMs;
			}
		}
	}

	/** Throws `upstream_auth` or `upstream_quota` where no key of the target's is in use. */
	#options(
		index: number,
		limits: CallTimeouts,
		rest: ResumedAttempt | undefined,
		part: RoundPart | undefined,
		leftOut: AttemptOptions["withoutAdditions"],
	): AttemptOptions {
		const { plan, state, client, record } = this;
		const { refused, targets } = state;
		const tried = this.tried[index]!;
		const call = rest?.call ?? this.call;
		const account = accountFor(state, this.call, tried, this.tried);
		const target = account === FIRST_ACCOUNT ? tried.target : targetWith(tried.target, account);
		return {
			call,
			target,
			index,
			account,
			limits,
			client,
			record,
			targets,
			plan,
			owner: this,
			part,
			counts: call.stream && this.canResume(target),
			withoutAdditions: leftOut ?? (refused.hasAny ? refused.of(target.id) : undefined),
			read: rest?.read,
			late: part && this.#hedges.lateAt(tried, limits),
		};
	}

	/** No attempt could be made. */
	#notTried(index: number, error: RouterError): Failed {
		const tried = this.tried[index]!;
		const kind = NOT_TRIED[error.errorCode];
		if (!kind) {
			this.record.servedBy(tried.target);
			throw error;
		}
		const failure = { kind, message: error.message };
		tried.notTried(failure, this.record);
		return { index, failure, error, wasNotTried: error.errorCode !== "unsupported_parameter" };
	}

	/** The next step, counted. */
	#next({ index, failure, wasNotTried }: Failed): RetryStep | undefined {
		if (this.call.passed?.isSpent) return undefined;
		const { retries, random } = this.state;
		const now = performance.now();
		const until = this.#until(now);
		const where = { noWaiting: this.plan.noWaiting, isRouted: this.call.hops.includes(",") };
		const tried = this.tried[index]!;
		tried.isUnhealthy = this.state.targets.of(tried.target.id).breaker.state !== "closed";
		if (FAILURES[failure.kind].elsewhere && now < until && !isAnyLeft(this.tried, index))
			this.#lateTargets.addOrRenew();
		const situation = { targets: this.tried, last: index, now, until, random: random(), ...where };
		const { step, isRefused } = budgetedStep(situation, retries);
		const facts = { provider: tried.target.provider.name, failure: failure.kind };
		if (isRefused) this.record.step({ how: "refused", ...facts });
		if (!step) return undefined;
		if (!wasNotTried) this.record.step({ how: step.target === index ? "retry" : "failover", ...facts });
		return step;
	}

	/** No attempt may begin from then on. */
	#until(now: number): number {
		return Math.min(this.call.startedAt + this.plan.attemptsMs, now + timeLeft(this.call) - TOO_LATE);
	}

	/** An attempt at one target, and others beside it where it is late. */
	#roundOwner(): RoundOwner {
		const startedAt = performance.now();
		const { record } = this;
		const { waitedMs } = record;
		return {
			attempt: (index, part) => this.#try(index, undefined, part),
			second: (late, { index, attempt }) =>
				this.#pauses.isOver ? undefined : this.#hedges.second(late, index, attempt?.record?.state.silentMs ?? 0),
			fault: (thrown) => {
				if (!(thrown instanceof RouterError)) record.onFault?.(record.id, thrown);
			},
			over: (won, first) => {
				// Several were waited for at once.
				record.waitedMs = waitedMs + performance.now() - startedAt;
				const { target } = this.tried[first]!;
				if ("head" in won && won.target.id !== target.id)
					record.step({ how: "hedge-won", provider: target.provider.name });
			},
		};
	}

	get #hedges(): Hedge {
		const { call, tried, record, state } = this;
		const { alias } = this.plan;
		this.#hedge ??= new Hedge({ call, alias, tried, record, state, queue: this.#queue });
		return this.#hedge;
	}

	get #suspect(): SuspectCall {
		const [{ call, tried, state, record }, pause, slot] = [this, this.#pauses, this.#slot];
		const until = () => this.#until(performance.now());
		const late = () => this.#lateTargets.add();
		this.#suspicion ??= new SuspectCall({ call, tried, state, record, pause, slot, until, late });
		return this.#suspicion;
	}

	get #lateTargets(): LateTargets {
		this.#late ??= new LateTargets(this.plan, this.tried, this.state);
		return this.#late;
	}

	get #pauses(): Pause {
		this.#pause ??= new Pause(this.call.client, this.record);
		return this.#pause;
	}

	get #timed(): TimedCall {
		const { call, tried, state } = this;
		return { call, alias: this.plan.alias, tried, states: state.targets };
	}

	/** In front of its model, where that takes only so many calls at once. */
	get #queue(): ModelQueue | undefined {
		const { alias } = this.plan;
		const settings = alias && queueSettings(alias);
		return settings && this.state.queue(alias.name, settings);
	}
}
