/** Calls as the ledger has them, read for a replay: when they came, what was known of their candidates, where they went and how long that took. Pure. */
import type { CallDetails } from "../../accounts/usage/call-details.ts";
import type { Rates } from "../../accounts/usage/rates.ts";
import type { Tokens } from "../../openai/usage.ts";
import type { ExplainedTarget, Explanation } from "../../routing/explain.ts";
import { type PlanSnapshot, readSnapshot, type SnapshotCandidate } from "../../routing/plan-snapshot.ts";
import { PER_TOKEN } from "../../routing/requirements.ts";
import type { LedgerAttempt, LedgerCall } from "../../store/ledger-batch.ts";

/** An attempt. Times in ms. */
export interface RecordedAttempt {
	readonly target: string;
	/** From its call's arrival. */
	readonly beganMs: number;
	readonly ms: number;
	/** Its answer was used, or its client left while it came. */
	readonly isAnswer: boolean;
}

/** A candidate, as it was when the call was planned. */
export interface RecordedCandidate extends SnapshotCandidate, Omit<ExplainedTarget, "rank" | "reason"> {}

/** What a call was planned by. */
export interface RecordedPlan extends Pick<Explanation, "policy" | "call">, Omit<PlanSnapshot, "candidates"> {
	readonly maxWaitMs: number | undefined;
	/** The best first. */
	readonly candidates: readonly RecordedCandidate[];
}

/** A call. Times in ms. */
export interface RecordedCall {
	readonly id: string;
	/** Unix time. */
	readonly arrivedAt: number;
	readonly ms: number;
	/** From its arrival; of streams that gave one. */
	readonly firstTokenMs: number | undefined;
	/** The name that resolved. */
	readonly model: string;
	/** The end user; empty where none was named. */
	readonly user: string;
	readonly isStream: boolean;
	/** Where it ran. */
	readonly target: string | undefined;
	/** As its upstream counted them, or estimated. */
	readonly tokens: Tokens | undefined;
	/** USD. */
	readonly cost: number | undefined;
	/** What its cost was worked out by. */
	readonly rates: Rates | undefined;
	/** In the order in which they began. None where the cache answered, or it was refused. */
	readonly attempts: readonly RecordedAttempt[];
	/** Undefined where there was one target, or the row does not say what was known of several. */
	readonly plan: RecordedPlan | undefined;
	/** A copy that a model's shadow got: it was a load like others, and is in no figure. */
	readonly isCopy: boolean;
	/** There were several targets, and the row does not say what was known of them. */
	readonly isUnexplained: boolean;
}

/** Reads a row. Undefined where its id has no time in it. */
export function recordedCall(row: LedgerCall): RecordedCall | undefined {
	const arrivedAt = Number.parseInt(row.id.slice("req_".length).replaceAll("-", "").slice(0, 12), 16);
	if (!Number.isFinite(arrivedAt)) return undefined;
	const details = JSON.parse(row.details) as CallDetails;
	const { ms, first_token_ms: firstTokenMs, stream = false, target, price } = details;
	const plan = planOf(details);
	return {
		id: row.id,
		arrivedAt,
		ms: ms ?? 0,
		firstTokenMs,
		model: row.model,
		user: row.user,
		isStream: stream,
		target,
		tokens: details.tokens ?? countedIn(row),
		cost: row.cost,
		rates: price as Rates | undefined,
		attempts: attemptsOf(row, details),
		plan,
		isCopy: details.shadow !== undefined,
		isUnexplained: plan === undefined && hadSeveral(details),
	};
}

/** Characters of a prompt that its target had to compute, as far as is known. */
export function computedCharacters({ plan, tokens }: RecordedCall, target: string): number {
	const candidate = plan?.candidates.find(({ id }) => id === target);
	const uncached = candidate?.inputs.uncached_characters;
	// Where there is nothing to compare the router looks at no prompt, and all of it counts.
	if (uncached !== undefined && plan!.marks.length > 0) return uncached;
	const characters = charactersOf({ plan, tokens });
	const { input = 0, cached = 0 } = tokens ?? {};
	return Math.max(1, input > 0 ? characters * (1 - Math.min(1, cached / input)) : characters);
}

/** Characters of a prompt, as far as is known. */
export const charactersOf = ({ plan, tokens }: Pick<RecordedCall, "plan" | "tokens">): number =>
	plan?.call.characters ?? (tokens?.input ?? 0) * PER_TOKEN;

function countedIn({ tokensIn, tokensOut }: LedgerCall): Tokens | undefined {
	return tokensIn === undefined ? undefined : { input: tokensIn, output: tokensOut ?? 0 };
}

function attemptsOf(row: LedgerCall, details: CallDetails): RecordedAttempt[] {
	const { attempt_ms, began_ms: began, ms, target = "", first_token_ms: firstTokenMs } = details;
	// The only one, and good: where it does not say when it began its call ended with it.
	if (attempt_ms !== undefined) {
		const beganMs = began ?? Math.max(0, (ms ?? 0) - attempt_ms);
		return [{ target, beganMs, ms: attempt_ms, isAnswer: true }];
	}
	const rows = JSON.parse(row.attempts ?? "[]") as LedgerAttempt[];
	let end = 0;
	const attempts = rows.map(({ target: its, ms: took, began_ms = end, failure, paid_by }) => {
		end = began_ms + took;
		// Its client left in the midst of it: it shows when a first token came as well as one that came to its end.
		const isLeft = failure === "cancelled" && its === target && firstTokenMs !== undefined && firstTokenMs >= began_ms;
		const isAnswer = (failure === undefined || isLeft) && paid_by === undefined;
		return { target: its, beganMs: began_ms, ms: took, isAnswer };
	});
	return attempts.sort((one, other) => one.beganMs - other.beganMs);
}

/** A call to one target has its decision kept, too, where its client asked for the reasons. */
const hadSeveral = ({ decision }: CallDetails): boolean => {
	const { candidates = [] } = (decision ?? {}) as Partial<Explanation>;
	return candidates.length > 1;
};

function planOf(details: CallDetails): RecordedPlan | undefined {
	const { decision, snapshot } = details;
	const read = hadSeveral(details) ? readSnapshot(snapshot) : undefined;
	const { candidates = [], policy, call, max_wait_ms: maxWaitMs } = (decision ?? {}) as Partial<Explanation>;
	if (!read || !policy || !call || read.candidates.length === 0) return undefined;
	const known = candidates.slice(0, read.candidates.length);
	return {
		...read,
		policy,
		call,
		maxWaitMs,
		candidates: known.map((each, at) => ({ ...each, ...read.candidates[at]! })),
	};
}
