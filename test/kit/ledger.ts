/** A ledger to write to, and calls to write. */
import { existsSync } from "node:fs";
import { Ledger } from "../../src/accounts/usage/ledger.ts";
import { newRequestId } from "../../src/request-id.ts";
import { sqliteStore } from "../../src/store/sqlite.ts";
import type { CallSettled } from "../../src/telemetry/events.ts";

/** A call of a key, answered and priced. */
export const settled = (rest: Partial<CallSettled> = {}): CallSettled => ({
	id: newRequestId(),
	operation: "chat",
	stream: false,
	requested: "fast",
	model: "fast",
	provider: "openai",
	target: "openai/gpt-5-mini",
	status: 200,
	attempts: 1,
	ms: 120.34,
	tokens: { input: 100, output: 20, cached: 60 },
	cost: 0.001,
	bill: { source: "list", isEstimated: false, price: { input: 0.25, output: 2 } },
	key: "team-a",
	keyId: "config:team-a",
	team: "red",
	...rest,
});

/** A ledger in this directory, and its store. */
export function ledgerIn(path: string, bounds = { keep: 30 * 86_400_000, size: 1e9 }, wall = Date.now) {
	const store = sqliteStore(path, (problem) => {
		// A ledger's timer may outlive its test by half a second, and the directory does not. Locks are no trouble that stays.
		if (existsSync(path) && !problem.includes("SQLITE_BUSY")) throw new Error(problem);
	});
	return { store, ledger: new Ledger({ store: store.ledger, bounds, wall }) };
}
