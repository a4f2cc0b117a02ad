/** The router's cache of answers, as its configuration wants it. */
import type { SecondLevel } from "../cache/second-level.ts";
import type { Config } from "../config/schema.ts";
import { AnswerCache } from "../http/answer-cache.ts";

/** The cache; undefined where it is switched off. Opens nothing. */
export function answersOf({ cache, models }: Config, secondLevel?: SecondLevel): AnswerCache | undefined {
	if (!cache.enabled) return undefined;
	const usual = { ttl: cache.ttl };
	const own = new Map(models.flatMap(({ name, cache: its }) => (its ? [[name, { ...usual, ...its }] as const] : [])));
	return new AnswerCache({
		memory: cache.memory,
		maxEntry: cache.max_entry,
		isShared: cache.shared,
		settingsFor: (model) => own.get(model) ?? usual,
		secondLevel,
	});
}
