/** What one attempt of a call came to. */
import type { Tokens } from "../openai/usage.ts";
import type { FailureKind } from "../providers/failure.ts";

/** How an attempt ended. */
export interface AttemptResult {
	/** The upstream's; absent where it gave none. */
	readonly status?: number | undefined;
	readonly failure?: FailureKind | undefined;
	/** What its answer used and cost (USD), whether or not that was sent to the client. */
	readonly tokens?: Tokens | undefined;
	readonly cost?: number | undefined;
	/** When the first piece of its answer came, on `performance.now()`'s clock; of streams. */
	readonly firstTokenAt?: number | undefined;
	/** Another target's answer was sent. */
	readonly isUnused?: boolean | undefined;
	/**
	 * Of a failed attempt whose upstream had answered: the tokens of that, as far as its text shows them. Undefined where nothing came, or
	 * where what came is on the call's bill.
	 */
	readonly unbilled?: number | undefined;
	/** See Failure: its key pays for it, which could else ask for such answers without end. */
	readonly isOtherForm?: boolean | undefined;
	/** What the failure says of its target, where that is not its own kind. */
	readonly target?: TargetFailure | undefined;
}

/** What a failed attempt says of its target's health. */
export interface TargetFailure {
	readonly failure: FailureKind;
	/** How long the target asked to be left alone, ms. */
	readonly retryAfterMs?: number | undefined;
	/** How long none of its keys is in use, ms. */
	readonly outOfUseMs?: number | undefined;
}
