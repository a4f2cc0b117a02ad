/** A router that is replaced while calls run: a slow upstream, calls of every kind of connection, and what came of them. */
import { Database } from "bun:sqlite";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { command, type RouterOptions, type RunningRouter, startRouter } from "./router.ts";
import { until } from "./until.ts";

/** The key that calls are made with. */
export const UPGRADE_KEY = "sk-upgrade";

/** The token that agents join with. */
export const AGENT_TOKEN = "token-of-agents";

/** An upstream. `slow` streams for as long as a test wants, `fast` answers at once. */
export interface SlowUpstream {
	readonly url: string;
	/** Streams that are open. */
	readonly open: () => number;
	/** Has the streams that are open now end, whole. */
	finish(): void;
	stop(): void;
}

const event = (delta: object, finish: string | null = null) =>
	`data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;

/** Starts one. @param streamMs how long a stream takes by itself; absent: until it is told */
export function slowUpstream(streamMs?: number): SlowUpstream {
	let finished = Promise.withResolvers<void>();
	let open = 0;
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		idleTimeout: 0,
		async fetch(request) {
			if (request.method === "GET") return Response.json({ object: "list", data: [] });
			const { stream } = (await request.json()) as { stream?: boolean };
			if (!stream) {
				const message = { role: "assistant", content: "fast" };
				return Response.json({
					...{ id: "c", object: "chat.completion", created: 1, model: "m" },
					choices: [{ index: 0, message, finish_reason: "stop" }],
					usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
				});
			}
			open++;
			const told = finished.promise;
			return new Response(
				(async function* () {
					try {
						yield event({ role: "assistant", content: "be" });
						const steps = streamMs === undefined ? 1 : Math.ceil(streamMs / 50);
						for (let step = 0; step < steps; step++) {
							await (streamMs === undefined ? told : Bun.sleep(50));
							yield event({ content: "." });
						}
						yield `${event({ content: "gun" }, "stop")}data: [DONE]\n\n`;
					} finally {
						open--;
					}
				})(),
				{ headers: { "content-type": "text/event-stream" } },
			);
		},
	});
	return {
		url: `http://127.0.0.1:${server.port}/v1`,
		open: () => open,
		finish() {
			finished.resolve();
			finished = Promise.withResolvers();
		},
		stop: () => void server.stop(true),
	};
}

/** A router in front of it that can be replaced; whatever process has its place is ended by `end`. */
export interface UpgradedRouter extends RunningRouter {
	/** Runs `router upgrade` with these words. */
	upgrade(...words: string[]): Promise<{ readonly code: number; readonly output: string }>;
	/** The process that answers now. */
	current(): number;
	/** Its `router.yaml` at the start. */
	readonly config: object;
	/** The environment and words of another process for the same directory and port. */
	readonly env: Record<string, string>;
	/** How many calls its ledger has. */
	calls(): number;
	end(): Promise<void>;
}

/** Starts one. @param upstream its base URL @param options `config` is added to its configuration */
export async function upgradedRouter(
	upstream: string,
	{
		key = {},
		source,
		command: started,
		config: more,
		...rest
	}: Pick<RouterOptions, "source" | "command" | "env" | "config" | "socket"> & { key?: object; workers?: number } = {},
): Promise<UpgradedRouter> {
	const config = {
		keys: [{ name: "one", key: UPGRADE_KEY, ...key }],
		providers: { slow: { type: "openai-compatible", base_url: upstream } },
		usage: { cost_in_answers: false },
		...(rest.workers && { server: { workers: rest.workers } }),
		...more,
	};
	const router = await startRouter({
		config,
		env: { ROUTER_AGENT_TOKEN: AGENT_TOKEN, ...rest.env },
		...(source && { source }),
		...(started && { command: started }),
		...(rest.socket !== undefined && { socket: rest.socket }),
	});
	const { directory } = router;
	const env = {
		...{ PATH: process.env["PATH"] ?? "", HOME: directory, HOST: "127.0.0.1", PORT: new URL(router.url).port },
		...{ DATA_DIR: join(directory, "data"), LOG_DIR: join(directory, "logs") },
	};
	const pids = new Set([router.pid]);
	let current = router.pid;
	const program = command(source ?? (process.env["ROUTER_TEST"] === "binary" ? "binary" : "source"));
	return {
		...router,
		...{ config, env },
		current: () => current,
		async upgrade(...words) {
			const file = join(directory, "router.yaml");
			const child = Bun.spawn([...program, "upgrade", "--config", file, ...words], {
				env,
				stdout: "pipe",
				stderr: "pipe",
			});
			const [stdout, stderr, code] = await Promise.all([
				new Response(child.stdout).text(),
				new Response(child.stderr).text(),
				child.exited,
			]);
			const output = stderr + stdout;
			for (const [, pid] of output.matchAll(/process (\d+) has started/g)) pids.add(Number(pid));
			current = Number(/process (\d+) has taken over/.exec(output)?.[1] ?? current);
			return { code, output };
		},
		calls() {
			using db = new Database(join(directory, "data/router.db"), { readonly: true });
			return (db.query("SELECT count(*) AS calls FROM calls").get() as { calls: number }).calls;
		},
		async end() {
			const others = [...pids].filter((pid) => pid !== router.pid);
			for (const pid of others) if (isRouter(pid)) process.kill(pid, "SIGKILL");
			await until(() => !others.some(isRouter), "the end of all processes");
			await router.stop();
		},
	};
}

/** Whether a process runs; one that has ended and was not waited for does not. */
export function isRouter(pid: number): boolean {
	if (!existsSync(`/proc/${pid}/stat`)) return false;
	try {
		const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
		return !/\) [ZX] /.test(stat);
	} catch {
		return false;
	}
}

/** A chat. */
export const chatBody = (stream: boolean): string =>
	JSON.stringify({ model: "slow/m", stream, messages: [{ role: "user", content: "hello" }] });

/** Makes a call, and says what is wrong with its answer; undefined for nothing. @param isFresh over a connection of its own */
export async function callProblem(url: string, stream: boolean, isFresh = false): Promise<string | undefined> {
	try {
		const answer = await fetch(`${url}/v1/chat/completions`, {
			method: "POST",
			headers: {
				...{ authorization: `Bearer ${UPGRADE_KEY}`, "content-type": "application/json" },
				...(isFresh && { connection: "close" }),
			},
			body: chatBody(stream),
			timeout: false,
		} as RequestInit);
		const text = await answer.text();
		if (answer.status !== 200) return `${answer.status}: ${text.slice(0, 300)}`;
		if (stream && !text.includes("[DONE]")) return `cut after ${text.length} characters: ${text.slice(-200)}`;
		return undefined;
	} catch (error) {
		return String(error);
	}
}

/** Calls that are made until they are to end, over connections of each kind. */
export interface UpgradeLoad {
	readonly made: () => number;
	readonly problems: readonly string[];
	/** When each was over, on `performance.now()`'s clock, and how long it took, ms. */
	readonly times: readonly { readonly isStream: boolean; readonly at: number; readonly ms: number }[];
	/** Resolves when the last one is over. */
	end(): Promise<void>;
}

/** Begins them. */
export function startLoad(
	url: string,
	{ keptAlive, fresh, streams }: { keptAlive: number; fresh: number; streams: number },
): UpgradeLoad {
	const problems: string[] = [];
	const times: UpgradeLoad["times"][number][] = [];
	let isWanted = true;
	let made = 0;
	const caller = async (stream: boolean, isFresh: boolean) => {
		while (isWanted) {
			made++;
			const begun = performance.now();
			const problem = await callProblem(url, stream, isFresh);
			times.push({ isStream: stream, at: performance.now(), ms: performance.now() - begun });
			if (problem !== undefined) problems.push(`${stream ? "stream" : isFresh ? "fresh" : "kept alive"}: ${problem}`);
			if (!stream) await Bun.sleep(5);
		}
	};
	const callers = [
		...Array.from({ length: keptAlive }, () => caller(false, false)),
		...Array.from({ length: fresh }, () => caller(false, true)),
		...Array.from({ length: streams }, (_, at) => caller(true, at % 2 === 0)),
	];
	return {
		made: () => made,
		problems,
		times,
		async end() {
			isWanted = false;
			await Promise.all(callers);
		},
	};
}
