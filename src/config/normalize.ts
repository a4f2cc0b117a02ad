/** The last step of loading: checked values become what the program works with. */
import { resolve } from "node:path";
import { pathText } from "./config-error.ts";
import { type Config, ConfigSchema } from "./schema.ts";
import { mapLeaves } from "./schema-walk.ts";
import { parseBytes, parseDuration } from "./units.ts";

/** Settings that name a file or a directory. */
const PATHS = new Set([
	"data_dir",
	"log.dir",
	"ca_file",
	"redis.ca_file",
	"server.tls.cert",
	"server.tls.key",
	"agent.cache_dir",
]);

/** Durations become ms, sizes bytes, paths absolute (from `cwd`); the result is frozen, deeply. Takes only what validated. */
export function finish(values: Record<string, unknown>, cwd: string): Config {
	const config = mapLeaves(ConfigSchema, values, (value, schema, path) => {
		if (typeof value !== "string") return value;
		if (schema["unit"] === "ms") return parseDuration(value);
		if (schema["unit"] === "bytes") return parseBytes(value);
		return PATHS.has(pathText(path)) ? resolve(cwd, value) : value;
	});
	freeze(config);
	return config as Config;
}

function freeze(value: unknown): void {
	if (typeof value !== "object" || value === null) return;
	Object.values(value).forEach(freeze);
	Object.freeze(value);
}
