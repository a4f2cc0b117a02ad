/** What settled calls and closed attempts become in the ledger. Pure. */
import type {
	LateAttempt,
	LedgerAttempt,
	LedgerBatch,
	LedgerCall,
	UsageRow,
	UsageSums,
} from "../../store/ledger-batch.ts";
import type { AttemptClosed, CallSettled } from "../../telemetry/events.ts";
import { CallDetailsWriter, clipped, tenth } from "./call-details.ts";

/** Errors of calls that belong to no one. */
const UNAUTHENTICATED = new Set(["invalid_api_key", "foreign_host", "foreign_origin"]);

/** Whether a call has a row. Not so one without a valid key: anyone could fill the disk with them. */
export const isStored = ({ error }: CallSettled): boolean => error === undefined || !UNAUTHENTICATED.has(error);

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
	const { soles, rest } = soleAttempts(calls, attempts);
	const ours = new Map<string, AttemptClosed[]>();
	if (rest.length > 0) {
		for (const [at, { id, attempts: count }] of calls.entries()) if (!soles[at] && count > 0) ours.set(id, []);
	}
	const others: LateAttempt[] = [];
	for (const attempt of rest) {
		const own = ours.get(attempt.callId);
		if (own) own.push(attempt);
		else others.push({ call: attempt.callId, attempt: attemptOf(attempt) });
	}
	const usage = new UsageCount(users);
	const details = new CallDetailsWriter();
	const rows = calls.map((call, at) => {
		const own = soles[at] || ours.size === 0 ? NO_ATTEMPTS : (ours.get(call.id) ?? NO_ATTEMPTS);
		const sole = soles[at] ?? (own.length === 1 && isSole(own[0]!, call) ? own[0] : undefined);
		const row = callRow(call, times[at]!, sole, sole ? NO_ATTEMPTS : own, details);
		usage.add(call, row);
		return row;
	});
	return { calls: rows, attempts: others, usage: usage.rows };
}

const NO_ATTEMPTS: readonly AttemptClosed[] = [];

/** Whether the attempt was its call's only one, and good: the call says all else that there is to say of it. */
const isSole = ({ failure, status }: AttemptClosed, call: CallSettled): boolean =>
	call.attempts === 1 && failure === undefined && status === call.status;

/** When the first of these settled, Unix time, ms; undefined where there are none. They stand in about that order: those of several threads come together. */
export function firstSettled(calls: readonly LedgerCall[]): number | undefined {
	let first: number | undefined;
	for (const { at } of calls) if (first === undefined || at < first) first = at;
	return first;
}

/** How far an attempt of a call may be behind those of calls before it: they close in nearly the same order as their calls settle. */
const NEAR = 4;

/** Of each call its sole attempt, where that is found near the place at which it should be; and the other attempts. */
function soleAttempts(
	calls: readonly CallSettled[],
	attempts: readonly AttemptClosed[],
): { readonly soles: readonly (AttemptClosed | undefined)[]; readonly rest: readonly AttemptClosed[] } {
	const rest: AttemptClosed[] = [];
	let next = 0;
	const soles = calls.map((call) => {
		const most = call.attempts === 1 ? Math.min(next + NEAR, attempts.length) : next;
		let at = next;
		while (at < most && attempts[at]!.callId !== call.id) at++;
		if (at >= most || !isSole(attempts[at]!, call)) return undefined;
		for (; next < at; next++) rest.push(attempts[next]!);
		return attempts[next++];
	});
	for (; next < attempts.length; next++) rest.push(attempts[next]!);
	return { soles, rest };
}

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

	add({ status, bill, tokens, energyJ }: CallSettled, row: LedgerCall): void {
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
		sums.energy += energyJ ?? 0;
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
 * End users of one key in one day that have sums of their own. Clients choose their names, and each makes a row that stays for good, on the disk and in
 * Redis: a client that sends another one with each call would fill both.
 */
const MOST_END_USERS = 10_000;

/** What those above that are summed under. Their calls are in the ledger by their own names. */
export const OTHER_USERS = "(others)";

/** What threads know together of the end users that have sums of their own. */
export interface CommonUsers {
	/**
	 * Adds one, where it is not among them and there are fewer than so many of that key and day. Whether it is among them; undefined where there is no
	 * room to know it.
	 */
	add(day: string, keyId: string, user: string, most: number): boolean | undefined;
}

/** The end users of a day that have sums of their own. */
export class EndUsers {
	#day = "";
	readonly #seen = new Map<string, Set<string>>();

	/**
	 * @param most users of a key with sums of their own
	 * @param common those of all threads; undefined where this is the only one
	 */
	constructor(
		private readonly most = MOST_END_USERS,
		private readonly common?: CommonUsers,
	) {}

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
		const isCommon = this.common?.add(day, keyId, user, this.most);
		if (!(isCommon ?? seen.size < this.most)) return OTHER_USERS;
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
	energy: 0,
};

/** @param attempts its own, where they are more than its sole one */
function callRow(
	call: CallSettled,
	at: number,
	sole: AttemptClosed | undefined,
	attempts: readonly AttemptClosed[],
	details: CallDetailsWriter,
): LedgerCall {
	const { tokens } = call;
	return {
		id: call.id,
		at,
		keyId: call.keyId ?? "",
		key: call.key ?? "",
		team: call.team ?? "",
		user: clipped(call.user ?? ""),
		model: clipped(call.model),
		provider: call.provider,
		status: call.status,
		tokensIn: tokens?.input,
		tokensOut: tokens?.output,
		cost: call.cost,
		details: details.textOf(call, sole),
		attempts: attempts.length === 0 ? undefined : JSON.stringify(attempts.map(attemptOf)),
	};
}

function attemptOf(attempt: AttemptClosed): LedgerAttempt {
	const { number = 1, provider, target, failure, status, ms, beganMs, agent, tokens, cost, isSecond } = attempt;
	const began_ms = beganMs === undefined ? undefined : tenth(beganMs);
	const row = { number, provider, target, failure, status, ms: tenth(ms), began_ms, agent, tokens, cost };
	// What cost nothing nobody pays; what has no price somebody does.
	const isOwn = attempt.isUnused || (attempt.isUnbilled && cost !== 0);
	if (!isSecond && !isOwn && !attempt.isCharged) return row;
	return { ...row, hedge: isSecond || undefined, paid_by: isOwn ? "router" : attempt.isCharged ? "key" : undefined };
}
