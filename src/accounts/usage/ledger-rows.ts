/** What settled calls and closed attempts become in the ledger. Pure. */
import type { Tokens } from "../../openai/usage.ts";
import type {
	LateAttempt,
	LedgerAttempt,
	LedgerBatch,
	LedgerCall,
	UsageRow,
	UsageSums,
} from "../../store/ledger-batch.ts";
import type { AttemptClosed, Bill, CallSettled } from "../../telemetry/events.ts";

/**
 * A batch of what happened.
 * @param times when each call settled, Unix time, ms
 * @param attempts of these calls, or of others that are still under way or already written
 * @param users of the day so far
 */
export function batchOf(
	calls: readonly CallSettled[],
	times: readonly number[],
	attempts: readonly AttemptClosed[],
	users: EndUsers,
): LedgerBatch {
	const ours = new Map<string, LedgerAttempt[]>();
	// Calls that the cache answers have none, and are not even looked up.
	if (attempts.length > 0) for (const { id, attempts: count } of calls) if (count > 0) ours.set(id, []);
	const others: LateAttempt[] = [];
	for (const each of attempts) {
		const attempt = attemptOf(each);
		const own = ours.get(each.callId);
		if (own) own.push(attempt);
		else others.push({ call: each.callId, attempt });
	}
	const usage = new UsageCount(users);
	const rows = calls.map((call, at) => {
		const row = callRow(call, times[at]!, (call.attempts > 0 && ours.get(call.id)) || NO_ATTEMPTS);
		usage.add(call, row);
		return row;
	});
	return { calls: rows, attempts: others, usage: usage.rows };
}

const NO_ATTEMPTS: readonly LedgerAttempt[] = [];

/** Adds calls up by day, and by whatever they can be shown by. */
class UsageCount {
	readonly #sums = new Map<string, UsageRow & UsageSums>();
	#last: (UsageRow & UsageSums) | undefined;
	/** As they come: what the last of these sums was for, before it was one of many. */
	#lastUser = "";
	#dayNumber = Number.NaN;
	#day = "";

	constructor(private readonly users: EndUsers) {}

	get rows(): readonly UsageRow[] {
		return [...this.#sums.values()];
	}

	add({ status, bill, tokens }: CallSettled, row: LedgerCall): void {
		const { cost } = row;
		const sums = this.#sumsOf(row);
		sums.calls++;
		if (status >= 400) sums.failed++;
		if (bill?.isEstimated) sums.estimated++;
		if (bill?.source === "none") sums.unpriced++;
		sums.tokensIn += tokens?.input ?? 0;
		sums.tokensOut += tokens?.output ?? 0;
		sums.tokensCached += tokens?.cached ?? 0;
		sums.tokensReasoning += tokens?.reasoning ?? 0;
		sums.cost += cost ?? 0;
	}

	/** Neighbours are mostly alike: most need no look-up by name. */
	#sumsOf({ at, keyId, key, team, user, model, provider }: LedgerCall): UsageRow & UsageSums {
		const day = this.#dayOf(at);
		const last = this.#last;
		if (last?.day === day && last.keyId === keyId && this.#lastUser === user) {
			if (last.model === model && last.provider === provider) return last;
		}
		const shown = this.users.nameOf(day, keyId, user);
		const name = usageName({ day, keyId, user: shown, model, provider });
		let sums = this.#sums.get(name);
		if (!sums) {
			sums = { day, keyId, key, team, user: shown, model, provider, ...NO_USAGE };
			this.#sums.set(name, sums);
		}
		this.#last = sums;
		this.#lastUser = user;
		return sums;
	}

	/** The date is formatted once a day, not once a call. */
	#dayOf(at: number): string {
		const number = Math.floor(at / DAY_MS);
		if (number !== this.#dayNumber) {
			this.#dayNumber = number;
			this.#day = new Date(at).toISOString().slice(0, 10);
		}
		return this.#day;
	}
}

/**
 * End users of one key in one day, and one process, that have sums of their own. Clients choose their names, and each makes a row that stays for good, on the disk and in
 * Redis: a client that sends another one with each call would fill both.
 */
const MOST_END_USERS = 10_000;

/** What those above that are summed under. Their calls are in the ledger by their own names. */
const OTHER_USERS = "(others)";

/** The end users of a day that have sums of their own. */
export class EndUsers {
	#day = "";
	readonly #seen = new Map<string, Set<string>>();

	/** @param most users of a key with sums of their own */
	constructor(private readonly most = MOST_END_USERS) {}

	/** What a user's calls are summed under. @param day `2026-01-31` */
	nameOf(day: string, keyId: string, user: string): string {
		if (user === "") return user;
		if (day !== this.#day) {
			this.#day = day;
			this.#seen.clear();
		}
		let seen = this.#seen.get(keyId);
		if (!seen) {
			seen = new Set();
			this.#seen.set(keyId, seen);
		}
		if (seen.has(user)) return user;
		if (seen.size >= this.most) return OTHER_USERS;
		seen.add(user);
		return user;
	}
}

/** Names sums by what they are of: the columns that are unique together. Clients choose models and users, line ends in them too. */
export function usageName(of: Pick<UsageRow, "day" | "keyId" | "user" | "model" | "provider">): string {
	return `${of.day}\n${of.keyId}\n${of.provider}\n${of.model.length}\n${of.model}${of.user}`;
}

/** Adds a row to the sums of its name, or begins those. */
export function addUsage(sums: Map<string, UsageRow>, row: UsageRow): void {
	const name = usageName(row);
	const before = sums.get(name);
	const added: UsageRow & UsageSums = { ...row };
	if (before) for (const sum of Object.keys(NO_USAGE) as (keyof UsageSums)[]) added[sum] += before[sum];
	sums.set(name, added);
}

const DAY_MS = 86_400_000;

/** Sums of nothing. */
export const NO_USAGE: Readonly<UsageSums> = {
	calls: 0,
	failed: 0,
	estimated: 0,
	unpriced: 0,
	tokensIn: 0,
	tokensOut: 0,
	tokensCached: 0,
	tokensReasoning: 0,
	cost: 0,
};

/** Longest text of a client's that is stored, UTF-16 units. */
const LONGEST = 200;

/** What is stored of a call besides the columns. What most calls have in common is left out: fewer bytes cost less a call. */
export interface CallDetails {
	/** Absent: chat. */
	readonly operation?: string | undefined;
	/** Absent: it was no stream. */
	readonly stream?: true | undefined;
	/** Absent: the model's name. Null: nobody knows. */
	readonly requested?: string | null | undefined;
	readonly target?: string | undefined;
	readonly agent?: string | undefined;
	readonly ms: number;
	/** Of the only attempt, which was good: the call says all else that there is to say of it. */
	readonly attempt_ms?: number | undefined;
	readonly first_token_ms?: number | undefined;
	/** Absent: the columns say all. */
	readonly tokens?: Tokens | undefined;
	/** Of the bill. */
	readonly source?: Bill["source"] | undefined;
	readonly price?: Bill["price"];
	readonly estimated?: true | undefined;
	readonly cache?: string | undefined;
	readonly route?: string | undefined;
	readonly error?: string | undefined;
	readonly decision?: object | undefined;
	/** Fields of the call that its upstream has no form for, and that were left out. */
	readonly dropped_fields?: readonly string[] | undefined;
	/** Targets that it was not sent to, and why. */
	readonly skipped?: CallSettled["skipped"];
}

function callRow(call: CallSettled, at: number, attempts: readonly LedgerAttempt[]): LedgerCall {
	const { tokens, requested, firstTokenMs, bill } = call;
	const [first] = attempts;
	const isSole =
		attempts.length === 1 && call.attempts === 1 && first!.failure === undefined && first!.status === call.status;
	const details: CallDetails = {
		operation: call.operation === "chat" ? undefined : call.operation,
		stream: call.stream || undefined,
		requested: requested === call.model ? undefined : (requested?.slice(0, LONGEST) ?? null),
		target: call.target,
		agent: call.agent,
		ms: tenth(call.ms),
		attempt_ms: isSole ? first!.ms : undefined,
		first_token_ms: firstTokenMs === undefined ? undefined : tenth(firstTokenMs),
		tokens: tokens && hasKinds(tokens) ? tokens : undefined,
		source: bill?.source,
		price: bill?.price,
		estimated: bill?.isEstimated || undefined,
		cache: call.cache,
		route: call.reason,
		error: call.error,
		decision: call.decision,
		dropped_fields: call.droppedFields,
		skipped: call.skipped,
	};
	return {
		id: call.id,
		at,
		keyId: call.keyId ?? "",
		key: call.key ?? "",
		team: call.team ?? "",
		user: call.user?.slice(0, LONGEST) ?? "",
		model: call.model.slice(0, LONGEST),
		provider: call.provider,
		status: call.status,
		tokensIn: tokens?.input,
		tokensOut: tokens?.output,
		cost: call.cost,
		details: JSON.stringify(details),
		attempts: isSole || attempts.length === 0 ? undefined : JSON.stringify(attempts),
	};
}

/** Some tokens are of a kind that has a price of its own. */
function hasKinds(tokens: Tokens): boolean {
	for (const kind in tokens)
		if (kind !== "input" && kind !== "output" && tokens[kind as keyof Tokens] !== undefined) return true;
	return false;
}

function attemptOf(attempt: AttemptClosed): LedgerAttempt {
	const { number = 1, provider, target, failure, status, ms, agent, tokens, cost, isSecond } = attempt;
	const row = { number, provider, target, failure, status, ms: tenth(ms), agent, tokens, cost };
	// What cost nothing nobody pays; what has no price somebody does.
	const isOwn = attempt.isUnused || (attempt.isUnbilled && cost !== 0);
	if (!isSecond && !isOwn && !attempt.isCharged) return row;
	return { ...row, hedge: isSecond || undefined, paid_by: isOwn ? "router" : attempt.isCharged ? "key" : undefined };
}

/** ms, to a tenth. */
const tenth = (ms: number): number => Math.round(ms * 10) / 10;
