/** What happens to calls, as plain values: metrics, the log, the ledger and the fleet of agents listen, and the pipeline knows none of them. */
import type { Operation } from "../openai/operations.ts";
import type { Tokens } from "../openai/usage.ts";
import type { FailureKind } from "../providers/failure.ts";
import type { AttemptSpan, TraceOfCall } from "./otel/span-context.ts";

/** One attempt at one target, closed exactly once. Times in ms. */
export interface AttemptClosed {
	readonly callId: string;
	/** From 1, in the order in which the call's attempts began. */
	readonly number?: number | undefined;
	readonly provider: string;
	readonly target: string;
	/** The agent it ran on. */
	readonly agent?: string | undefined;
	/** Absent when the attempt succeeded. */
	readonly failure?: FailureKind | undefined;
	/** The upstream's status; absent when no answer came. */
	readonly status?: number | undefined;
	readonly ms: number;
	/** When it began, from when its call came in. */
	readonly beganMs?: number | undefined;
	/** What its upstream has counted, whether or not its answer was used. */
	readonly tokens?: Tokens | undefined;
	/** USD, as its upstream said; of an answer that was not used, or that failed, by its price where that said nothing. */
	readonly cost?: number | undefined;
	/** Its target was asked beside another one, which was late. */
	readonly isSecond?: boolean | undefined;
	/** Another target's answer was used: what this one cost is the router's own, and counted to no key. */
	readonly isUnused?: boolean | undefined;
	/** It failed, and its upstream had answered: `cost` is on no call's bill. */
	readonly isUnbilled?: boolean | undefined;
	/** It failed, and `cost` is on its call's bill: the answer was of another form than its caller asked for. */
	readonly isCharged?: boolean | undefined;
	/** Of a trace that is sent. */
	readonly span?: AttemptSpan | undefined;
}

/** What a call did after an attempt that failed, or beside one that was late. */
export interface AttemptStep {
	/**
	 * `retry`: again at the same target, `failover`: at another one. `hedge`: at another one, too, because the first was late; `hedge-won`
	 * where that one was used. `resume`: an answer that had begun went on elsewhere. `refused`: not tried again, since all calls together had been tried again too often.
	 */
	readonly how: "retry" | "failover" | "hedge" | "hedge-won" | "refused" | "resume";
	/** The provider of the attempt before it. */
	readonly provider: string;
	/** How that one failed. */
	readonly failure?: FailureKind | undefined;
}

/** What became of a call in the line before a model that takes only so many at once. */
export interface Queued {
	/** The name in `models:`. */
	readonly model: string;
	/** How long it waited, ms; absent where it was refused. */
	readonly waitedMs?: number | undefined;
	readonly refused?: "full" | "late" | undefined;
}

/** One call, settled exactly once: answered, failed, rejected or left by its client. Times in ms. */
export interface CallSettled {
	readonly id: string;
	readonly operation: Operation;
	readonly stream: boolean;
	/** The name the client asked for, as it wrote it; logged. */
	readonly requested?: string | undefined;
	/**
	 * The name that resolved, bounded: `unknown` unless the catalog knew it. The metrics label.
	 */
	readonly model: string;
	/** `none` when no upstream was chosen. */
	readonly provider: string;
	/** The agent of the last attempt. */
	readonly agent?: string | undefined;
	/** What the client saw; 499 when it left, and the failure's status when a stream broke after its 200. */
	readonly status: number;
	readonly attempts: number;
	readonly firstTokenMs?: number | undefined;
	readonly ms: number;
	readonly tokens?: Tokens | undefined;
	/** USD; undefined where nobody knows. */
	readonly cost?: number | undefined;
	/** What its attempts got of the energy of their engines, J; absent where nobody says what those draw. */
	readonly energyJ?: number | undefined;
	/** How the cost came about; absent where nothing was answered. */
	readonly bill?: Bill | undefined;
	readonly key?: string | undefined;
	/** What stays the same of the key when its secret or name changes. */
	readonly keyId?: string | undefined;
	readonly team?: string | undefined;
	/** Where it ran, as the target's id. */
	readonly target?: string | undefined;
	/** Why there: the candidates and what was known of them, as JSON shows it. */
	readonly decision?: object | undefined;
	/** What else it was decided by, for replays: routing/plan-snapshot.ts. */
	readonly snapshot?: string | undefined;
	/** The end user the call was made for. */
	readonly user?: string | undefined;
	readonly cache?: "hit" | "miss" | "bypass" | undefined;
	/** Why this target: one short phrase, `prefix gpt-*`. */
	readonly reason?: string | undefined;
	/** Code of the error the client got. */
	readonly error?: string | undefined;
	/** Events of a stream that were no JSON and were dropped. */
	readonly dropped?: number | undefined;
	/** Fields of the call that its upstream has no form for, and that were left out. */
	readonly droppedFields?: readonly string[] | undefined;
	/** Targets that it was not sent to when it was their turn, since they have no form for a field of it. */
	readonly skipped?: readonly SkippedTarget[] | undefined;
	/** Absent where nothing is traced. */
	readonly trace?: TraceOfCall | undefined;
	/** Of a copy: what it is compared with. It is no caller's call. */
	readonly shadow?: ShadowedAnswer | undefined;
}

/**
 * The answer of a caller's call that a copy of it, for another model, is compared with (`shadow` of a model). Names are those of the ledger, which
 * keeps it as it is. Times in ms, cost in USD.
 */
export interface ShadowedAnswer {
	/** Id of the caller's call. */
	readonly of: string;
	/** The name in `models:` that was asked for. */
	readonly model: string;
	/** From the time at which it was known where the call may go: its client's body is not waited for. */
	readonly ms: number;
	readonly first_token_ms?: number | undefined;
	readonly tokens_out?: number | undefined;
	readonly cost_usd?: number | undefined;
	/** Both ended for the same reason. Absent where that is not known: the copy failed, or one answer was too long. */
	readonly same_finish_reason?: boolean | undefined;
	/** Both ask for the same tools. Absent where neither asks for any, too. */
	readonly same_tool_calls?: boolean | undefined;
}

/**
 * Why a sampled call was not copied, or what came of the copy. `compared`; `failed`: it got no answer. `effects`: the call does more than being
 * answered. `not_allowed`: to its key the other model is closed. `no_price`: nobody knows what it costs. `unavailable`: nobody serves it.
 * `unsupported`: it has no form for the call. `busy`, `limited`, `budget`: there was no room for it. `full`: too many run. `draining`: the router stops.
 */
export type ShadowOutcome =
	| "compared"
	| "failed"
	| "effects"
	| "not_allowed"
	| "no_price"
	| "unavailable"
	| "unsupported"
	| "busy"
	| "limited"
	| "budget"
	| "full"
	| "draining";

/** A call once it is known whose it is and what it asks for; it is settled later. */
export interface NamedCall extends Pick<CallSettled, "id" | "operation" | "stream" | "requested" | "user"> {
	/** What the model is called in metrics, where that `isKnown`. */
	readonly label: string;
	readonly isKnown: boolean;
	/** Whose it is; the name is shown. */
	readonly caller: { readonly id: string; readonly name: string; readonly team?: string | undefined } | undefined;
	/** `performance.now()` of its thread at its arrival. */
	readonly startedAt: number;
}

/** A target's id, and why a call was not sent there, as its error says it. */
export interface SkippedTarget {
	readonly target: string;
	readonly reason: string;
}

/** How the cost of a call came about. */
export interface Bill {
	/** Where the price comes from: the upstream itself; `prices:`; the table of list prices; `own` hardware. `none`: nobody. */
	readonly source: "upstream" | "prices" | "list" | "own" | "none";
	/** The tokens are a guess: the upstream did not say, or the client left before it could. */
	readonly isEstimated: boolean;
	/** The price that was used, by kind of token, USD per million. */
	readonly price?: object | undefined;
}

/** A listener to calls. Every method is called synchronously and must not throw or block. */
export interface Sink {
	callStarted(): void;
	callNamed?(call: NamedCall): void;
	attemptClosed(attempt: AttemptClosed): void;
	/** The same, only of attempts that failed. */
	attemptFailed?(attempt: AttemptClosed): void;
	/** The same, only of attempts at agents. */
	agentAttemptClosed?(attempt: AttemptClosed): void;
	attemptFollowed?(step: AttemptStep): void;
	queued?(what: Queued): void;
	/** @param at when, Unix time, ms, where that is told later */
	callSettled(call: CallSettled, at?: number): void;
	/** A copy of a call is over: it has `shadow`, and is told of by nothing else. @param at likewise */
	shadowSettled?(call: CallSettled, at?: number): void;
	/** A sampled call was not copied. @param model the name in `models:` that was asked for @param to the one that was to get the copy */
	shadowDropped?(model: string, to: string, why: ShadowOutcome): void;
}
