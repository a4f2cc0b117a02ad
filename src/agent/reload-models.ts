/** Another configuration for an agent that runs, when its file changes and on SIGHUP: its models; the rest of it waits for a restart. */
import { ConfigError, located } from "../config/config-error.ts";
import { differenceLine, differences } from "../config/diff.ts";
import type { Loaded } from "../config/load.ts";
import { watchFile } from "../config/watch.ts";
import { StartError } from "../errors.ts";
import type { AgentParts } from "./agent-parts.ts";

/** Most lines that one reload logs. */
const MOST_SHOWN = 50;
const MODELS = "agent.models";

/** What a reload changes. */
type ReloadedParts = Pick<AgentParts, "registry" | "tick" | "changes" | "log">;

/** Watches the configuration's file and hears SIGHUP. Returns how to end it. */
export function watchModels(parts: ReloadedParts, started: Loaded): () => void {
	let loaded = started;
	const watch = watchFile(started, () => {
		loaded = reload(parts, loaded);
	});
	const onSignal = () => watch.recheck();
	if (process.platform !== "win32") process.on("SIGHUP", onSignal);
	return () => {
		watch.stop();
		process.off("SIGHUP", onSignal);
	};
}

/** What can't be used is logged, and the last good models stay. Returns the last configuration that was used. */
function reload({ registry, tick, changes, log }: ReloadedParts, loaded: Loaded): Loaded {
	let next: Loaded | undefined;
	try {
		next = loaded.again();
		registry.configure(next.config.agent.models);
	} catch (thrown) {
		const error = next ? located(thrown, next.locate) : thrown;
		const isMistake = error instanceof ConfigError || error instanceof StartError;
		const mistakes = isMistake ? error.message.split("\n").slice(0, MOST_SHOWN) : undefined;
		const fields = { file: loaded.watched, ...(isMistake ? { mistakes } : { err: error }) };
		log.logger.error(fields, "The agent's models can't be changed so; those of before stay.");
		return loaded;
	}
	const all = differences(loaded.config, next.config).filter(({ setting }) => setting.startsWith("agent."));
	const changed = all.filter(({ setting }) => setting.startsWith(MODELS)).map(differenceLine);
	const waiting = all.filter(({ setting }) => !setting.startsWith(MODELS)).map(differenceLine);
	log.logger.info(
		{ file: loaded.watched, changes: changed.slice(0, MOST_SHOWN) },
		"The agent's models were loaded anew.",
	);
	if (waiting.length > 0) {
		log.logger.warn(
			{ changes: waiting.slice(0, MOST_SHOWN) },
			"These settings of the agent take effect after a restart.",
		);
	}
	tick.notify();
	changes.notify();
	return next;
}
