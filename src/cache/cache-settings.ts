/** The router's cache of answers, as its configuration wants it. */

import type { Config } from "../config/schema.ts";
import { AnswerCache } from "./cache.ts";
import type { CacheSettings } from "./rules.ts";
import type { SecondLevel } from "./shared-store.ts";

/**
 * The cache; undefined where it is switched off. Takes no memory yet. A reload changes what it says of models and of sharing;
 * its memory, and whether there is one, are those of the start.
 * @param config the configuration in force
 */
export function answersOf(config: () => Config, secondLevel?: SecondLevel): AnswerCache | undefined {
	const { cache } = config();
	if (!cache.enabled) return undefined;
	let known = settingsOf(config());
	return new AnswerCache({
		memory: cache.memory,
		maxEntry: cache.max_entry,
		isShared: () => config().cache.shared,
		settingsFor(model) {
			if (known.of !== config()) known = settingsOf(config());
			return known.own.get(model) ?? known.usual;
		},
		secondLevel,
	});
}

function settingsOf(config: Config): { of: Config; usual: CacheSettings; own: Map<string, CacheSettings> } {
	const { enabled, ttl } = config.cache;
	const usual: CacheSettings = enabled ? { ttl } : { enabled, ttl };
	const own = new Map(
		config.models.flatMap(({ name, cache }) => (cache && enabled ? [[name, { ttl, ...cache }]] : [])),
	);
	return { of: config, usual, own };
}
