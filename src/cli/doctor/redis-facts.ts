/** What the Redis of a configuration says of itself, and what of that looks wrong. */
import type { Config } from "../../config/schema.ts";
import { redisServer } from "../../server/redis-features.ts";
import { SharedRedis } from "../../store/redis.ts";
import { table } from "../table.ts";
import type { PagePart } from "./doctor-page.ts";

/** How long a connection is waited for, ms. */
const PATIENCE_MS = 5_000;
/** The same for a command of a Redis that has answered before, ms. */
const COMMAND_MS = 1_000;
/** A clock that is off by more is said to be wrong, ms: windows of limits and times of rows are shared through Redis. */
const MOST_SKEW_MS = 2_000;

const title = "Redis";

/** Connects, asks, and closes the connection. Throws StartError for an address that is none. */
export async function redisFacts(config: Config): Promise<PagePart> {
	const server = redisServer(config);
	if (!server) return { title, lines: ["not set: this router shares nothing with others"] };
	let reason: string | undefined;
	const up = Promise.withResolvers<boolean>();
	const listener = {
		changed: (_: unknown, why: string | undefined) => {
			reason = why;
		},
		failed: () => {},
		refused: () => {},
	};
	const redis = new SharedRedis({ ...server, timeoutMs: COMMAND_MS, listener });
	redis.onUp(() => up.resolve(true));
	const timer = setTimeout(() => up.resolve(false), PATIENCE_MS);
	const close = redis.open();
	try {
		if (!(await up.promise)) return silent(reason ?? "no connection");
		const begun = performance.now();
		const time = await redis.run((client) => client.time());
		const took = performance.now() - begun;
		const [seconds, micros] = (time ?? []).map(Number);
		const skew = seconds === undefined ? 0 : Date.now() - took / 2 - (seconds * 1000 + (micros ?? 0) / 1000);
		const info = String((await redis.run((client) => client.info())) ?? "");
		return factsOf({ info, took, skew, timeout: server.timeoutMs });
	} finally {
		clearTimeout(timer);
		close();
	}
}

function silent(reason: string): PagePart {
	const fix =
		"see whether the server runs, and `redis.url`, its password and `redis.ca_file`; until then each router counts for itself";
	return {
		title,
		lines: [`does not answer (${reason})`],
		wrong: [`Redis does not answer (${reason}): ${fix}`],
	};
}

/** `took`, `skew`, `timeout`: ms. */
function factsOf({
	info,
	took,
	skew,
	timeout,
}: {
	info: string;
	took: number;
	skew: number;
	timeout: number;
}): PagePart {
	const fact = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1] ?? "unknown";
	const policy = fact("maxmemory_policy");
	const wrong: string[] = [];
	if (Math.abs(skew) > MOST_SKEW_MS) {
		wrong.push(`this machine's clock and that of Redis differ by ${Math.round(skew)} ms: run an NTP client on both`);
	}
	if (took > timeout) {
		wrong.push(
			`Redis took ${Math.round(took)} ms for a command, and calls wait \`redis.timeout\` (${timeout} ms) at most`,
		);
	}
	if (policy.startsWith("allkeys") && fact("maxmemory") !== "0") {
		wrong.push(
			`Redis drops keys when its memory is full (maxmemory-policy ${policy}), limits among them: set volatile-lru, or give routers a Redis of their own`,
		);
	}
	const rows = [
		["version", fact("redis_version")],
		["a command", `${took.toFixed(1)} ms`],
		["clock", `${Math.round(skew)} ms from this machine's`],
		["memory", `${fact("used_memory_human")}, maxmemory ${fact("maxmemory_human")}, ${policy}`],
	];
	return { title, lines: table(rows).trimEnd().split("\n"), wrong };
}
