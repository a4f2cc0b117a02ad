/**
 * The closed set of ways a call can fail, and what follows from each (`Failure kinds` in the design).
 * Failover, the retry at the same target (`once`), metrics label and the client's error read this one table; `breaker`, `wait` and
 * `if-alone` stand here for the routing that is to come, and nothing reads them yet.
 */
import type { ErrorCode } from "../errors.ts";

/** What a failure kind implies. */
export interface FailureRule {
	/** May the same target be tried again? `once`: one time; `wait`: after a short Retry-After. */
	readonly sameTarget: "no" | "once" | "wait" | "if-alone";
	/** May another target be tried? */
	readonly elsewhere: boolean;
	/** Does it speak against the target's health? */
	readonly breaker: boolean;
	/** What the client is told. */
	readonly code: ErrorCode;
}

/** One row a kind. */
export const FAILURES = {
	caller: { sameTarget: "no", elsewhere: false, breaker: false, code: "upstream_refused" },
	unsupported: { sameTarget: "no", elsewhere: true, breaker: false, code: "unsupported_parameter" },
	not_found: { sameTarget: "no", elsewhere: true, breaker: false, code: "model_not_found" },
	auth: { sameTarget: "no", elsewhere: true, breaker: false, code: "upstream_auth" },
	quota: { sameTarget: "no", elsewhere: true, breaker: false, code: "upstream_quota" },
	rate: { sameTarget: "wait", elsewhere: true, breaker: false, code: "rate_limit_exceeded" },
	context_length: { sameTarget: "no", elsewhere: true, breaker: false, code: "context_length_exceeded" },
	content_filter: { sameTarget: "no", elsewhere: false, breaker: false, code: "content_filter" },
	overloaded: { sameTarget: "if-alone", elsewhere: true, breaker: true, code: "upstream_overloaded" },
	transport: { sameTarget: "once", elsewhere: true, breaker: true, code: "upstream_error" },
	timeout: { sameTarget: "if-alone", elsewhere: true, breaker: true, code: "upstream_timeout" },
	// Before its first byte has left; what breaks later is not tried again.
	truncated: { sameTarget: "no", elsewhere: true, breaker: true, code: "upstream_truncated" },
	cancelled: { sameTarget: "no", elsewhere: false, breaker: false, code: "cancelled" },
	internal: { sameTarget: "no", elsewhere: false, breaker: false, code: "internal_error" },
} as const satisfies Record<string, FailureRule>;

/** A row's name; also the metrics label. */
export type FailureKind = keyof typeof FAILURES;
