/** How an answer that broke after its first bytes goes on from another target, so that its client reads one unbroken stream. */
import type { ModelConfig } from "../config/schema.ts";
import type { Call } from "../openai/call.ts";
import type { SentSoFar } from "../openai/sent-so-far.ts";
import { BEGINNING, FAILURES, type Failure } from "../providers/failure.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { AttemptOptions } from "./attempt.ts";
import type { Pause } from "./pause.ts";
import type { ProxyState } from "./proxy-state.ts";
import { type RefusedView, refusedAddition } from "./refused-additions.ts";
import { resumedDecoder } from "./resume-decoder.ts";
import { type FollowUp, followUps, obstacleOf, type ResumeSpend, resumeSpend } from "./resume-request.ts";
import type { TriedTarget } from "./retry.ts";
import { isLoading } from "./second-target.ts";
import type { StartedAnswer } from "./started-answer.ts";
import type { ResumePermission, SuspectCall } from "./suspect-call.ts";

/** What of a call the decision needs. */
export interface ResumeTerms {
	readonly call: Call;
	/** What `models:` says of its name. */
	readonly alias?: ModelConfig | undefined;
	readonly targets: readonly RouteTarget[];
}

/** The way: one attempt for the rest of the answer. Never throws for what an upstream does. */
export interface ResumeContext extends ResumeTerms {
	readonly sent: SentSoFar;
	/** Tokens of that. */
	readonly spent: ResumeSpend;
	/** Attempts that the call has made there and that failed. */
	tries(target: RouteTarget): number;
	/** Calls are kept from it at present. */
	isUnhealthy(target: RouteTarget): boolean;
	/** Whether it takes an answer's beginning, and that it has refused one. */
	readonly refused: Pick<RefusedView, "of" | "add">;
	/** Targets that came since the call's plan. */
	late?(): readonly RouteTarget[];
	/** False where the client has left meanwhile. */
	wait(ms: number): Promise<boolean>;
	/** Whether it may be asked, where an engine has died of it. */
	mayContinue(target: RouteTarget): ResumePermission;
	/** `hasOthers`: where it gives nothing, others are asked. */
	attempt(target: RouteTarget, followUp: FollowUp, hasOthers: boolean): Promise<StartedAnswer | Failure>;
}

/** How the rest of an answer that broke is asked for. */
export interface ResumedAttempt {
	readonly call: Call;
	readonly read: AttemptOptions["read"];
	readonly hasOthers: boolean;
}

/** Whether what one target began could go on at another of these, or there, once its host has opened another connection. */
export function canResume({ call, alias, targets }: ResumeTerms, but: RouteTarget): boolean {
	return call.stream && targets.some((each) => (each.id !== but.id || each.reopens === true) && isWithin(alias, each));
}

/**
 * The rest of an answer that broke: a stream that begins where what was sent ended. Undefined where there is none: the client then
 * gets an error event. Targets that the call has not tried come first, then those it has; the one that broke comes last, since its
 * server may live and only a connection have been cut, unless it has fallen silent; behind it are only models that have yet to be loaded. Where all fail in a way that passes, they are asked once more after a pause:
 * a server that starts again is back in seconds, and the client has nothing to lose. An engine that died of the rest ends nothing: where that
 * leaves no engine that the rest may be risked at, it waits for one.
 */
export async function resume(
	broken: StartedAnswer,
	failure: Failure,
	elsewhere: ResumeContext,
): Promise<StartedAnswer | undefined> {
	const { call, alias, sent } = elsewhere;
	if (!FAILURES[failure.kind].elsewhere || obstacleOf(call, sent) !== undefined) return undefined;
	const targets = elsewhere.targets.filter((each) => isWithin(alias, each));
	const ranks = new Map(targets.map((target) => [target, rank(target, broken, elsewhere)]));
	targets.sort((one, other) => ranks.get(one)! - ranks.get(other)!);
	/** Those that have been silent: they are asked again only while an engine starts anew, which takes as long. */
	let silent = failure.kind === "timeout" ? targets.filter(({ id }) => id === broken.target.id) : [];
	let left = targets.filter((each) => !silent.includes(each));
	let isEngineDead = failure.kind === "engine_died";
	/** One could not be reached. It is back before its engines are: what it says of those then is no reason to wait no longer. */
	let isAgentAway = false;
	for (const [round, pauseMs] of [0, ...PAUSES_MS, ...RESTART_PAUSES_MS].entries()) {
		if (round > PAUSES_MS.length && !isEngineDead && !isAgentAway) return undefined;
		if (pauseMs > 0 && !(await elsewhere.wait(pauseMs))) return undefined;
		if (round > 0) left.push(...lateOf(elsewhere));
		const again: RouteTarget[] = [];
		for (const [at, target] of left.entries()) {
			// Where it ran before nothing has died of it.
			const hasRun = target.id === broken.target.id && failure.kind !== "engine_died";
			const permission = hasRun ? "now" : elsewhere.mayContinue(target);
			if (permission === "later") {
				isEngineDead = true;
				again.push(target);
			}
			if (permission !== "now") continue;
			const hasOthers = left.slice(at + 1).some((each) => !isToBeLoaded(each)) || again.length > 0;
			const result = await ask(target, hasOthers, elsewhere);
			if ("head" in result) return result;
			if (result.kind === "cancelled") return undefined;
			isEngineDead ||= result.kind === "engine_died";
			isAgentAway ||= result.kind === "transport" && target.agent !== undefined;
			if (isPassing(result)) again.push(target);
			else if (result.kind === "timeout") silent.push(target);
		}
		left = again;
		if (isEngineDead) {
			left.push(...silent);
			silent = [];
		}
		if (left.length === 0) left = lateOf(elsewhere);
		if (left.length === 0) return undefined;
	}
	return undefined;
}

/** Of the targets that came those that may go on with the answer. */
const lateOf = ({ alias, late }: ResumeContext): RouteTarget[] =>
	late?.().filter((each) => isWithin(alias, each)) ?? [];

/** What resumes need of their call. */
export interface ResumedCall {
	readonly terms: ResumeTerms;
	/** The terms' targets, and those that came since. */
	readonly tried: readonly TriedTarget[];
	readonly state: Pick<ProxyState, "targets" | "refused">;
	readonly pause: Pause;
	/** Makes an attempt for the rest. Never throws for what an upstream does. */
	attempt(index: number, rest: ResumedAttempt): Promise<StartedAnswer | Failure>;
	/** Puts targets that came since the call's plan behind `tried`, and gives them. */
	late(): readonly RouteTarget[];
	/** Undefined until an engine has died. */
	suspicion(): Pick<SuspectCall, "mayResumeAt" | "findBack" | "resumed"> | undefined;
}

/** What of one call went on elsewhere, or is to. */
export class CallResumes {
	readonly #progress = new ResumeProgress();
	/** Tokens that had been sent when the answer broke last. */
	#spent: ResumeSpend | undefined;

	constructor(private readonly resumed: ResumedCall) {}

	/** The rest of an answer that broke after so much was sent; undefined where it goes on nowhere. */
	async after(broken: StartedAnswer, failure: Failure, sent: SentSoFar): Promise<StartedAnswer | undefined> {
		const { terms, tried, state, pause, attempt, suspicion, late } = this.resumed;
		const targets = tried.map(({ target }) => target);
		const placeOf = (target: RouteTarget) => tried.findIndex((each) => each.target === target);
		const at = tried.find(({ target }) => target.id === broken.target.id);
		at?.failed(failure);
		const pauseMs = this.#progress.broke(sent.deltas, breakOf(failure, at?.target));
		const wait = async (ms: number) => {
			await pause.until(undefined, ms);
			await suspicion()?.findBack();
			return !pause.isOver;
		};
		if (pauseMs === undefined || (pauseMs > 0 && !(await wait(pauseMs)))) return undefined;
		const spent = resumeSpend(sent, broken.reader?.counted, this.#spent);
		this.#spent = spent;
		const opened = await resume(broken, failure, {
			...terms,
			targets,
			late,
			sent,
			spent,
			tries: (target) => tried[placeOf(target)]!.tries,
			isUnhealthy: ({ id }) => {
				const { breaker, pausedUntil } = state.targets.of(id);
				return breaker.state !== "closed" || pausedUntil > state.targets.now();
			},
			refused: state.refused,
			wait,
			mayContinue: (target) => suspicion()?.mayResumeAt(target) ?? "now",
			attempt(target, followUp, hasOthers) {
				const read: AttemptOptions["read"] = (decoder) => resumedDecoder(decoder, sent, followUp);
				return attempt(placeOf(target), { call: followUp.call, read, hasOthers });
			},
		});
		if (opened) suspicion()?.resumed(opened.target.id);
		return opened;
	}
}

/** How often an answer may break and go on; and how often in a row with nothing new in between, where each is the death of an engine. */
const MOST_BREAKS = 20;
const MOST_FRUITLESS = 4;
/** What a break with nothing new counts for. A connection that breaks says less of the call than a death; to try again costs nothing at one's own engines. */
const BREAK_SHARES = { death: 1, connection: 0.5, ownConnection: 0.25, tunnel: 0.25 } as const;
/** What the break of a tunnel counts for in any case: it says nothing of the call, and a link that is cut for a while is cut often. */
const TUNNEL_BREAK = 0.25;
/** Before it goes on after a break that brought nothing, ms; twice as long after each further one, and at one's own engines so long at most. */
const FRUITLESS_PAUSE_MS = 500;
const OWN_PAUSE_MS = 1000;

/**
 * Whether an answer that breaks again and again gets anywhere. A prompt that kills its server, or a proxy that cuts at the same
 * place each time, would else have the call made for ever.
 */
export class ResumeProgress {
	#breaks = 0;
	#fruitless = 0;
	#sent = -1;

	/** It broke after so many pieces were sent in all: how long to wait before it goes on, ms; undefined where it may not. */
	broke(sent: number, by: keyof typeof BREAK_SHARES = "death"): number | undefined {
		this.#fruitless = sent > this.#sent ? 0 : this.#fruitless + BREAK_SHARES[by];
		this.#sent = sent;
		this.#breaks += by === "tunnel" ? TUNNEL_BREAK : 1;
		if (this.#breaks > MOST_BREAKS || this.#fruitless >= MOST_FRUITLESS) return undefined;
		if (this.#fruitless === 0) return 0;
		const pauseMs = FRUITLESS_PAUSE_MS * 2 ** (Math.ceil(this.#fruitless) - 1);
		return by === "ownConnection" || by === "tunnel" ? Math.min(pauseMs, OWN_PAUSE_MS) : pauseMs;
	}
}

function breakOf({ kind, isOfTunnel }: Failure, target: RouteTarget | undefined): keyof typeof BREAK_SHARES {
	if (isOfTunnel) return "tunnel";
	if (kind === "engine_died") return "death";
	return target?.kind === "local" ? "ownConnection" : "connection";
}

/** Pauses before all are asked again, ms. */
const PAUSES_MS = [500, 2000];
/** And then, where an engine has died meanwhile, or an agent can't be reached: to start one again takes longer, ms. */
const RESTART_PAUSES_MS = [5_000, 10_000, 15_000];
/** Failures that say nothing of the next attempt. */
const PASSING: ReadonlySet<string> = new Set(["transport", "overloaded", "busy", "rate", "truncated", "engine_died"]);

/** Whether what failed so may be well the next time. */
export const isPassing = ({ kind }: Pick<Failure, "kind">): boolean => PASSING.has(kind);

/** Its model is not loaded: what is ready answers sooner, be it the one that broke. */
const isToBeLoaded = (target: RouteTarget): boolean => !target.isQueue && isLoading(target);

function rank(target: RouteTarget, broken: StartedAnswer, elsewhere: ResumeContext): number {
	if (isToBeLoaded(target)) return 4;
	if (target.id === broken.target.id) return 3;
	return elsewhere.tries(target) > 0 ? 2 : Number(elsewhere.isUnhealthy(target));
}

/** Asks one target, in all the ways that it may be asked. */
async function ask(
	target: RouteTarget,
	hasOthers: boolean,
	{ call, sent, spent, refused, attempt }: ResumeContext,
): Promise<StartedAnswer | Failure> {
	const isRefused = refused.of(target.id)?.has(BEGINNING);
	const capability = isRefused ? "replay" : (target.provider.continuation?.(target) ?? "replay");
	let result: StartedAnswer | Failure | undefined;
	let mayRefuse = false;
	for (const followUp of followUps(call, sent, capability, spent)) {
		result = await attempt(target, followUp, hasOthers);
		// What it refused is how it was asked: some take no beginning of an answer. Any other failure is the target's.
		if ("head" in result) {
			if (mayRefuse) refused.add(target.id, BEGINNING);
			return result;
		}
		if (result.kind !== "caller" && result.kind !== "unsupported") return result;
		if (followUp.mode === "continue" && refusedAddition(result, [BEGINNING])) mayRefuse = true;
	}
	return result!;
}

/** Only targets that the owner calls equal go on with each other's answers, unless the owner says more, or less. */
function isWithin(alias: ModelConfig | undefined, { tier }: RouteTarget): boolean {
	const scope = alias?.resume ?? "targets";
	return scope === "any" || (scope === "targets" && tier !== "fallback");
}
