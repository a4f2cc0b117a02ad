/**
 * The closed set of ways a call can fail, and what follows from each (`Failure kinds` in the design).
 * Retry, failover, breaker, metrics label and the client's error read this one table.
 */
import type { ErrorCode } from "../errors.ts";

/** What a failure kind implies. */
export interface FailureRule {
	/**
	 * May the same target be tried again? `once`: at once, before any other; `wait`: after a short Retry-After, and where it named
	 * none as `if-alone`; `if-alone`: after a pause, where no other target is left.
	 */
	readonly sameTarget: "no" | "once" | "wait" | "if-alone";
	/** Attempts at one target, the first one counted, that end this way. */
	readonly most: 1 | 2 | 3;
	/** May another target be tried? */
	readonly elsewhere: boolean;
	/** Does it speak against the target's health? */
	readonly breaker: boolean;
	/** What the client is told. */
	readonly code: ErrorCode;
}

/** One row a kind. */
export const FAILURES = {
	caller: { sameTarget: "no", most: 1, elsewhere: false, breaker: false, code: "upstream_refused" },
	unsupported: { sameTarget: "no", most: 1, elsewhere: true, breaker: false, code: "unsupported_parameter" },
	not_found: { sameTarget: "no", most: 1, elsewhere: true, breaker: false, code: "model_not_found" },
	auth: { sameTarget: "no", most: 1, elsewhere: true, breaker: false, code: "upstream_auth" },
	quota: { sameTarget: "no", most: 1, elsewhere: true, breaker: false, code: "upstream_quota" },
	rate: { sameTarget: "wait", most: 3, elsewhere: true, breaker: false, code: "rate_limit_exceeded" },
	context_length: { sameTarget: "no", most: 1, elsewhere: true, breaker: false, code: "context_length_exceeded" },
	content_filter: { sameTarget: "no", most: 1, elsewhere: false, breaker: false, code: "content_filter" },
	overloaded: { sameTarget: "if-alone", most: 3, elsewhere: true, breaker: true, code: "upstream_overloaded" },
	transport: { sameTarget: "once", most: 2, elsewhere: true, breaker: true, code: "upstream_error" },
	timeout: { sameTarget: "if-alone", most: 2, elsewhere: true, breaker: true, code: "upstream_timeout" },
	// Before its first byte has left; what breaks later may go on elsewhere.
	truncated: { sameTarget: "no", most: 1, elsewhere: true, breaker: true, code: "upstream_truncated" },
	cancelled: { sameTarget: "no", most: 1, elsewhere: false, breaker: false, code: "cancelled" },
	internal: { sameTarget: "no", most: 1, elsewhere: false, breaker: false, code: "internal_error" },
} as const satisfies Record<string, FailureRule>;

/** A row's name; also the metrics label. */
export type FailureKind = keyof typeof FAILURES;
