/** Past calls as `GET /admin/calls` and `GET /admin/calls/{id}` answer them, and what is said of them. Pure. */

/** What is listed of a call. Texts and numbers that it has not are absent. */
export interface ListedPastCall {
	readonly id: string;
	/** ISO 8601: when it ended. */
	readonly at: string;
	readonly key?: string;
	readonly team?: string;
	readonly user?: string;
	readonly model: string;
	readonly requested?: string;
	readonly operation: string;
	readonly stream: boolean;
	readonly ms: number;
	readonly first_token_ms?: number;
	readonly energy_j?: number;
	readonly cache?: string;
	readonly error?: string;
	readonly status: number;
	readonly provider: string;
	readonly target?: string;
	readonly agent?: string;
	readonly tokens?: Readonly<Record<string, number>>;
	readonly cost_usd?: number;
}

/** A part of the list. */
export interface PastCallPage {
	readonly data: readonly ListedPastCall[];
	/** `before` of the next part. */
	readonly next?: string;
	/** How far back it was searched. */
	readonly looked_at?: string;
	/** Ended calls that could not be written yet. */
	readonly waiting?: number;
}

/** One call, and why it went where it went. */
export interface WholePastCall extends ListedPastCall {
	readonly attempts: readonly PastAttempt[];
	readonly price?: { readonly source: string; readonly rates?: Readonly<Record<string, unknown>> };
	readonly estimated?: true;
	readonly refusal?: string;
	readonly dropped_fields?: readonly string[];
	readonly trace?: string;
	/** Whose ledger it is in, where routers share a Redis. */
	readonly router?: { readonly host: string; readonly replica: string };
	readonly decision: PastDecision;
}

/** One attempt at an upstream. */
export interface PastAttempt {
	readonly number: number;
	readonly provider: string;
	readonly target: string;
	/** `answered`, or what failed. */
	readonly outcome: string;
	readonly status?: number;
	readonly ms: number;
	/** When it began, from when its call came in, ms; not kept of older calls, nor of the only one. */
	readonly began_ms?: number;
	readonly agent?: string;
	readonly cost?: number;
	readonly hedge?: true;
	readonly paid_by?: "router" | "key";
}

/** What routing weighed. Of one target nothing was. */
export interface PastDecision {
	readonly model: string;
	readonly route?: string;
	readonly policy?: string;
	readonly suspicion?: string;
	readonly candidates?: readonly PastCandidate[];
}

/** A target that the call could have gone to. */
export interface PastCandidate {
	readonly rank?: number;
	readonly id: string;
	readonly score?: number;
	readonly reason: string;
	readonly inputs?: Readonly<Record<string, string | number>>;
}

/** Who has answered: a target, the cache, or nobody. */
export function servedBy({ target, provider, cache }: Pick<ListedPastCall, "target" | "provider" | "cache">): string {
	if (cache === "hit") return "the cache";
	return target ?? (provider === "" || provider === "none" ? "nobody" : provider);
}
