/** What several workers do not share yet: each would count or know it for itself. A router with more than one is not started with it. */

import type { KeyLimits, StoredKey } from "../../accounts/auth/key-store.ts";
import type { Limiter } from "../../accounts/limits/limiter.ts";
import type { Config } from "../../config/schema.ts";
import { RouterError, StartError } from "../../errors.ts";

/** One row: the setting of those that are in the way, undefined where there is none; and what to do. */
interface Unshared {
	readonly setting: (config: Config) => string | undefined;
	readonly remedy: string;
}

/** A prompt's longest size is a limit that needs no counting. */
const limited = ({ rpm, tpm, concurrency }: KeyLimits): boolean =>
	rpm !== undefined || tpm !== undefined || concurrency !== undefined;

/** Each step that shares something takes its row away. */
const UNSHARED: readonly Unshared[] = [
	{
		setting({ keys }) {
			const at = keys.findIndex((key) => limited(key) || key.budget);
			return at === -1 ? undefined : `keys[${at}] (${keys[at]!.name}) with a limit or a budget`;
		},
		remedy: "leave them out",
	},
	{
		setting: ({ limits }) => {
			const isUsed = Object.values(limits.models).some(limited) || (limits.address && limited(limits.address));
			return isUsed ? "limits" : undefined;
		},
		remedy: "leave them out",
	},
	{
		setting({ models }) {
			const at = models.findIndex(({ concurrency }) => concurrency !== undefined);
			return at === -1 ? undefined : `models[${at}].concurrency`;
		},
		remedy: "leave it out",
	},
	{
		setting({ prices }) {
			const name = Object.keys(prices).find((each) => prices[each]?.gpu_hour !== undefined);
			return name === undefined ? undefined : `prices["${name}"].gpu_hour`;
		},
		remedy: "leave it out",
	},
	{
		setting: ({ cache }) => (cache.enabled ? "cache.enabled" : undefined),
		remedy: "set it to false",
	},
	{ setting: ({ redis }) => (redis.url === undefined ? undefined : "redis.url"), remedy: "leave it out" },
];

/**
 * @param stored keys that were created at run time
 * @throws {StartError} naming the first setting that several workers do not share; nothing with one worker
 */
export function refuseUnshared(config: Config, stored: () => readonly StoredKey[]): void {
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
	const key = stored().find((each) => each.revokedAt === undefined && (limited(each.limits) || each.budget));
	if (key) refuse(`limits and budgets, which the key "${key.name}" has`, "revoke it");
}

/** Refuses calls whose limits would be counted: a key was given them while the router runs. */
export const refusingLimiter: Limiter = {
	take() {
		throw new RouterError(
			"insufficient_quota",
			"This key has limits or a budget, which can't be counted while server.workers is above 1: set that to 1.",
		);
	},
	settle() {},
	cancel() {},
};
