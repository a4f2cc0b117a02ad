/** Looks after the ends of models: each thread asks vendors for their lists, so that answers are headed by what those say, and the main thread tells of it. */

import type { CallSnapshot } from "../api/call-context.ts";
import { askVendors, type RetiringModel, retiringModels } from "../api/retiring-models.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Retirement } from "../telemetry/retirement-metrics.ts";
import type { CurrentSnapshot } from "./snapshot.ts";

/** When it is first looked, ms after the start, which it is no part of: the table of prices takes 20 ms to load. */
const FIRST_MS = 1_000;
/** How often it is looked whether a list is to be asked for, ms: a reload makes a new catalog, which knows none. */
const LOOK_MS = 30_000;

/** Where it is told which models end. */
export interface LifecycleListeners {
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "watchRetirements">;
}

/** Begins to. Returns how to end it. @param listeners absent in a thread whose main thread says the same */
export function watchLifecycles(current: CurrentSnapshot<CallSnapshot>, listeners?: LifecycleListeners): () => void {
	const told = new Set<string>();
	let retirements: readonly Retirement[] = [];
	listeners?.metrics.watchRetirements(() => retirements);
	const look = async () => {
		const { config, catalog } = current.snapshot;
		await askVendors(config.models, catalog);
		if (!listeners) return;
		const retiring = retiringModels(config.models, catalog);
		retirements = retiring.flatMap(retirementOf);
		for (const { name, target, text } of retiring) {
			if (told.has(text)) continue;
			told.add(text);
			listeners.log.logger.warn({ model: name, target }, `models: ${text}`);
		}
	};
	const first = setTimeout(() => void look(), FIRST_MS);
	const timer = setInterval(() => void look(), LOOK_MS);
	return () => {
		clearTimeout(first);
		clearInterval(timer);
	};
}

/** None where it is not known when. */
function retirementOf({ name: model, target, lifecycle: { retiresAt, isRetired } }: RetiringModel): Retirement[] {
	const at = retiresAt ?? (isRetired && 0);
	return at === undefined ? [] : [{ model, target, at }];
}
