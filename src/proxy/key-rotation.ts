/**
 * Which of a provider's keys the next attempt uses. They take turns; one that was refused is out of use for a minute, then one
 * call finds out whether it is good again. Times are ms on any clock that never goes back.
 */
import { RouterError } from "../errors.ts";
import type { Failure, FailureKind } from "../providers/failure.ts";
import type { Provider, Target } from "../providers/provider.ts";

/** How long a refused key is out of use. */
export const OUT_MS = 60_000;
/** How long the call that tries it again may take. */
const PROBE_MS = 60_000;
/** How long a key cools down whose limit is used up: as long as the upstream says, within these. */
const LEAST_COOLDOWN_MS = 1_000;
const MOST_COOLDOWN_MS = 60_000;
/** Models remembered as closed to a key. */
const MOST_MODELS = 500;

/** A key, or a key and a model, that was refused. */
export interface Refusal {
	/** From when it may be tried again, by one call. */
	until: number;
	/** `auth` or `quota`. */
	readonly kind: FailureKind;
}

/** An account that was taken for an attempt. */
export interface Account {
	/** Which of the provider's keys. */
	readonly index: number;
	/** It was out of use: this attempt finds out whether it is good again. */
	readonly isProbe: boolean;
}

/** The only key of a provider, as long as no key was refused. */
export const FIRST_ACCOUNT: Account = { index: 0, isProbe: false };

/** What is known of the accounts of one provider. */
export interface KnownAccounts {
	/** By account. */
	readonly keys: Map<number, Refusal>;
	/** By account and model. */
	readonly models: Map<string, Refusal>;
	/** By account: until when its limit is used up. */
	readonly coolsDownUntil: Map<number, number>;
}

/** Nothing is known. */
export const newAccounts = (): KnownAccounts => ({ keys: new Map(), models: new Map(), coolsDownUntil: new Map() });

/** What the keys of one provider are asked and told, wherever it is kept. */
export type ProviderAccounts = Pick<
	AccountRing,
	"take" | "takeAnyway" | "isReady" | "has" | "refusal" | "outOfUse" | "ended"
>;

/** The keys of all providers, by provider as it was configured: a key that was put right is not held against its forerunner's refusal. */
export class KeyRotation {
	readonly #rings = new WeakMap<Provider, ProviderAccounts>();

	#hasRefusals = false;

	/** A key has been refused. Until then a provider's only key is {@link FIRST_ACCOUNT}, and nobody need ask. */
	get hasRefusals(): boolean {
		return this.#hasRefusals;
	}

	/** What is to be known of a provider's so many accounts. */
	accountsOf(_provider: Provider, size: number): ProviderAccounts {
		return new AccountRing(size);
	}

	/**
	 * The account for the next attempt. Throws `upstream_auth` or `upstream_quota` where all are out of use, unless this target is all
	 * that the call has. An agent has none that could be: one that refused its secret got that too late, and comes behind all
	 * others until it is heard of again.
	 * @param refused accounts that the call was refused with
	 * @param cached the account that has the call's history in its prompt cache, and is ready: it is taken out of turn
	 */
	take(target: Target, refused: readonly number[], isAllThereIs: boolean, cached?: number): Account {
		const now = performance.now();
		const ring = this.#ring(target.provider);
		const { model } = target;
		if (cached !== undefined && !refused.includes(cached)) return { index: cached, isProbe: false };
		// Back after a pause it may be the same again: its limit had been used up.
		const inUse = ring.take(model, now, refused) ?? ring.take(model, now);
		if (!inUse && !isAllThereIs && target.agent === undefined) throw outOfUse(target, ring, now);
		return inUse ?? ring.takeAnyway();
	}

	/** Whether this one may be taken out of turn: it is in use, and its limit is not used up, unless no other could answer (`isSole`). */
	isReady({ provider, model }: Pick<Target, "provider" | "model">, account: number, isSole = false): boolean {
		return this.#ring(provider).isReady(account, model, performance.now(), isSole);
	}

	/** Whether a key is in use besides these. */
	has({ provider, model }: Target, refused: readonly number[]): boolean {
		return this.#ring(provider).has(model, performance.now(), refused);
	}

	/** For how long none of a target's keys is in use, ms; undefined where one is, and at an agent. */
	outOfUseMs({ provider, model, agent }: Target): number | undefined {
		return agent === undefined && this.hasRefusals
			? this.#ring(provider).refusal(model, performance.now())?.backInMs
			: undefined;
	}

	/** How an attempt with this account ended: undefined where the upstream took the key. */
	ended({ provider, model }: Target, account: Account, failure: Failure | undefined): void {
		this.#ring(provider).ended(account, model, failure, performance.now());
		if (failure?.kind === "auth" || failure?.kind === "quota") this.#hasRefusals = true;
	}

	/** Keys out of use of each provider that has some. */
	*outOfUse(entries: Iterable<{ readonly provider: Provider }>): Iterable<readonly [string, number]> {
		for (const { provider } of entries) {
			const count = this.#rings.get(provider)?.outOfUse(performance.now()) ?? 0;
			if (count > 0) yield [provider.name, count];
		}
	}

	#ring(provider: Provider): ProviderAccounts {
		let ring = this.#rings.get(provider);
		if (!ring) {
			ring = this.accountsOf(provider, 1 + (provider.otherAccounts?.length ?? 0));
			this.#rings.set(provider, ring);
		}
		return ring;
	}
}

/** The target with the provider that has an account's key. */
export function targetWith(target: Target, { index }: Account): Target {
	return index === 0 ? target : { ...target, provider: target.provider.otherAccounts![index - 1]! };
}

function outOfUse({ provider, model }: Target, ring: ProviderAccounts, now: number): RouterError {
	const { kind, backInMs } = ring.refusal(model, now) ?? { kind: "auth", backInMs: 0 };
	const settings = [provider, ...(provider.otherAccounts ?? [])].map(({ keySetting }) => keySetting);
	const again = `It is tried again in ${Math.ceil(backInMs / 1000)} s.`;
	if (kind === "quota") {
		return new RouterError("upstream_quota", `The router's account at ${provider.name} is used up. ${again}`);
	}
	const message = `${provider.name} refused the router's key: check ${settings.join(", ")}. ${again}`;
	return new RouterError("upstream_auth", message);
}

/** The keys of one provider. A provider without a key has one account, too. */
export class AccountRing {
	readonly #keys: KnownAccounts["keys"];
	readonly #models: KnownAccounts["models"];
	readonly #coolsDownUntil: KnownAccounts["coolsDownUntil"];

	/**
	 * @param known where what is known is kept
	 * @param turn the account whose turn is next
	 */
	constructor(
		private readonly size: number,
		{ keys, models, coolsDownUntil }: KnownAccounts = newAccounts(),
		private readonly turn: { next: number } = { next: 0 },
	) {
		this.#keys = keys;
		this.#models = models;
		this.#coolsDownUntil = coolsDownUntil;
	}

	/**
	 * The account to use: the next in turn that is in use and not in `tried`; of those, one whose limit is not used up. Undefined
	 * where none is left. Whoever takes it reports how it ended.
	 */
	take(model: string, now: number, tried: readonly number[] = []): Account | undefined {
		const index = this.find(model, now, tried);
		if (index === undefined) return undefined;
		this.turn.next = (index + 1) % this.size;
		const refusals = this.#refusals(index, model);
		// One call finds out; should its end never be reported, the next does.
		for (const refusal of refusals) refusal.until = now + PROBE_MS;
		return { index, isProbe: refusals.length > 0 };
	}

	/** One that is out of use, for a call that has nowhere else to go: it finds out whether the key is good again. */
	takeAnyway(): Account {
		const index = this.turn.next;
		this.turn.next = (index + 1) % this.size;
		return { index, isProbe: true };
	}

	/** Whether this one is in use, was not refused, and its limit is not used up, which does not matter where no other could answer (`isSole`). */
	isReady(index: number, model: string, now: number, isSole = false): boolean {
		if (index >= this.size || this.isRefused(index, model)) return false;
		return isSole || (this.#coolsDownUntil.get(index) ?? now) <= now;
	}

	/** Whether `take` would find one. */
	has(model: string, now: number, tried: readonly number[] = []): boolean {
		return this.find(model, now, tried) !== undefined;
	}

	/** Why none is in use, and when the first may be tried again, ms from now; undefined where one is in use. */
	refusal(model: string, now: number): { readonly kind: FailureKind; readonly backInMs: number } | undefined {
		let soonest: Refusal | undefined;
		for (let index = 0; index < this.size; index++) {
			const last = this.#refusals(index, model).reduce<Refusal | undefined>(
				(latest, each) => (latest && latest.until > each.until ? latest : each),
				undefined,
			);
			if (!last || last.until <= now) return undefined;
			if (!soonest || last.until < soonest.until) soonest = last;
		}
		return soonest && { kind: soonest.kind, backInMs: soonest.until - now };
	}

	/** Accounts out of use, for some model or all. */
	outOfUse(now: number): number {
		const out = new Set<number>();
		for (const [index, { until }] of this.#keys) if (until > now) out.add(index);
		for (const [key, { until }] of this.#models) if (until > now) out.add(Number.parseInt(key, 10));
		return out.size;
	}

	/** How an attempt with this account ended: undefined where the upstream took the key. */
	ended({ index, isProbe }: Account, model: string, failure: Failure | undefined, now: number): void {
		if (failure?.kind === "rate") {
			const cooldownMs = Math.min(Math.max(failure.retryAfterMs ?? 0, LEAST_COOLDOWN_MS), MOST_COOLDOWN_MS);
			this.#coolsDownUntil.set(index, now + cooldownMs);
		}
		if (failure?.kind === "quota" || (failure?.kind === "auth" && failure.status !== 403)) {
			this.#keys.set(index, { until: now + OUT_MS, kind: failure.kind });
		} else if (failure?.kind === "auth" && !failure.isOurs) this.#close(index, model, now);
		// Another attempt's end says something of the time before the refusal only.
		else if (isProbe) this.#found(index, model, failure, now);
	}

	/** An answer of any kind says that the key is good; without one nothing is known, and the next call may find out. */
	#found(index: number, model: string, failure: Failure | undefined, now: number): void {
		if (failure === undefined || failure.status !== undefined) {
			this.#keys.delete(index);
			this.#models.delete(`${index}/${model}`);
		} else for (const refusal of this.#refusals(index, model)) refusal.until = now;
	}

	/** Which `take` would find, where it is this one's turn. */
	find(model: string, now: number, tried: readonly number[], next = this.turn.next): number | undefined {
		let coolingDown: number | undefined;
		for (let step = 0; step < this.size; step++) {
			const index = (next + step) % this.size;
			if (tried.includes(index) || this.#refusals(index, model).some(({ until }) => until > now)) continue;
			if ((this.#coolsDownUntil.get(index) ?? now) <= now) return index;
			coolingDown ??= index;
		}
		return coolingDown;
	}

	/** Whether it was refused and has not been found to be good since. */
	isRefused(index: number, model: string): boolean {
		return this.#refusals(index, model).length > 0;
	}

	#refusals(index: number, model: string): Refusal[] {
		if (this.#keys.size === 0 && this.#models.size === 0) return NONE;
		const found = [this.#keys.get(index), this.#models.get(`${index}/${model}`)];
		return found.filter((refusal) => refusal !== undefined);
	}

	/** A page or nothing at all, which `isOurs` says, is a proxy's word about one call: it must not close the model to all others. */
	#close(index: number, model: string, now: number): void {
		this.#models.set(`${index}/${model}`, { until: now + OUT_MS, kind: "auth" });
		if (this.#models.size <= MOST_MODELS) return;
		for (const oldest of this.#models.keys()) {
			this.#models.delete(oldest);
			return;
		}
	}
}

const NONE: Refusal[] = [];
