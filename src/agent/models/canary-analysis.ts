/**
 * Whether a canary, the first container of a new image, arguments or version, is as good as what serves beside it. Pure: a function of what
 * both have counted in the same time. It is asked again and again while calls come, so its tests are sequential ones.
 *
 * Errors, and refusals, are compared by Wald's sequential probability ratio: that the canary fails as often as the old ones, against that it fails
 * much more often. Times are compared by the means of their logarithms: prompts and answers differ by orders of magnitude, and their ratio is what people notice.
 */

/** Measured times, as sums of their natural logarithms: enough for a mean and its error. */
export interface LogMoments {
	readonly count: number;
	readonly sum: number;
	readonly squares: number;
}

/** What one generation of a model's containers did. Calls that their clients gave up, and those that found it full, count nowhere. */
export interface CallCounts {
	/** Calls that have ended. */
	readonly calls: number;
	/** Of those: failed by the engine's fault (5xx, a broken connection or stream). */
	readonly errors: number;
	/** Of those: different requests that it refused (4xx). */
	readonly refused: number;
	/** Of streams: ms from the call's beginning to its first event. */
	readonly firstToken: LogMoments;
	/** Of answers whose tokens it counted: ms a token. */
	readonly tokenTime: LogMoments;
}

/** How long it is watched, ms. */
export interface AnalysisRules {
	/** Not promoted before. */
	readonly leastMs: number;
	/** Decided then, whatever has come. */
	readonly mostMs: number;
}

/** `wait`: too little is known. The reason is one clause. */
export interface CanaryResult {
	readonly decision: "wait" | "promote" | "take back";
	readonly reason: string;
}

/** The chance that a canary as good as the old ones is taken back for its errors, and that a bad one passes that test. */
const FALSE_ALARM = 0.001;
const MISSED = 0.01;
const TAKE_BACK = Math.log((1 - MISSED) / FALSE_ALARM);
/** With that, where no more time is left to find out. */
const SUSPICIOUS = Math.log(20);
const PASS = Math.log(MISSED / (1 - FALSE_ALARM));

/** What is believed of failures before anything is counted: a share, worth so many calls; and how much more is much more. */
interface Prior {
	readonly share: number;
	readonly weight: number;
	readonly factor: number;
	readonly least: number;
}
const ERRORS: Prior = { share: 0.01, weight: 100, factor: 4, least: 0.1 };
/** Clients make mistakes, each its own. */
const REFUSALS: Prior = { share: 0.05, weight: 20, factor: 4, least: 0.25 };

/** Enough calls to promote it by. */
const ENOUGH = 50;
/** Times are looked at from so many on, and must differ by more than chance would have it, in standard errors, beyond what is tolerated. */
const FEWEST_TIMES = 8;
const SURE = 3;
/** For a promotion: how sure it must be that it is not slower than is tolerated. */
const FAIRLY_SURE = 1.64;
/** How much slower it may be: its prefix cache was empty at first, and it has other prompts. */
const SLOWER_FIRST_TOKEN = Math.log(2);
const SLOWER_TOKENS = Math.log(1.5);

/** @param elapsedMs since the canary took its first calls */
export function analyseCanary(
	old: CallCounts,
	canary: CallCounts,
	elapsedMs: number,
	{ leastMs, mostMs }: AnalysisRules,
): CanaryResult {
	const errors = ratio(old.calls, old.errors, canary.calls, canary.errors, ERRORS);
	const refusals = ratio(old.calls, old.refused, canary.calls, canary.refused, REFUSALS);
	const first = slowness(old.firstToken, canary.firstToken, SLOWER_FIRST_TOKEN);
	const tokens = slowness(old.tokenTime, canary.tokenTime, SLOWER_TOKENS);
	const isLate = elapsedMs >= mostMs;
	if (errors > TAKE_BACK || (isLate && errors > SUSPICIOUS))
		return takeBack(failureText("failed", "errors", old, canary));
	if (refusals > TAKE_BACK || (isLate && refusals > SUSPICIOUS))
		return takeBack(failureText("refused", "refused", old, canary));
	if (first && (first.isSure || (isLate && first.factor > 2))) return takeBack(timeText("to the first token", first));
	if (tokens && (tokens.isSure || (isLate && tokens.factor > 1.5))) return takeBack(timeText("a token", tokens));
	if (isLate) return { decision: "promote", reason: `nothing spoke against it in ${seconds(elapsedMs)}` };
	const isEqual = errors < PASS && refusals < 0 && (first?.isFine ?? true) && (tokens?.isFine ?? true);
	if (elapsedMs >= leastMs && canary.calls >= ENOUGH && isEqual) {
		return { decision: "promote", reason: `${canary.calls} calls were answered as well as before` };
	}
	return { decision: "wait", reason: `${canary.calls} of its calls are over` };
}

const takeBack = (reason: string): CanaryResult => ({ decision: "take back", reason });
const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`;

/** The logarithm of how much likelier it is that the canary fails much more often, than as often as the old ones. */
function ratio(oldCalls: number, oldFailed: number, calls: number, failed: number, prior: Prior): number {
	const usual = (oldFailed + prior.share * prior.weight) / (oldCalls + prior.weight);
	const much = Math.min(0.98, Math.max(prior.factor * usual, usual + prior.least));
	if (much <= usual) return 0;
	return failed * Math.log(much / usual) + (calls - failed) * Math.log((1 - much) / (1 - usual));
}

/** How the canary's times compare with the old ones'. */
interface Slowness {
	/** Of geometric means. */
	readonly factor: number;
	readonly old: number;
	readonly canary: number;
	/** It is slower than is tolerated. */
	readonly isSure: boolean;
	/** It is hardly slower than is tolerated. */
	readonly isFine: boolean;
}

/** Undefined where too little was measured. */
function slowness(old: LogMoments, canary: LogMoments, tolerated: number): Slowness | undefined {
	if (old.count < FEWEST_TIMES || canary.count < FEWEST_TIMES) return undefined;
	const [before, now] = [momentsOf(old), momentsOf(canary)];
	const difference = now.mean - before.mean;
	const error = Math.sqrt(before.variance / old.count + now.variance / canary.count);
	return {
		factor: Math.exp(difference),
		old: Math.exp(before.mean),
		canary: Math.exp(now.mean),
		isSure: difference - tolerated > SURE * error,
		isFine: difference + FAIRLY_SURE * error < tolerated,
	};
}

function momentsOf({ count, sum, squares }: LogMoments): { readonly mean: number; readonly variance: number } {
	const mean = sum / count;
	return { mean, variance: Math.max(0, squares / count - mean * mean) * (count / (count - 1)) };
}

function failureText(verb: string, field: "errors" | "refused", old: CallCounts, canary: CallCounts): string {
	return `it ${verb} ${canary[field]} of ${canary.calls} calls, the old ones ${old[field]} of ${old.calls}`;
}

function timeText(what: string, { factor, old, canary }: Slowness): string {
	return `it takes ${factor.toFixed(1)} times as long ${what}: ${msText(canary)} ms instead of ${msText(old)}`;
}

const msText = (ms: number): string => (ms < 10 ? ms.toFixed(1) : String(Math.round(ms)));
