/** What several workers do not share yet: each would count or know it for itself. A router with more than one is not started with it. */
import type { Config } from "../../config/schema.ts";
import { StartError } from "../../errors.ts";

/** One row: the setting of those that are in the way, undefined where there is none; and what to do. */
interface Unshared {
	readonly setting: (config: Config) => string | undefined;
	readonly remedy: string;
}

/** Each step that shares something takes its row away. */
const UNSHARED: readonly Unshared[] = [
	{ setting: ({ redis }) => (redis.url === undefined ? undefined : "redis.url"), remedy: "leave it out" },
];

/** Something of a configuration keeps it from being used with several workers. */
export const isUnshared = (config: Config): boolean => UNSHARED.some(({ setting }) => setting(config) !== undefined);

/**
 * @param workers that run, or will
 * @throws {StartError} naming the first setting that several workers do not share; nothing with one worker
 */
export function refuseUnshared(config: Config, workers: number): void {
	if (workers === 1) return;
	for (const { setting, remedy } of UNSHARED) {
		const found = setting(config);
		if (found === undefined) continue;
		throw new StartError(
			`server.workers is ${workers}, and workers don't share ${found} yet: ${remedy}, or set server.workers to 1.`,
		);
	}
}
