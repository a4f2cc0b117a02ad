/** Looks after the ends of models: each thread asks vendors for their lists, so that answers are headed by what those say, and the main thread logs it. */

import type { CallSnapshot } from "../api/call-context.ts";
import { askVendors, retiringModels } from "../api/retiring-models.ts";
import type { Log } from "../telemetry/log.ts";
import type { CurrentSnapshot } from "./snapshot.ts";

/** When it is first looked, ms after the start, which it is no part of: the table of prices takes 20 ms to load. */
const FIRST_MS = 1_000;
/** How often it is looked whether a list is to be asked for, ms: a reload makes a new catalog, which knows none. */
const LOOK_MS = 30_000;

/** Begins to. Returns how to end it. @param log absent in a thread whose main thread says the same */
export function watchLifecycles(current: CurrentSnapshot<CallSnapshot>, log?: Pick<Log, "logger">): () => void {
	const told = new Set<string>();
	const look = async () => {
		const { config, catalog } = current.snapshot;
		await askVendors(config.models, catalog);
		if (!log) return;
		for (const { name, target, text } of retiringModels(config.models, catalog)) {
			if (told.has(text)) continue;
			told.add(text);
			log.logger.warn({ model: name, target }, `models: ${text}`);
		}
	};
	const first = setTimeout(() => void look(), FIRST_MS);
	const timer = setInterval(() => void look(), LOOK_MS);
	return () => {
		clearTimeout(first);
		clearInterval(timer);
	};
}
