/** A call's way over its targets: attempts one after the other, now and then two at once, until one has begun to answer. */
import type { ModelConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { isReasoning } from "../openai/reasoning.ts";
import type { SentSoFar } from "../openai/sent-so-far.ts";
import { errorOf } from "../providers/failure-to-error.ts";
import type { Failure, Target } from "../providers/provider.ts";
import type { Work } from "../routing/target-state.ts";
import { Attempt, type AttemptListener, type AttemptOptions, type StartedAnswer, timeLeft } from "./attempt.ts";
import { openRecord } from "./attempt-record.ts";
import type { CallQueue } from "./call-queue.ts";
import type { CallRecord, OpenRecord } from "./call-record.ts";
import { type Planned, TriedTarget, UNASKED } from "./candidate.ts";
import { LEFT } from "./deadline.ts";
import { Pause } from "./pause.ts";
import type { ProxyState } from "./proxy-state.ts";
import { left, standInLine } from "./queue-wait.ts";
import { canResume, isPassing, type Rest, ResumeProgress, type ResumeTerms, resume } from "./resume.ts";
import { resumedDecoder } from "./resume-decoder.ts";
import { hasOthers as isAnyLeft, isUntried, nextStep, type RetryStep } from "./retry.ts";
import { type Ask, Round, type RoundTarget } from "./round.ts";
import { isFree, isLoading, isWell, type Late, lateOf, mayRelieve } from "./second-target.ts";
import { type ResumeSpend, spentAfter } from "./spent.ts";
import { type CallTimeouts, limitsOf, longestAnswer, soleLimits } from "./timeouts.ts";

/** Where a call may run, and under which terms. */
export interface CallPlan {
	/** In the order to try. */
	readonly targets: readonly Planned[];
	/** What it brings to whichever it goes to; absent where there was nothing to choose. */
	readonly work?: Work | undefined;
	/** What `models:` says of the name besides. */
	readonly alias?: ModelConfig | undefined;
	/** From the call's arrival: how long attempts may be begun, ms. */
	readonly attemptsMs: number;
	/** See Situation. */
	readonly isImpatient?: boolean | undefined;
}

/** With less left of the time that its client gave a call, ms, no further attempt is begun. */
const TOO_LATE = 5;

/** An attempt that gave no answer. */
export interface Failed {
	readonly index: number;
	readonly failure: Failure;
	readonly error: RouterError;
	/** No attempt was made. */
	readonly isUnasked: boolean;
}

/** The attempts of one call. */
export class Attempts {
	readonly #candidates: readonly TriedTarget[];
	readonly #running: Attempt[] = [];
	readonly #pause: Pause;
	#hasHedged = false;
	readonly #progress = new ResumeProgress();
	/** Tokens that had been told when the answer broke last. */
	#spent: ResumeSpend | undefined;

	constructor(
		readonly call: Call,
		private readonly plan: CallPlan,
		private readonly settlement: CallRecord,
		private readonly state: ProxyState,
		private readonly waiting: AttemptListener,
	) {
		this.#candidates = plan.targets.map((target) => new TriedTarget(target, state.accounts(target.provider)));
		this.#pause = new Pause(call);
	}

	/**
	 * Resolves once a target answers. Throws the RouterError of the last failure. What a failure allows, again at the same target or
	 * elsewhere, stands in the table of failure kinds.
	 */
	async open(): Promise<StartedAnswer> {
		const { alias } = this.plan;
		this.state.retries.call(performance.now());
		if (alias?.hedge) this.state.hedges(alias.name).call();
		if (this.#candidates.length > 1) this.state.freeHedges(this.#candidates[0]!.target.provider).call();
		// An await that waits for nothing costs each call 0.5 µs.
		if (alias?.concurrency !== undefined) await this.#standInLine(alias, alias.concurrency);
		let error: RouterError | undefined;
		for (let index = 0; ; ) {
			// Of a first attempt the deadline sees it soon enough.
			if (error && this.#pause.isOver) throw left();
			const result = await this.#round(index);
			if ("head" in result) return this.#won(result);
			if (!error || !result.isUnasked) error = result.error;
			const step = this.#next(result);
			if (!step) throw this.#soonest(error);
			if (step.waitMs > 0) {
				await this.#wait(step.waitMs);
				this.#candidates[step.target]!.waitedMs += step.waitMs;
			}
			index = step.target;
		}
	}

	/** A client that is told to come back is told when the first of its targets may take it. */
	#soonest(error: RouterError): RouterError {
		if (error.headers["retry-after"] === undefined) return error;
		const waits = this.#candidates.flatMap(({ failure }) => failure?.retryAfterMs ?? []);
		const seconds = Math.ceil(Math.min(...waits) / 1000);
		if (seconds < Number(error.headers["retry-after"])) error.headers["retry-after"] = String(seconds);
		return error;
	}

	/** Whether what this target has begun might go on elsewhere, so that what its client is told must be kept. */
	mayGoOn(target: Target): boolean {
		return canResume(this.#resumeTerms(), target);
	}

	/** The rest of a stream that broke after its client was told so much; undefined where it goes on nowhere. */
	async goOn(broken: StartedAnswer, failure: Failure, told: SentSoFar): Promise<StartedAnswer | undefined> {
		const { targets } = this.plan;
		this.#candidates.find(({ target }) => target.id === broken.target.id)?.failed(failure);
		const pauseMs = this.#progress.broke(told.deltas);
		if (pauseMs === undefined || (pauseMs > 0 && !(await this.#pauses(pauseMs)))) return undefined;
		const spent = spentAfter(told, broken.reader?.counted, this.#spent);
		this.#spent = spent;
		const opened = await resume(broken, failure, {
			...this.#resumeTerms(),
			told,
			spent,
			tries: (target) => this.#candidates[targets.indexOf(target)]!.tries,
			isUnwell: ({ id }) => this.#isOpen(id) || this.state.targets.of(id).pausedUntil > this.state.targets.now(),
			refused: this.state.refused,
			wait: (ms) => this.#pauses(ms),
			attempt: async (target, followUp, hasOthers) => {
				const read: AttemptOptions["read"] = (decoder) => resumedDecoder(decoder, told, followUp);
				const result = await this.#try(targets.indexOf(target), followUp.call, { read, hasOthers });
				return "head" in result ? result : result.failure;
			},
		});
		if (!opened) return undefined;
		this.settlement.step({ how: "resume", provider: broken.target.provider.name, failure: failure.kind });
		return this.#won(opened);
	}

	/** False where the client has left meanwhile. */
	async #pauses(ms: number): Promise<boolean> {
		await this.#pause.until(undefined, ms);
		return !this.#pause.isOver;
	}

	#resumeTerms(): ResumeTerms {
		const { targets, alias } = this.plan;
		return { call: this.call, alias, targets };
	}

	/** The client is gone: whatever runs is ended, nothing more begins. */
	leave(): void {
		this.#pause.end();
		for (const attempt of this.#running) attempt.drop(LEFT.message);
	}

	#won(opened: StartedAnswer): StartedAnswer {
		this.settlement.servedBy(opened.target);
		this.settlement.isKnown = true;
		return opened;
	}

	/** The next step, counted. */
	#next({ index, failure, isUnasked }: Failed): RetryStep | undefined {
		const { retries, chance } = this.state;
		const now = performance.now();
		const { startedAt } = this.call;
		const until = Math.min(startedAt + this.plan.attemptsMs, now + timeLeft(this.call) - TOO_LATE);
		const hasBudget = retries.has(now);
		const { isImpatient } = this.plan;
		const candidate = this.#candidates[index]!;
		candidate.isUnwell = this.#isOpen(candidate.target.id);
		const situation = { targets: this.#candidates, last: index, now, until, hasBudget, chance: chance(), isImpatient };
		const step = nextStep(situation);
		const provider = candidate.target.provider.name;
		const said = { provider, failure: failure.kind };
		if (!hasBudget && nextStep({ ...situation, hasBudget: true })?.isRetry)
			this.settlement.step({ how: "refused", ...said });
		if (!step) return undefined;
		if (step.isRetry) retries.spend(now);
		if (!isUnasked) this.settlement.step({ how: step.target === index ? "retry" : "failover", ...said });
		return step;
	}

	/** Its breaker is not closed. */
	#isOpen(id: string): boolean {
		return this.state.targets.of(id).breaker.state !== "closed";
	}

	/** One attempt; or several, where the first is late. */
	#round(index: number): Promise<StartedAnswer | Failed> {
		const { alias, targets, isImpatient } = this.plan;
		// Whoever stands behind a router leaves that to it: it knows other places.
		if (targets.length === 1 || alias?.hedge === false || isImpatient) return this.#try(index);
		return new Round(this.#asker, index).result;
	}

	get #asker(): RoundTarget {
		const startedAt = performance.now();
		const { waitedMs } = this.settlement;
		return {
			attempt: (index, ask) => this.#try(index, this.call, undefined, ask),
			second: (late, ask) => this.#second(late, ask),
			fault: (thrown) => {
				if (!(thrown instanceof RouterError)) this.settlement.onFault?.(thrown);
			},
			over: (won, first) => {
				// Several were waited for at once.
				this.settlement.waitedMs = waitedMs + performance.now() - startedAt;
				const target = this.plan.targets[first]!;
				if ("head" in won && won.target.id !== target.id)
					this.settlement.step({ how: "hedge-won", provider: target.provider.name });
			},
		};
	}

	/** Whom to ask beside a target that is late; undefined where nobody may be. */
	#second(late: Late, { index, seen }: Ask): number | undefined {
		if (this.#pause.isOver) return undefined;
		const { alias, targets } = this.plan;
		const isSlow = late.why === "slow";
		const { targets: known } = this.state;
		const now = known.now();
		const silent = known.of(targets[index]!.id);
		const may = this.#candidates.map((each, at) => {
			if (at === index || !isUntried(each) || each.outOfUseMs !== undefined) return false;
			const its = known.of(each.target.id);
			return (
				isWell(each.target, its, now, late.ms) &&
				mayRelieve(late, seen?.quietMs ?? 0, silent, each.target, its, now, alias?.max_wait)
			);
		});
		// Of a target that is out of order, or may be, calls only move away: that loads nobody more than if it were not there.
		const isIll = late.why === "probe" || this.#isOpen(targets[index]!.id);
		const line = isIll || alias?.concurrency === undefined ? undefined : this.#line(alias, alias.concurrency);
		if (!may.includes(true) || line?.hasRoom === false) return undefined;
		let other = isSlow ? -1 : targets.findIndex((target, at) => may[at] && isFree(target, this.settlement.cost));
		if (other !== -1 && !isIll && !this.state.freeHedges(targets[index]!.provider).take()) return undefined;
		if (other === -1 && alias?.hedge && !(isSlow && this.#hasHedged)) {
			other = may.indexOf(true);
			if (other !== -1 && !this.state.hedges(alias.name).take()) return undefined;
			if (isSlow) this.#hasHedged = other !== -1;
		}
		if (other === -1) return undefined;
		const ticket = line?.enter(0, 0);
		if (ticket && "leave" in ticket) this.settlement.atEnd(ticket.leave);
		this.settlement.step({ how: "hedge", provider: targets[index]!.provider.name });
		return other;
	}

	#lateOf({ id }: Planned, { lateMs }: CallTimeouts): Late | undefined {
		const view = this.state.targets.of(id);
		const maySlow = this.plan.alias?.hedge && this.call.stream && !this.#hasHedged;
		return lateOf(view, this.state.targets.now(), lateMs, maySlow ? view.firstToken : undefined);
	}

	async #try(
		index: number,
		call = this.call,
		rest?: Rest,
		ask?: Ask,
		without = this.state.refused.of(this.#candidates[index]!.target.id),
	): Promise<StartedAnswer | Failed> {
		const candidate = this.#candidates[index]!;
		let attempt: Attempt | undefined;
		try {
			const isAllThereIs =
				this.#candidates.length === 1 || this.#candidates.every((each) => each === candidate || each.isUnasked);
			const { target, ended } = candidate.account(isAllThereIs);
			const hasOthers = rest?.hasOthers ?? isAnyLeft(this.#candidates, index);
			const limits = this.#limits(index, hasOthers);
			attempt = new Attempt({
				call,
				target,
				limits,
				waiting: this.waiting,
				record: () => this.#record(candidate, ask),
				onKey: ended,
				counts: call.stream && this.mayGoOn(target),
				without,
				read: rest?.read,
				late: ask && this.#lateOf(candidate.target, limits),
				onLate: ask && ((late) => ask.round.late(ask, late)),
			});
			candidate.running++;
			this.#running.push(attempt);
			if (ask) {
				ask.attempt = attempt;
				if (ask.place > 0 && !hasOthers) ask.round.extend((each) => this.#longest(each));
			}
			const result = await attempt.open();
			if ("head" in result) return result;
			const { refused } = result;
			if (refused && !without?.has(refused)) {
				const again = await this.#try(index, call, rest, ask, new Set([...(without ?? []), refused]));
				// Its words alone are no proof: they may be about something else.
				if ("head" in again) this.state.refused.add(target.id, refused);
				return again;
			}
			candidate.failed(result, attempt.waitedMs);
			return { index, failure: result, error: errorOf(result, target), isUnasked: false };
		} catch (thrown) {
			if (!(thrown instanceof RouterError)) throw thrown;
			return this.#unasked(index, thrown);
		} finally {
			if (attempt) {
				candidate.running--;
				this.#running.splice(this.#running.indexOf(attempt), 1);
				if (!ask?.round.hasSeveral) this.settlement.waitedMs += attempt.waitedMs;
			}
		}
	}

	/** No attempt could be made. */
	#unasked(index: number, error: RouterError): Failed {
		const candidate = this.#candidates[index]!;
		this.settlement.servedBy(candidate.target);
		const kind = UNASKED[error.errorCode];
		if (!kind) throw error;
		const failure = { kind, message: error.message };
		candidate.failed(failure);
		candidate.isUnasked = true;
		return { index, failure, error, isUnasked: error.errorCode !== "unsupported_parameter" };
	}

	/** How long an attempt may take to its answer's beginning where nobody else is left to ask, ms. */
	#longest(index: number): number {
		const { firstTokenMs, totalMs } = this.#limits(index, false);
		return this.call.stream ? firstTokenMs : totalMs;
	}

	/** @param hasOthers whether others are left to ask */
	#limits(index: number, hasOthers: boolean): CallTimeouts {
		const { call, plan } = this;
		const target = plan.targets[index]!;
		const isSole = plan.targets.length === 1 && !hasOthers;
		if (isSole && !call.limits && !plan.alias?.timeouts) return soleLimits(target.provider);
		return this.#limitsFor(target, call.limits, hasOthers, call.stream && this.#canGoOn(index));
	}

	/** What this target has begun may go on elsewhere, also where it once failed, if that may have passed. */
	#canGoOn(index: number): boolean {
		const { targets } = this.plan;
		const others = targets.filter((_, at) => at !== index && mayHelp(this.#candidates[at]!));
		return canResume({ ...this.#resumeTerms(), targets: others }, targets[index]!);
	}

	#limitsFor(target: Planned, own: Call["limits"], hasOthers: boolean, canGoOn: boolean): CallTimeouts {
		const { firstToken, answer, answerTokens } = this.state.targets.of(target.id);
		return limitsOf({
			timeouts: target.provider.timeouts,
			set: [own, this.plan.alias?.timeouts, target.provider.ownTimeouts],
			hasOthers,
			canGoOn,
			learned: firstToken,
			whole: this.call.stream
				? undefined
				: { learned: answer, tokens: answerTokens, maxTokens: longestAnswer(this.call), isLoading: isLoading(target) },
			isReasoning: () => isReasoning(this.call.body, target.model),
		});
	}

	#record(candidate: TriedTarget, ask: Ask | undefined): OpenRecord {
		const { call, settlement, state } = this;
		const usualLimits = () => this.#limitsFor(candidate.target, undefined, true, true);
		return openRecord({ call, candidate, settlement, state, work: this.plan.work, ask, usualLimits });
	}

	#line({ name, queue }: ModelConfig, concurrency: number): CallQueue {
		return this.state.queue(name, { concurrency, size: queue ?? QUEUE });
	}

	#standInLine(alias: ModelConfig, concurrency: number): Promise<void> {
		return standInLine(alias.name, this.#line(alias, concurrency), {
			priority: this.call.priority ?? 0,
			withinMs: Math.min(this.plan.attemptsMs, timeLeft(this.call)),
			pause: this.#pause,
			settlement: this.settlement,
		});
	}

	async #wait(ms: number): Promise<void> {
		const startedAt = performance.now();
		await this.#pause.until(undefined, ms);
		this.settlement.waitedMs += performance.now() - startedAt;
		if (this.#pause.isOver) throw left();
	}
}

const mayHelp = ({ tries, failure }: TriedTarget): boolean =>
	tries === 0 || (failure !== undefined && isPassing(failure));

/** Calls that may wait for a model where nothing is said. */
const QUEUE = 100;
