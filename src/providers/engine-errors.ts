/**
 * What servers of the user's own (vLLM, an agent, llm-d) say of themselves when they refuse a call: that an engine has died, or that there are too many
 * calls. Pure.
 */
import { ERRORS } from "../errors.ts";
import type { FailureKind } from "./failure.ts";
import type { AnswerHeaders } from "./provider.ts";
import type { Upstream } from "./registry.ts";

/** What is read of their errors. */
interface SaidError {
	readonly message: string;
	readonly type?: string | undefined;
	readonly code?: string | undefined;
}

/**
 * What vLLM answers with, whole and in streams, once its engine is dead: version 1 of the engine, then those of version 0. "cannot
 * schedule new futures after shutdown" is none of them: that server is being stopped.
 */
export const ENGINE_DIED =
	/\b(?:Async|MQ)?EngineDeadError\b|EngineCore encountered an issue|Engine ?core\S* (?:\S+ )?died unexpectedly|Engine loop is not running|Background loop (?:has errored already|is not running|is stopped)|Task finished unexpectedly\. This should never happen/i;

/**
 * What a server of the user's own says of its engine: vLLM in its words, an agent by its code. A vendor's engines are its own affair:
 * another call there may meet another one. So are those behind another router, which has done what could be done.
 */
export function engineFailure(upstream: Upstream, status: number, error: SaidError): FailureKind | undefined {
	if (upstream.row.site === "vendor") return undefined;
	if (status === ERRORS.poisonous_request.status && error.code === "poisonous_request") return "poisonous";
	if (status >= 500 && error.code === "engine_died") return upstream.row.reportsLoading ? "engine_died" : undefined;
	const found = ENGINE_DIED.exec(error.message);
	// Some versions call it a 400. The message of a true one may quote a prompt that speaks of such things.
	return found && (status >= 500 || found.index === 0) ? "engine_died" : undefined;
}

/**
 * The router's words for vLLM's of a dead engine, as a predicate of its server: those point to a log that the caller can't see. What an agent
 * has read in that log stands behind the error's class.
 */
export function engineDeath(said: string): string {
	const [, reason = ""] = /^EngineDeadError: (.+)$/s.exec(said) ?? [];
	const isPointer = ENGINE_DIED.test(reason) || /stack ?trace/i.test(reason);
	return `lost its engine while this call ran${reason && !isPointer ? ` (${reason})` : ""}, and it has to be started again: call again then`;
}

/**
 * Whether these are vLLM's words for a call that it did not take because it has as many as it may (`--max-num-queued-reqs`, `-tokens`): any refusal of its
 * API with this status, since of a dead engine it says so with another. A proxy before it has no such type.
 */
export function saysBusy(status: number, { type, message }: Pick<SaidError, "type" | "message">): boolean {
	return status === 503 && BUSY_TYPE.test(type ?? "") && !ENGINE_DIED.test(message);
}

/** The name of the status, as versions of vLLM write it. */
const BUSY_TYPE = /^Service ?Unavailable(?: ?Error)?$|^QueueOverflowError$/;

/** Where llm-d says why it dropped a call (llm-d-router 0.10, `pkg/common/error`). */
const DROPPED_REASON = "x-llm-d-request-dropped-reason";
/** It has more calls than it can take, and no engine has had this one. Of others that begin so (no endpoints, shutting down) the status says more. */
const REJECTED = /^rejected-(?:saturated|ttl-expired|context-cancelled)$/;
/** An engine had it, and gave it up for others' calls. */
const EVICTED = /^evicted(?:-|$)/;

/** Of a server of the user's own: what it means where it has dropped the call only because there are too many; undefined where it has not. */
export function busyFailure(
	upstream: Upstream,
	status: number,
	error: SaidError,
	headers: AnswerHeaders | undefined,
): FailureKind | undefined {
	if (upstream.row.site === "vendor") return undefined;
	const reason = upstream.row.site === "cluster" ? headers?.get(DROPPED_REASON) : undefined;
	if (reason && REJECTED.test(reason)) return "busy";
	if (reason && EVICTED.test(reason)) return "evicted";
	return saysBusy(status, error) ? "busy" : undefined;
}
