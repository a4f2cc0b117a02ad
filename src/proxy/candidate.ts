/** One of a call's targets, and what the call has learned of it. */
import { RouterError } from "../errors.ts";
import type { Failure, Provider, Target } from "../providers/provider.ts";
import type { RouteTarget } from "../routing/route.ts";
import type { Account, AccountRing } from "./key-rotation.ts";
import type { Tried } from "./retry.ts";

/** A target as the plan gives it. */
export type Planned = RouteTarget;

/** Times are `performance.now()`'s. */
export class TriedTarget implements Tried {
	tries = 0;
	failure: Failure | undefined;
	failedAt = 0;
	waitedMs = 0;
	/** See Tried. */
	tookMs = 0;
	/** Attempts at it under way. */
	running = 0;
	/** It could not even be asked: no key in use, none at all, or a field that it has no form for. */
	isUnasked = false;
	/** See Tried. */
	isUnwell = false;
	/** Accounts that this call was refused with. */
	readonly #refused: number[] = [];

	constructor(
		readonly target: Planned,
		private readonly ring: AccountRing,
	) {}

	get context(): number | undefined {
		return this.target.context;
	}

	get hasOtherKey(): boolean {
		return this.#refused.length > 0 && this.ring.has(this.target.model, performance.now(), this.#refused);
	}

	/**
	 * The account for the next attempt. Throws `upstream_auth` or `upstream_quota` where all are out of use, unless this target is
	 * all that the call has. An agent has none that could be: one that refused its secret was told it too late, and stands behind
	 * all others until it is heard of again.
	 */
	account(isAllThereIs: boolean): { readonly target: Target; readonly ended: (failure: Failure | undefined) => void } {
		const { target, ring } = this;
		const now = performance.now();
		// Back after a pause it may be the same again: its limit had been used up.
		const inUse = ring.take(target.model, now, this.#refused) ?? ring.take(target.model, now);
		if (!inUse && !isAllThereIs && target.agent === undefined) throw this.#outOfUse(now);
		const account = inUse ?? ring.takeAnyway();
		const provider = providerOf(target.provider, account);
		return {
			target: provider === target.provider ? target : { ...target, provider },
			ended: (failure) => {
				if (failure && OF_THE_KEY.includes(failure.kind)) this.#refused.push(account.index);
				ring.ended(account, target.model, failure, performance.now());
			},
		};
	}

	/** For how long none of its keys is in use, ms; undefined where one is, and at an agent. */
	get outOfUseMs(): number | undefined {
		if (this.target.agent !== undefined) return undefined;
		return this.ring.refusal(this.target.model, performance.now())?.backInMs;
	}

	get isRunning(): boolean {
		return this.running > 0;
	}

	/** An attempt at it failed, for which it was waited so long, ms. */
	failed(failure: Failure, tookMs = 0): void {
		this.tookMs = tookMs;
		this.tries++;
		this.failure = failure;
		this.failedAt = performance.now();
	}

	#outOfUse(now: number): RouterError {
		const { provider, model } = this.target;
		const { kind, backInMs } = this.ring.refusal(model, now) ?? { kind: "auth", backInMs: 0 };
		const settings = [provider, ...(provider.otherAccounts ?? [])].map(({ keySetting }) => keySetting);
		const again = `It is tried again in ${Math.ceil(backInMs / 1000)} s.`;
		if (kind === "quota") {
			return new RouterError("upstream_quota", `The router's account at ${provider.name} is used up. ${again}`);
		}
		const message = `${provider.name} refused the router's key: check ${settings.join(", ")}. ${again}`;
		return new RouterError("upstream_auth", message);
	}
}

/** Kinds of failure that another key may not meet. */
const OF_THE_KEY: readonly string[] = ["auth", "quota", "rate"];

function providerOf(provider: Provider, { index }: Account): Provider {
	return index === 0 ? provider : provider.otherAccounts![index - 1]!;
}

/** What it means for the call that no attempt could be made. */
export const UNASKED: Partial<Record<string, Failure["kind"]>> = {
	provider_key_missing: "auth",
	upstream_auth: "auth",
	upstream_quota: "quota",
	unsupported_parameter: "unsupported",
};
