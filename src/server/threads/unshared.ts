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
	{
		setting({ models }) {
			const at = models.findIndex(({ concurrency }) => concurrency !== undefined);
			return at === -1 ? undefined : `models[${at}].concurrency`;
		},
		remedy: "leave it out",
	},
	{ setting: ({ redis }) => (redis.url === undefined ? undefined : "redis.url"), remedy: "leave it out" },
];

/** @throws {StartError} naming the first setting that several workers do not share; nothing with one worker */
export function refuseUnshared(config: Config): void {
	const { workers } = config.server;
	if (workers === 1) return;
	const refuse = (what: string, remedy: string) => {
		throw new StartError(
			`server.workers is ${workers}, and workers don't share ${what} yet: ${remedy}, or set server.workers to 1.`,
		);
	};
	if (process.platform !== "linux") {
		throw new StartError(`server.workers is ${workers}: only Linux spreads connections over several. Set it to 1.`);
	}
	for (const { setting, remedy } of UNSHARED) {
		const found = setting(config);
		if (found !== undefined) refuse(found, remedy);
	}
}
