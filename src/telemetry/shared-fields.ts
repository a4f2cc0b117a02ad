/** What neighbouring calls and attempts of a thread have in common, by which it is known again: it is sent to the main thread once, and has a number then. */
import type { SharedOfAttempt, SharedOfCall } from "./event-records.ts";

/** Most that is kept of one key and target, or one provider and target. */
const MOST_ALIKE = 16;

/** What is sent once, and its number. */
export interface Shared<T> {
	readonly number: number;
	readonly fields: T;
}

/** What has a number, in groups of a few each, so that few are compared: by whose it is, then by where it went. */
export class SharedFields<T> {
	readonly #groups = new Map<string, Map<string, readonly Shared<T>[]>>();
	/** The one before: neighbours are mostly alike. */
	#last: Shared<T> | undefined;

	constructor(
		readonly pick: (event: T) => T,
		private readonly isSame: (fields: T, event: T) => boolean,
		private readonly whose: (event: T) => string,
		private readonly where: (event: T) => string,
	) {}

	/** Undefined where it has none, or that is no longer known. */
	find(event: T): Shared<T> | undefined {
		const last = this.#last;
		if (last && this.isSame(last.fields, event)) return last;
		const found = this.#groups.get(this.whose(event))?.get(this.where(event));
		if (found) for (const each of found) if (this.isSame(each.fields, event)) return this.#seen(each);
		return undefined;
	}

	/** The last one is looked at first. */
	add(shared: Shared<T>): Shared<T> {
		const { fields } = shared;
		const [whose, where] = [this.whose(fields), this.where(fields)];
		const groups = this.#groups.get(whose) ?? new Map<string, readonly Shared<T>[]>();
		const others = groups.get(where)?.slice(0, MOST_ALIKE - 1) ?? [];
		this.#groups.set(whose, groups.set(where, [shared, ...others]));
		return this.#seen(shared);
	}

	/** Numbers begin anew. */
	clear(): void {
		this.#groups.clear();
		this.#last = undefined;
	}

	#seen(shared: Shared<T>): Shared<T> {
		this.#last = shared;
		return shared;
	}
}

/** That of calls. */
export const sharedOfCalls = (): SharedFields<SharedOfCall> =>
	new SharedFields<SharedOfCall>(
		sharedOfCall,
		isSameCall,
		({ keyId = "" }) => keyId,
		({ target, model }) => target ?? model,
	);

/** That of attempts. */
export const sharedOfAttempts = (): SharedFields<SharedOfAttempt> =>
	new SharedFields<SharedOfAttempt>(
		sharedOfAttempt,
		isSameAttempt,
		({ provider }) => provider,
		({ target }) => target,
	);

function sharedOfCall(call: SharedOfCall): SharedOfCall {
	const { operation, stream, model, provider, agent, bill, key, keyId, team, target, cache, reason, error } = call;
	return { operation, stream, model, provider, agent, bill, key, keyId, team, target, cache, reason, error };
}

function isSameCall(one: SharedOfCall, other: SharedOfCall): boolean {
	return (
		one.target === other.target &&
		one.model === other.model &&
		one.stream === other.stream &&
		one.operation === other.operation &&
		one.provider === other.provider &&
		one.agent === other.agent &&
		one.key === other.key &&
		one.keyId === other.keyId &&
		one.team === other.team &&
		one.cache === other.cache &&
		one.reason === other.reason &&
		one.error === other.error &&
		one.bill?.source === other.bill?.source &&
		one.bill?.isEstimated === other.bill?.isEstimated &&
		one.bill?.price === other.bill?.price
	);
}

function sharedOfAttempt(attempt: SharedOfAttempt): SharedOfAttempt {
	const { provider, target, agent, failure, isSecond, isUnused, isUnbilled, isCharged } = attempt;
	return { provider, target, agent, failure, isSecond, isUnused, isUnbilled, isCharged };
}

function isSameAttempt(one: SharedOfAttempt, other: SharedOfAttempt): boolean {
	return (
		one.target === other.target &&
		one.failure === other.failure &&
		one.provider === other.provider &&
		one.agent === other.agent &&
		one.isSecond === other.isSecond &&
		one.isUnused === other.isUnused &&
		one.isUnbilled === other.isUnbilled &&
		one.isCharged === other.isCharged
	);
}
