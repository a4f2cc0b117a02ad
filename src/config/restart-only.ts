/** Settings that only a restart applies: the port is bound, the log is open, the memory is taken. */
import { type Difference, differences } from "./diff.ts";
import type { Config } from "./schema.ts";

const SERVER = [
	"host",
	"port",
	"workers",
	"tls",
	"generate_key",
	"body_limit",
	"cors_origins",
	"drain",
	"shutdown_timeout",
] as const satisfies readonly (keyof Config["server"])[];
const CACHE = ["enabled", "memory", "max_entry"] as const satisfies readonly (keyof Config["cache"])[];
const SECTIONS = ["log", "data_dir", "redis", "agent"] as const satisfies readonly (keyof Config)[];

/** Its agent takes them while it runs; a router has none. */
const AGENT_MODELS = "agent.models";

/** The new configuration as far as a running process can apply it, and the settings that wait for a restart. */
export function keepRestartOnly(running: Config, next: Config): { config: Config; waiting: Difference[] } {
	const config = {
		...next,
		...pick(running, SECTIONS),
		server: { ...without(next.server, SERVER), ...pick(running.server, SERVER) },
		cache: { ...next.cache, ...pick(running.cache, CACHE) },
	} as Config;
	const waiting = differences(config, next).filter(({ setting }) => !setting.startsWith(AGENT_MODELS));
	return { config, waiting };
}

/** These of its settings, where they are set. */
function pick<T extends object>(from: T, names: readonly (keyof T)[]): Partial<T> {
	const found: Partial<T> = {};
	for (const name of names) if (from[name] !== undefined) found[name] = from[name];
	return found;
}

/** All of its settings but these. */
function without<T extends object>(from: T, names: readonly (keyof T)[]): Partial<T> {
	const rest: Partial<T> = { ...from };
	for (const name of names) delete rest[name];
	return rest;
}
