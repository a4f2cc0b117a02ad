/** Another configuration for a server that runs: when its file changes, and on SIGHUP. */

import { createGate, type Gate } from "../accounts/auth/keys.ts";
import type { Accounts, CallSnapshot } from "../api/call-context.ts";
import { ConfigError, type Finding, located, type Mistake, mistakeLine } from "../config/config-error.ts";
import { type Difference, differenceLine, differences } from "../config/diff.ts";
import type { Config } from "../config/schema.ts";
import { watchFile } from "../config/watch.ts";
import { StartError } from "../errors.ts";
import type { Catalog } from "../routing/catalog.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { entriesOf, type RoleCatalog, type RolePlan } from "./role-plan.ts";

/** Another configuration. */
export interface Renewed {
	readonly plan: RolePlan;
	/** What takes a restart. */
	readonly waiting: readonly Difference[];
	/** What of it had to be mended. */
	readonly warnings: readonly Mistake[];
	/** Whoever wrote it means that it leaves no key: see `saysOpen`. */
	readonly mayOpen: boolean;
	/** The place in the file of a mistake that only shows when the catalog is made. */
	readonly locate?: (finding: Finding) => Mistake;
}

/** Where another configuration comes from. */
export interface Renewal {
	/** The file that is watched: absolute. */
	readonly file: string;
	/** Loads it, as far as a process that runs with `running` can take it. Throws ConfigError and StartError. */
	again(running: Config): Renewed;
}

/** What reloads work with. */
export interface ReloadOptions {
	readonly renewal: Renewal;
	/** Of the start: what it runs beside it goes on. */
	readonly catalog: RoleCatalog;
	readonly accountsOf?: ((config: Config, catalog: Catalog) => Accounts) | undefined;
	/** There where the start made a key. */
	readonly generatedGate: Gate | undefined;
	readonly current: () => CallSnapshot;
	readonly take: (snapshot: CallSnapshot) => void;
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "reloaded">;
}

/** Most settings that one reload logs. */
const MOST_SHOWN = 50;

const OPENED =
	"No key would be left, and everyone who reaches this port could call. If that is meant, write `keys: []` and name the loopback address under `server.host`, or write `keys: []` and `server: { insecure: true }`.";

/** Loads anew once. What can't be used is logged and counted, and the last good configuration goes on. */
export function reload({
	renewal,
	catalog,
	accountsOf,
	generatedGate,
	current,
	take,
	log,
	metrics,
}: ReloadOptions): void {
	const { config: running, gate: before } = current();
	let locate: Renewed["locate"];
	try {
		const renewed = renewal.again(running);
		const { plan, waiting, warnings, mayOpen } = renewed;
		locate = renewed.locate;
		if (plan.generatesKey && !generatedGate) {
			throw new StartError("without any key left one would have to be made, which takes a restart.");
		}
		const gate = plan.generatesKey ? generatedGate! : createGate(plan.keys, undefined, plan.guest, plan.made);
		if (gate.isOpen && !before.isOpen && !mayOpen) throw new StartError(OPENED);
		const { config } = plan;
		const next = catalog.renewed!(config, entriesOf(plan));
		take({ config, catalog: next, gate, accounts: accountsOf?.(config, next) });
		metrics.reloaded("loaded");
		const changes = differences(running, plan.config).map(differenceLine);
		log.logger.info(
			{ file: renewal.file, changes: changes.slice(0, MOST_SHOWN), changed: changes.length },
			"The configuration was loaded anew.",
		);
		if (gate.isOpen && !before.isOpen) log.logger.warn("No key is left: whoever reaches this port may call.");
		for (const warning of warnings) log.logger.warn(mistakeLine(warning));
		if (waiting.length > 0) {
			log.logger.warn({ changes: waiting.map(differenceLine) }, "These settings take effect after a restart.");
		}
	} catch (thrown) {
		const error = locate ? located(thrown, locate) : thrown;
		metrics.reloaded("refused");
		// Their messages quote no value; any other error is a fault of ours.
		const isMistake = error instanceof ConfigError || error instanceof StartError;
		const mistakes = isMistake ? error.message.split("\n").slice(0, MOST_SHOWN) : undefined;
		log.logger.error(
			{ file: renewal.file, ...(isMistake ? { mistakes } : { err: error }) },
			"The configuration can't be used; the last good one stays.",
		);
	}
}

/** Watches the file and hears SIGHUP (on Windows that is the closing of the console, and not heard). Returns how to end it. */
export function watchConfiguration(options: ReloadOptions): () => void {
	const watch = watchFile(options.renewal.file, () => reload(options));
	// Not at once: who is still writing the file may not have come to what a key may not do.
	const onSignal = () => watch.recheck();
	if (process.platform !== "win32") process.on("SIGHUP", onSignal);
	return () => {
		watch.stop();
		process.off("SIGHUP", onSignal);
	};
}
