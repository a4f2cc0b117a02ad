/** A router of several worker threads in this process, whose threads a test can end. */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../../src/config/load.ts";
import { startRouter } from "../../src/server/router.ts";
import type { ToMain } from "../../src/server/threads/link.ts";
import { spreadsConnections } from "../../src/server/threads/worker-count.ts";
import { directory } from "./cli.ts";
import type { Json } from "./exchange.ts";
import { isBalanced, oneWorker } from "./router.ts";

/** Sections of a router with two workers; the server's further settings. */
export const twoWorkers = (more: Json = {}, server: Json = {}): Json => ({
	...more,
	server: { workers: 2, drain: "0s", ...server },
});

/** A worker thread that was started. */
export interface StartedWorker {
	readonly worker: Worker;
	/** Calls that it has told of so far. */
	calls(): number;
	/** Where it listens; 0 until it has said so. */
	port(): number;
}

/**
 * Workers that routers of this process start from now on, in their order.
 * @param program what they run, in place of the router's own
 */
export function recordWorkers(program?: string): {
	readonly workers: readonly StartedWorker[];
	[Symbol.dispose](): void;
} {
	const Real = globalThis.Worker;
	const workers: StartedWorker[] = [];
	globalThis.Worker = class extends Real {
		constructor(...args: ConstructorParameters<typeof Worker>) {
			// The ledger has threads of its own.
			const isRouters = String(args[0]).includes("worker-thread");
			super(isRouters && program !== undefined ? program : args[0], args[1]);
			if (!isRouters) return;
			let calls = 0;
			let port = 0;
			this.addEventListener("message", ({ data }: MessageEvent<ToMain>) => {
				if (data.type === "metrics") calls = callsIn(data.values);
				if (data.type === "listening" || data.type === "moved") ({ port } = data);
			});
			workers.push({ worker: this as unknown as Worker, calls: () => calls, port: () => port });
		}
	} as typeof Worker;
	return {
		workers,
		[Symbol.dispose]() {
			globalThis.Worker = Real;
		},
	};
}

function callsIn(values: string): number {
	const metrics = JSON.parse(values) as { name: string; values: { value: number }[] }[];
	const requests = metrics.find(({ name }) => name === "router_requests_total");
	return (requests?.values ?? []).reduce((sum, { value }) => sum + value, 0);
}

/**
 * Starts a router in this process, with a directory of its own.
 * @param isSpread whether the system spreads connections over its workers; else its main thread passes them on
 * @param variables of its environment, besides `PORT`
 */
export async function startHere(
	config: Json,
	port = 0,
	isSpread = !isBalanced && spreadsConnections(),
	variables: Readonly<Record<string, string>> = {},
) {
	const home = directory({ "router.yaml": JSON.stringify(config) });
	const env = { PORT: String(port), ...oneWorker(config), ...variables };
	try {
		const loaded = load({ flags: {}, env, cwd: home.path, role: "router" });
		const router = await startRouter(loaded, env, isSpread);
		return {
			url: router.url,
			log: () => readFileSync(join(home.path, "logs/router.log"), "utf8"),
			write: (changed: Json) => writeFileSync(join(home.path, "router.yaml"), JSON.stringify(changed)),
			directory: home.path,
			finished: router.finished,
			/** Ends it; its directory stays until it is removed. */
			end: () => router.stop(),
			remove: () => home[Symbol.dispose](),
			async stop() {
				await router.stop();
				home[Symbol.dispose]();
			},
		};
	} catch (error) {
		home[Symbol.dispose]();
		throw error;
	}
}

/** Calls a model over a connection of its own. */
export function callOnce(
	url: string,
	body: Json = {},
	headers: Record<string, string> = {},
	signal?: AbortSignal,
): Promise<Response> {
	return fetch(`${url}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", connection: "close", ...headers },
		body: JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hello" }], ...body }),
		...(signal ? { signal } : {}),
	});
}

/** So many calls at once: resolves with each one's status, or with "reset" where its connection was. */
export function outcomesOf(url: string, count: number, body: Json): Promise<(number | "reset")[]> {
	const call = async () => {
		try {
			const answer = await callOnce(url, body);
			await answer.text();
			return answer.status;
		} catch {
			return "reset";
		}
	};
	return Promise.all(Array.from({ length: count }, call));
}
