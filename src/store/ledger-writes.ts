/**
 * The ledger's tables with the columns that this version writes. Each insert names them: a process of a later version, which may have this one's
 * place already while calls of it still run, adds others.
 */

/** The columns of `usage_days` that are sums, in the table's order. */
export const SUMS = [
	"calls",
	"failed",
	"estimated",
	"unpriced",
	"tokens_in",
	"tokens_out",
	"tokens_cached",
	"tokens_reasoning",
	"cost",
	"energy",
];
/** A call. */
export const CALL_COLUMNS =
	"calls (id, at, key_id, key, team, user, model, provider, status, tokens_in, tokens_out, cost, details, attempts)";
/** An attempt that ended behind its call. */
export const ATTEMPT_COLUMNS = "attempts (call, number, provider, target, failure, status, ms, details)";
/** What a key's calls of a day have come to, by user, model and provider. */
export const USAGE_COLUMNS = `usage_days (day, key_id, user, model, provider, key, team, ${SUMS.join(", ")})`;
