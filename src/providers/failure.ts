/**
 * The closed set of ways a call can fail at an upstream, and what follows from each: retry, failover, breaker, metrics label and the
 * client's error read this one table.
 */

import { ERRORS, type ErrorCode, RouterError } from "../errors.ts";
import type { Tokens } from "../openai/usage.ts";

/** What a failure kind implies. */
export interface FailureRule {
	/**
	 * May the same target be tried again? `once`: at once, before any other; `wait`: after a short Retry-After, and where it named
	 * none as `if-alone`; `if-alone`: after a pause, where no other target is left.
	 */
	readonly sameTarget: "no" | "once" | "wait" | "if-alone";
	/** Attempts at one target, the first one counted, that end this way. */
	readonly maxAttempts: 1 | 2 | 3;
	/** May another target be tried? */
	readonly elsewhere: boolean;
	/** Does it speak against the target's health? */
	readonly countsForBreaker: boolean;
	/** The code of the client's error. */
	readonly code: ErrorCode;
}

/** One row a kind. */
export const FAILURES = {
	caller: { sameTarget: "no", maxAttempts: 1, elsewhere: false, countsForBreaker: false, code: "upstream_refused" },
	unsupported: {
		sameTarget: "no",
		maxAttempts: 1,
		elsewhere: true,
		countsForBreaker: false,
		code: "unsupported_parameter",
	},
	not_found: { sameTarget: "no", maxAttempts: 1, elsewhere: true, countsForBreaker: false, code: "model_not_found" },
	auth: { sameTarget: "no", maxAttempts: 1, elsewhere: true, countsForBreaker: false, code: "upstream_auth" },
	quota: { sameTarget: "no", maxAttempts: 1, elsewhere: true, countsForBreaker: false, code: "upstream_quota" },
	rate: { sameTarget: "wait", maxAttempts: 3, elsewhere: true, countsForBreaker: false, code: "rate_limit_exceeded" },
	context_length: {
		sameTarget: "no",
		maxAttempts: 1,
		elsewhere: true,
		countsForBreaker: false,
		code: "context_length_exceeded",
	},
	content_filter: {
		sameTarget: "no",
		maxAttempts: 1,
		elsewhere: false,
		countsForBreaker: false,
		code: "content_filter",
	},
	overloaded: {
		sameTarget: "if-alone",
		maxAttempts: 3,
		elsewhere: true,
		countsForBreaker: true,
		code: "upstream_overloaded",
	},
	// It runs well and has too much to do: another replica may have less.
	busy: { sameTarget: "wait", maxAttempts: 3, elsewhere: true, countsForBreaker: false, code: "upstream_overloaded" },
	// What it had begun was given up for others' calls: to begin it again there would be given up again.
	evicted: { sameTarget: "no", maxAttempts: 1, elsewhere: true, countsForBreaker: false, code: "rate_limit_exceeded" },
	transport: { sameTarget: "once", maxAttempts: 2, elsewhere: true, countsForBreaker: true, code: "upstream_error" },
	timeout: {
		sameTarget: "if-alone",
		maxAttempts: 2,
		elsewhere: true,
		countsForBreaker: true,
		code: "upstream_timeout",
	},
	// Before its first byte has left; what breaks later may go on elsewhere.
	truncated: { sameTarget: "no", maxAttempts: 1, elsewhere: true, countsForBreaker: true, code: "upstream_truncated" },
	// Where a call that may have been the cause goes next is decided by its suspicion (src/proxy/suspect-call.ts), not by this row.
	engine_died: { sameTarget: "no", maxAttempts: 1, elsewhere: true, countsForBreaker: true, code: "engine_died" },
	poisonous: {
		sameTarget: "no",
		maxAttempts: 1,
		elsewhere: false,
		countsForBreaker: false,
		code: "poisonous_request",
	},
	cancelled: { sameTarget: "no", maxAttempts: 1, elsewhere: false, countsForBreaker: false, code: "cancelled" },
	internal: { sameTarget: "no", maxAttempts: 1, elsewhere: false, countsForBreaker: false, code: "internal_error" },
} as const satisfies Record<string, FailureRule>;

/** A row's name; also the metrics label. */
export type FailureKind = keyof typeof FAILURES;

/** A top-level field that the router adds, or the part of one that it does. */
export type Addition = string;

/** The way in which an answer goes on: the rest is asked for with its beginning as the last message. */
export const BEGINNING: Addition = "beginning";

/** The limit of an answer, where it is more than the upstream can give: what a call of that size may have beside its prompt, no other call need. */
export const ANSWER_LIMIT: Addition = "answer_limit";

/** Encrypted thoughts of the conversation: another account, or another vendor, may have encrypted them. */
export const SENT_THOUGHTS: Addition = "sent_thoughts";
/** What is no word about other calls to the same target: that it was refused is not remembered. */
export const OF_ONE_CALL: ReadonlySet<Addition> = new Set([ANSWER_LIMIT, SENT_THOUGHTS]);

/** The call is made by chat completions, though the server speaks Responses, too: OpenAI has some models there alone. */
export const CHAT_COMPLETIONS: Addition = "chat_completions";
/** The same of a call with tools: with those OpenAI's newer models think at Responses alone. */
export const CHAT_TOOLS: Addition = "chat_tools";
/** The call is made at `/responses`, as its client has sent it: a server may have none, or not for this model. */
export const NATIVE_RESPONSES: Addition = "responses";
/** The same of a server that may have it in part: without the fields or items that this call is made of. */
export const PARTIAL_RESPONSES: Addition = "responses_in_part";
/** The encrypted form of what the model thinks, which models that don't think have none of. */
export const ENCRYPTED: Addition = "reasoning.encrypted_content";

/** The older name of an answer's limit, for which OpenAI's newer models take the newer one alone. */
export const OLDER_NAME: Addition = "older_limit_name";

/** What went wrong at an upstream, in our terms. */
export interface Failure {
	readonly kind: FailureKind;
	/** For the client; never a secret, never the prompt. */
	readonly message: string;
	/** The message is the router's own, a predicate of the upstream: `can't be reached`. The upstream's name is put before it. */
	readonly isOurs?: boolean | undefined;
	/** Of `truncated`: the upstream's answer is complete and holds none. The client's error is `upstream_error`. */
	readonly isWhole?: boolean | undefined;
	/** The tunnel broke over which an agent is called, which says nothing of its engines. */
	readonly isOfTunnel?: boolean | undefined;
	/** The upstream has answered well, and not in the form that the call asks for: what that costs is its caller's, not the router's. */
	readonly isOtherForm?: boolean | undefined;
	/** The upstream's status; absent when it gave none. */
	readonly status?: number | undefined;
	readonly param?: string | undefined;
	/** The upstream's own `type` and `code`; shown where the fault is the caller's. */
	readonly type?: string | undefined;
	readonly code?: string | undefined;
	readonly retryAfterMs?: number | undefined;
	/** What its upstream has counted of an answer that can't be used, and what it says that costs, USD. */
	readonly tokens?: Tokens | undefined;
	readonly cost?: number | undefined;
	/** What it refuses is no part of the call, but something that the router added. */
	readonly refused?: Addition | undefined;
	/** What was thrown, where the fault is the router's own; for its log. A RouterError is what the client gets. */
	readonly cause?: unknown;
	/** Headers of the refusal that its client should see: rate limits. Lower case. */
	readonly headers?: Record<string, string> | undefined;
}

/** An answer that ended before it was complete. */
export const TRUNCATED: Failure = {
	kind: "truncated",
	isOurs: true,
	message: "broke off before the answer was complete",
};

/** An answer that ended well and has no answer in it: nothing at all, or no choice. */
export const NO_CHOICE: Failure = {
	kind: "truncated",
	isWhole: true,
	isOurs: true,
	message: "sent an answer without a choice",
};

/** Whose failure it is: a target, as far as messages name it. */
interface FailedTarget {
	readonly model: string;
	readonly provider: { readonly name: string; readonly keySetting: string };
	/** Of a model of the user's own: the agent that runs it. */
	readonly agent?: string | undefined;
}

/** Sent where the upstream gave no `Retry-After`, s: 429 and 503 must carry one. An engine that died has to load its model again. */
const DEFAULT_RETRY_AFTER = 2;
const DEFAULT_RESTART_S = 30;

/**
 * The RouterError for the last failure of a call. Where the caller is at fault the upstream's own words, type and code
 * are kept; where the upstream or its account is, our code says so and the message names the upstream.
 */
export function errorOf(failure: Failure, target: FailedTarget): RouterError {
	if (failure.cause instanceof RouterError) return failure.cause;
	const { agent } = target;
	const name = agent === undefined ? target.provider.name : `The agent "${agent}"`;
	const code = failure.isWhole ? "upstream_error" : FAILURES[failure.kind].code;
	const message = failure.isOurs ? `${name} ${failure.message}` : failure.message;
	const named = failure.isOurs ? message : `${name}: ${failure.message}`;
	switch (failure.kind) {
		case "caller":
		case "unsupported":
			if (failure.status === ERRORS.loop_detected.status) return new RouterError("loop_detected", failure.message);
			return new RouterError(code, message, {
				status: failure.status && failure.status >= 400 && failure.status < 500 ? failure.status : 400,
				type: failure.type,
				param: failure.param,
				upstreamCode: failure.code,
				headers: failure.headers,
			});
		case "context_length":
		case "content_filter":
			return new RouterError(code, message, { param: failure.param });
		case "not_found":
			return new RouterError(code, `${name} does not serve "${target.model}": ${message}`, { param: "model" });
		// Upstreams quote parts of the key: their words stay here.
		case "auth":
			return new RouterError(code, `${name} refused the router's key: check ${target.provider.keySetting}.`);
		case "quota":
			return new RouterError(code, `The router's account at ${name} is used up: ${message}`);
		case "poisonous":
			return new RouterError(code, named);
		case "engine_died":
		case "rate":
		case "busy":
		case "evicted":
		case "overloaded": {
			const unsaid = failure.kind === "engine_died" ? DEFAULT_RESTART_S : DEFAULT_RETRY_AFTER;
			const seconds = Math.ceil((failure.retryAfterMs ?? unsaid * 1000) / 1000);
			return new RouterError(code, named, {
				headers: { ...failure.headers, "retry-after": String(seconds) },
			});
		}
		case "internal":
			return new RouterError(code, ERRORS.internal_error.remedy, { cause: failure.cause });
		default:
			return new RouterError(
				failure.status === undefined && failure.kind === "transport" ? "upstream_unreachable" : code,
				named,
			);
	}
}
