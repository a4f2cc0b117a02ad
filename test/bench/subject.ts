/** What is measured and what stands behind it: upstreams, bare relay, nginx, router. */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Json } from "../kit/exchange.ts";
import { oneWorker } from "../kit/router.ts";
import { proxyConfig, upstreamConfig, writeAnswers } from "./nginx.ts";
import { type Program, type Running, start } from "./processes.ts";
import type { Mode } from "./wire.ts";

/** Bun allows 256 fetches at once unless told otherwise at process start; the router tells itself. */
const FETCH_LIMIT = { BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" };

const source = (name: string) => join(import.meta.dir, name);
const bun = (name: string, ...rest: string[]) => [process.execPath, "--no-env-file", source(name), ...rest];

/** nginx where it is installed: Debian keeps it where only root looks. */
export const NGINX = Bun.which("nginx") ?? Bun.which("/usr/sbin/nginx");

function nginx(place: Program["place"], config: (dir: string, port: number) => string): Promise<Running> {
	return start({
		place,
		health: "/",
		command: (port, dir) => {
			writeAnswers(dir);
			writeFileSync(join(dir, "nginx.conf"), config(dir, port));
			return [NGINX ?? "nginx", "-p", dir, "-c", join(dir, "nginx.conf")];
		},
	});
}

/** Answers in every mode; `url` + `/` + mode is what stands before `/v1`, and where nothing does the mode is this one. */
export const startUpstream = (mode: Mode = "whole") =>
	start({ place: "around", health: "/", command: (port) => bun("upstream.ts", String(port), mode) });

/** Whole answers at nginx's price, or those of our own upstream where there is none. */
export const startWholeUpstream = () => (NGINX ? nginx("around", upstreamConfig) : startUpstream());

/** The bare relay in front of `upstream` (a URL that ends with a mode). @param workers threads beside the main one that take its calls; without any it does */
export const startRelay = (upstream: string, workers?: number) =>
	start({
		place: "subject",
		health: "/",
		command: (port) => bun("relay.ts", String(port), upstream, ...(workers === undefined ? [] : [String(workers)])),
		env: () => FETCH_LIMIT,
	});

/** nginx as a proxy in front of `upstream`; only where {@link NGINX} is. */
export const startProxy = (upstream: string) => nginx("subject", (dir, port) => proxyConfig(dir, port, upstream));

/**
 * The compiled router in front of `upstream`, as people run it: metrics, validation, ledger and log on. It is started
 * without the variable for its fetch limit, so that its own re-exec is in the measured start.
 * @param env variables of its own besides
 */
export const startRouter = (upstream: string, binary: string, settings?: object, env?: Record<string, string>) =>
	startProgram(upstream, [resolve(binary)], settings, env);

/** The router of a tree, from source under Bun's profiler, which its re-exec would end: it is spared that. */
export const startProfiled = (upstream: string, tree: string, flags: readonly string[], settings?: object) =>
	startProgram(
		upstream,
		[process.execPath, "--no-env-file", ...flags, join(tree, "src/main.ts")],
		settings,
		FETCH_LIMIT,
	);

function startProgram(upstream: string, command: readonly string[], settings?: object, env?: Record<string, string>) {
	return start({
		place: "subject",
		health: "/health/ready",
		command: () => command,
		env: (port, dir) => ({
			...env,
			...(settings ? { ROUTER_CONFIG: configIn(dir, settings) } : {}),
			...oneWorker(settings as Json | undefined),
			HOST: "127.0.0.1",
			PORT: String(port),
			OPENAI_BASE_URL: `${upstream}/v1`,
			OPENAI_API_KEY: "bench-key-of-openai",
			ANTHROPIC_BASE_URL: upstream,
			ANTHROPIC_API_KEY: "bench-key-of-anthropic",
			GEMINI_BASE_URL: upstream,
			GEMINI_API_KEY: "bench-key-of-gemini",
			DATA_DIR: join(dir, "data"),
			LOG_DIR: join(dir, "logs"),
		}),
	});
}

/** The key of {@link GUARDED}. */
export const KEY = "bench-key-of-the-client";

/** A router that asks for a key, and counts, limits and prices what comes with it: nothing of it is ever reached. */
export const GUARDED = {
	keys: [
		...Array.from({ length: 9 }, (_, at) => ({ name: `other-${at}`, key: `another-key-${at}` })),
		{
			name: "bench",
			key: KEY,
			rpm: 1e9,
			tpm: 1e9,
			concurrency: 1e6,
			input: 1e6,
			budget: { usd: 1e6, per: "month" },
		},
	],
	limits: { models: { "openai/*": { rpm: 1e9, concurrency: 1e6 } } },
	prices: { "openai/*": { input: 0.25, output: 2, cached: 0.025 } },
};

function configIn(dir: string, settings: object): string {
	const file = join(dir, "router.yaml");
	writeFileSync(file, JSON.stringify(settings)); // JSON is YAML
	return file;
}
