/** What is said of agents that run away, in the log and the metrics. Which call it was and whose, never what it said. */
import type { Runaways } from "../accounts/runaway/runaways.ts";
import { SpendRates } from "../accounts/runaway/spend-rates.ts";
import type { LedgerOptions } from "../accounts/usage/ledger.ts";
import { type RunawayEvent, RunawayGuard } from "../api/runaway-guard.ts";
import type { RunawayReaction } from "../config/access.ts";
import type { Config } from "../config/schema.ts";
import { inSource } from "../source-maps.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** What keeps the agents of one thread's calls from running away. */
export function runawayGuard(
	{ runaways }: { readonly runaways: Runaways },
	{ log, metrics }: { readonly log: Pick<Log, "logger">; readonly metrics: Pick<Metrics, "runaway"> },
): RunawayGuard {
	return new RunawayGuard({
		runaways,
		report: (event) => reportRunaway(event, log, metrics),
		onFault: (id, fault) => reportFault(id, fault, log),
	});
}

/** Where it failed. The message of an error may cite what the call said. */
function reportFault(id: string, fault: unknown, { logger }: Pick<Log, "logger">): void {
	const { name, message, stack = "" } = fault instanceof Error ? fault : new Error();
	const frames = stack.replace(message, "").match(/^\s+at .*/gm);
	logger.error(
		{ id, fault: name, at: frames?.map(inSource) },
		"the router could not tell whether an agent repeats itself",
	);
}

/** A call of one. The log has a line when it begins, and whenever it has gone on for twice as many rounds. */
export function reportRunaway(
	{ kind, action, isNews, rounds, call: id, key, session, model }: RunawayEvent,
	{ logger }: Pick<Log, "logger">,
	metrics: Pick<Metrics, "runaway">,
): void {
	metrics.runaway(kind, action);
	if (isNews) logger.warn({ id, key, session, model, rounds, action }, "An agent repeats itself.");
}

/**
 * What hears of all that is spent, and says which keys spend far more than they usually do. The main thread's: it has the ledger.
 * @param wall Unix time, ms
 */
export function spendingWatch(
	runaways: Runaways,
	current: { readonly snapshot: { readonly config: Pick<Config, "keys" | "runaway"> } },
	{ logger }: Pick<Log, "logger">,
	wall: () => number = Date.now,
): NonNullable<LedgerOptions["onWritten"]> {
	const rates = new SpendRates();
	return (rows, settledAt) => {
		const { config } = current.snapshot;
		runaways.calmed();
		for (const fast of rates.spent(rows, settledAt, wall(), config.runaway.factor)) {
			const action = reactionTo(fast.keyId, config);
			if (action === "off" || !runaways.sped({ ...fast, action })) continue;
			const { key, usd, usual } = fast;
			logger.warn({ key, usd, usual_usd: usual, action }, "A key spends far more than it usually does.");
		}
	};
}

function reactionTo(keyId: string, { keys, runaway }: Pick<Config, "keys" | "runaway">): RunawayReaction {
	return keys.find(({ name }) => keyId === `config:${name}`)?.runaway ?? runaway.spending;
}
