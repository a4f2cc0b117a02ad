/** A call at whose attempt an engine died, or one that is kept from an engine for such a call. Reached by no other. */
import type { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { fingerprintOf } from "../openai/call-facts.ts";
import { errorOf, FAILURES, type Failure, type FailureKind } from "../providers/failure.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { Slot } from "./call-queue.ts";
import type { CallRecord } from "./call-record.ts";
import { engineIdOf, findBack } from "./engine-health.ts";
import { clientGone, type Pause } from "./pause.ts";
import type { ProxyState } from "./proxy-state.ts";
import { isUntried, LONGEST_WAIT_MS, type TriedTarget } from "./retry.ts";
import type { Failed } from "./round.ts";
import { awaitedOf, engineModel, SuspectEngines } from "./suspect-engines.ts";
import type { EndedAttempt, SuspectTurn } from "./suspect-step.ts";
import { INCONCLUSIVE, lateError, poisonousError, suspectStep, turnMsOf } from "./suspect-step.ts";

/** How often it is looked whether an engine is back, ms. */
const LOOK_MS = 1_000;

/** The call. */
export interface SuspectContext {
	readonly call: Call;
	/** In the order of its plan; behind those what is found out of its engines. */
	readonly tried: TriedTarget[];
	readonly state: ProxyState;
	readonly record: CallRecord;
	readonly pause: Pause;
	/** Its place among the calls that its model has at once, where those are limited. */
	readonly slot: Slot | undefined;
	/** No attempt may begin from then on, on `performance.now()`'s clock, ms. */
	until(): number;
	/** Puts targets that came since the call's plan behind `tried`, and gives them. */
	late?(): readonly RouteTarget[];
}

/** Whether the rest of an answer may be asked for; `later`: once another engine is well, too. */
export type ResumePermission = "now" | "later" | "never";

/** One call's part in the deaths of engines. */
export class SuspectCall {
	#fingerprint: string | undefined;
	/** It may be the cause, or was called so: it is sent to one target at a time, where it may. */
	isSuspect = false;
	/** It was suspected, and another one was found to be the cause. */
	#isFree = false;
	#hasLooked = false;
	#turn: SuspectTurn | undefined;
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** An engine that did not take it is not asked again before, on `performance.now()`'s clock. */
	#notBefore = 0;
	/** How often one did not take it. */
	#unheard = 0;
	/** The last time: to ask there once more takes from the budget of retries. */
	#repeated: { readonly index: number; readonly failure: FailureKind } | undefined;
	/** When its attempt could begin, on the suspects' clock. */
	#admittedAt = Number.NEGATIVE_INFINITY;
	readonly #engines: SuspectEngines;

	constructor(private readonly context: SuspectContext) {
		this.#engines = new SuspectEngines(context.tried, context.state);
	}

	/** Whether the rest of its answer may be asked for there, after an engine has died of asking: never at the last engine. */
	mayResumeAt(target: RouteTarget): ResumePermission {
		if (!this.isSuspect || this.#engines.kindOf(target) === "vendor") return "now";
		if (this.context.state.suspects.stateOf(this.#fingerprint!) === "refused") return "never";
		return this.#engines.alive > 1 ? "now" : "later";
	}

	/** The rest of its answer has begun at this target. */
	resumed(id: string): void {
		const at = this.context.tried.find(({ target }) => target.id === id);
		if (!this.isSuspect || !at || this.#engines.kindOf(at.target) === "vendor") return;
		this.isSuspect = false;
		this.context.state.suspects.clear(this.#fingerprint!);
	}

	/** Asks those of its engines that have died whether they are back. */
	findBack(): Promise<void> {
		return this.#engines.findBack();
	}

	/** Whether it may not be sent there now. */
	isKeptFrom(target: RouteTarget): boolean {
		return this.context.state.suspects.isReserved(engineIdOf(target), this.#turn, target.isQueue);
	}

	/** What it is told instead of an attempt there: the rest of an answer, or a second attempt, goes elsewhere. */
	keptFrom(index: number): Failed {
		const { target } = this.context.tried[index]!;
		const message = "is being tried with a call that its engine may have died of";
		const failure: Failure = { kind: "overloaded", isOurs: true, message, retryAfterMs: LOOK_MS };
		this.context.tried[index]!.failed(failure);
		return { index, failure, error: errorOf(failure, target), wasNotTried: true };
	}

	/** An attempt failed: what that says of its target's health. Before the attempt is closed. */
	failed({ target, record, hasTokens }: EndedAttempt, failure: Failure, health: FailureKind): FailureKind {
		const { call, state } = this.context;
		const { suspects } = state;
		const isDeath = failure.kind === "engine_died";
		// Of an engine that takes its server with it some calls see the connection break only.
		const isBreak = failure.kind === "transport" || failure.kind === "truncated";
		if (!isDeath && !(isBreak && !hasTokens && suspects.diedSince(engineIdOf(target), record.startedAt))) return health;
		this.#fingerprint ??= fingerprintOf(call.operation, call.facts, this.#model());
		this.#hasLooked = true;
		this.#engines.hasFarEngine ||= target.kind === "cloud" && isDeath;
		const verdict = suspects.died({
			engine: engineIdOf(target),
			target,
			startedAt: record.startedAt,
			fingerprint: this.#fingerprint,
			model: this.#model(),
			call: call.id,
			hasTokens,
			turn: this.#turn,
			wasWell: [target.id, engineIdOf(target)].every((id) => state.targets.of(id).breaker.state === "closed"),
		});
		if (verdict !== "bystander") this.isSuspect = true;
		return isDeath && this.#engines.kindOf(target) !== "engine" ? "transport" : health;
	}

	/**
	 * Where the call may be sent that was to go to this target: waits until it may. Throws `poisonous_request`, `engine_died` where that would
	 * take too long, and `cancelled` where the client leaves.
	 */
	async admit(index: number): Promise<number> {
		const at = await this.#admit(index);
		this.#admittedAt = this.context.state.suspects.time();
		return at;
	}

	async #admit(index: number): Promise<number> {
		const { call, tried, state } = this.context;
		const { suspects } = state;
		suspects.prune();
		if (!this.#hasLooked) {
			this.#hasLooked = true;
			if (suspects.concerns(this.#model())) {
				this.#fingerprint ??= fingerprintOf(call.operation, call.facts, this.#model());
				if (suspects.stateOf(this.#fingerprint) !== "clear") {
					this.isSuspect = true;
					return this.#place();
				}
			}
		}
		if (this.#turn?.engine !== undefined) return index;
		for (;;) {
			const isKept = this.isKeptFrom(tried[index]!.target);
			const at = isKept ? tried.findIndex((each) => isUntried(each) && !this.isKeptFrom(each.target)) : index;
			if (at !== -1) {
				if (this.#lacksSlot) {
					await this.#takeSlot();
					continue;
				}
				// One that is back and dies of this call has died anew.
				const id = engineIdOf(tried[at]!.target);
				if (suspects.isDead(id)) await findBack([id], tried, state);
				return at;
			}
			// That a reservation is over is no change.
			await this.#wait(Math.min(LOOK_MS, this.#leftMs()));
			if (this.#leftMs() <= 0) throw this.#tooLate();
		}
	}

	/** Its answer has begun, at this target. */
	answered(target: Pick<RouteTarget, "id" | "engine">): void {
		const { suspects } = this.context.state;
		suspects.hasAnswered(engineIdOf(target), this.#admittedAt);
		if (!this.isSuspect) return;
		this.isSuspect = false;
		// That a vendor has answered it proves nothing.
		if (this.#turn?.engine !== undefined) {
			suspects.clear(this.#fingerprint!);
			suspects.cameBack(this.#turn.engine);
		}
		this.#leave();
	}

	/** Where it goes after an attempt that failed; undefined where that is decided as for any other call. Throws as `admit` does. */
	async next({ index, failure }: Failed): Promise<number | undefined> {
		if (!this.isSuspect) return undefined;
		const { suspects } = this.context.state;
		clearTimeout(this.#timer);
		if (this.#turn) suspects.end(this.#turn);
		const isVendor = this.#engines.kindOf(this.context.tried[index]!.target) === "vendor";
		if (failure.kind === "cancelled" || failure.kind === "internal") return undefined;
		if (isVendor || failure.kind === "engine_died") this.#engines.tried.add(index);
		else if (INCONCLUSIVE.has(failure.kind)) {
			const { retryAfterMs = Math.min(LOOK_MS * 2 ** this.#unheard++, LONGEST_WAIT_MS) } = failure;
			this.#notBefore = performance.now() + Math.max(retryAfterMs, LOOK_MS);
			this.#repeated = { index, failure: failure.kind };
			if (failure.kind === "timeout" && this.#turn) suspects.yield(this.#turn);
		} else {
			// The engine has read it and lives.
			this.answered(this.context.tried[index]!.target);
			return undefined;
		}
		if (isVendor && !FAILURES[failure.kind].elsewhere) return undefined;
		return this.#place();
	}

	#enter(): SuspectTurn {
		const { call, record, state } = this.context;
		record.atEnd(() => this.#leave());
		return state.suspects.enter(this.#model(), call.startedAt);
	}

	/** What its engines call its model; an adapter's is the model that it changes. */
	#model(): string {
		return engineModel(this.context.tried.map(({ target }) => target));
	}

	#leave(): void {
		clearTimeout(this.#timer);
		if (this.#turn) this.context.state.suspects.leave(this.#turn);
		this.#turn = undefined;
	}

	/** The target that it may go to, once it may. */
	async #place(): Promise<number> {
		const { tried, state } = this.context;
		const { suspects } = state;
		for (;;) {
			const reached = this.#engines.reached(this.#fingerprint!);
			const lost = reached.map(({ target }) => engineIdOf(target)).filter((id) => suspects.isLost(id));
			if (lost.length > 0) await findBack(lost, reached, state);
			const verdict = suspects.stateOf(this.#fingerprint!);
			if (verdict === "refused") {
				const vendor = this.#refused();
				if (!this.#lacksSlot) return vendor;
				await this.#takeSlot();
				continue;
			}
			if (verdict === "clear") this.#isFree = true;
			this.#turn ??= this.#enter();
			const turn = this.#turn;
			const targets = this.#engines.views(this.#fingerprint!, turn);
			const waitsFor = awaitedOf(reached, targets);
			const now = performance.now();
			const hasBudget = !this.#repeated || state.retries.has(now);
			const hasTurn = suspects.hasTurn(turn) && now >= this.#notBefore && hasBudget;
			const awaited = new Set([...waitsFor, ...suspects.enginesOf(this.#fingerprint!)]);
			const backInMs = this.#engines.backInMs(waitsFor, awaited);
			const step = suspectStep({ targets, hasTurn, isFree: this.#isFree, leftMs: this.#leftMs(), backInMs });
			if (step.do === "refuse" && !(this.#leftMs() > 0 && this.context.late?.().length)) throw this.#tooLate(backInMs);
			if (step.do === "try") {
				// Nothing is waited for between the decision and what it does, in which other threads may be faster.
				if (this.#lacksSlot) {
					await this.#takeSlot();
					continue;
				}
				const isTrial = !this.#isFree && targets[step.index]!.kind !== "vendor";
				if (
					this.#repeats(step.index, now) &&
					(!isTrial || this.#begins(turn, tried[step.index]!.target, step.isAlone))
				) {
					if (this.#isFree) this.#freed();
					return step.index;
				}
			}
			const laterMs =
				step.do === "wait" && this.#isFree ? Number.NEGATIVE_INFINITY : Math.max(0, this.#notBefore - now);
			if (laterMs >= this.#leftMs()) throw this.#tooLate(laterMs);
			if (step.do === "wait") suspects.waitFor(turn, step.reserves ? waitsFor : []);
			if (this.#isFree || suspects.hasTurn(turn)) await findBack([...awaited], reached, state);
			await this.#wait(Math.min(LOOK_MS, this.#leftMs()));
		}
	}

	#begins(turn: SuspectTurn, target: RouteTarget, isAlone: boolean): boolean {
		const { call, state } = this.context;
		if (!state.suspects.begin(turn, engineIdOf(target), isAlone)) return false;
		this.#passLater(turn, turnMsOf(call.stream));
		return true;
	}

	/** Its turn is the next one's after so long, ms, or later where its engine was not back. */
	#passLater(turn: SuspectTurn, turnMs: number, ms = turnMs): void {
		const { suspects } = this.context.state;
		this.#timer = setTimeout(() => {
			const leftMs = suspects.turnLeftMs(turn, turnMs);
			if (leftMs > 0) this.#passLater(turn, turnMs, leftMs);
			else suspects.pass(turn);
		}, ms);
	}

	/** It is sent there, which is a retry where it was refused just so. False where another thread has spent what was left for those. */
	#repeats(index: number, now: number): boolean {
		const { state, record, tried } = this.context;
		if (this.#repeated?.index === index) {
			if (!state.retries.spend(now)) return false;
			record.step({ how: "retry", provider: tried[index]!.target.provider.name, failure: this.#repeated.failure });
		}
		this.#repeated = undefined;
		return true;
	}

	#freed(): void {
		this.isSuspect = false;
		this.#isFree = false;
		this.#leave();
	}

	/** It has given its place back among the calls that its model has at once. */
	get #lacksSlot(): boolean {
		return this.context.slot?.isHeld === false;
	}

	/** Takes one again, after which all may be otherwise: what was decided before is decided anew. */
	async #takeSlot(): Promise<void> {
		const { slot, pause, record } = this.context;
		const startedAt = performance.now();
		const isTaken = await slot!.take(Math.max(1, this.#leftMs()));
		record.waitedMs += performance.now() - startedAt;
		if (pause.isOver) throw clientGone();
		if (!isTaken) throw this.#tooLate();
	}

	/** Others may run in its place meanwhile. */
	async #wait(ms: number): Promise<void> {
		const { pause, record, state, slot } = this.context;
		slot?.release();
		const startedAt = performance.now();
		await pause.until(state.suspects.change, Math.max(1, ms));
		record.waitedMs += performance.now() - startedAt;
		if (pause.isOver) throw clientGone();
	}

	#leftMs(): number {
		return this.context.until() - performance.now();
	}

	/** An engine died of it twice: vendors may still have it, engines not. */
	#refused(): number {
		const { tried, state, call, record } = this.context;
		const vendor = tried.findIndex((each) => this.#engines.kindOf(each.target) === "vendor" && isUntried(each));
		if (vendor !== -1) return vendor;
		const { calls, leftMs, reason } = state.suspects.refusalOf(this.#fingerprint!);
		record.reason = reason;
		state.suspects.report({ what: "refused", call: call.id, calls });
		throw poisonousError(leftMs);
	}

	#tooLate(backInMs = Number.POSITIVE_INFINITY): RouterError {
		return lateError(this.context.tried[0]!.target.provider.name, this.isSuspect, backInMs);
	}
}
