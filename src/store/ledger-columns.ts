/** The columns of a call's row in the ledger. */
import type { LedgerCall } from "./ledger-batch.ts";

/** A row of `calls`. */
export interface CallRow {
	readonly id: string;
	readonly at: number;
	readonly key_id: string;
	readonly key: string;
	readonly team: string;
	readonly user: string;
	readonly model: string;
	readonly provider: string;
	readonly status: number;
	readonly tokens_in: number | null;
	readonly tokens_out: number | null;
	readonly cost: number | null;
	readonly details: string;
	readonly attempts: string | null;
}

/** The call of a row. */
export function callOf({ key_id, tokens_in, tokens_out, cost, attempts, ...rest }: CallRow): LedgerCall {
	return {
		...rest,
		keyId: key_id,
		tokensIn: tokens_in ?? undefined,
		tokensOut: tokens_out ?? undefined,
		cost: cost ?? undefined,
		attempts: attempts ?? undefined,
	};
}
