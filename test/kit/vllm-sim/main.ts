/**
 * A vLLM without a GPU: `vllm serve <model> …`, whose command line, log, endpoints, errors and timing are vLLM's, and
 * whose answers are a pure function of the conversation. SIM_… variables (./switches.ts) make it fail.
 */
import { parseArguments, UsageError } from "./arguments.ts";
import { Engine } from "./engine.ts";
import { portTaken, sayEngineDied } from "./failures.ts";
import { gpuShare } from "./gpu-share.ts";
import { serve } from "./http.ts";
import { kvPublisher } from "./kv-events.ts";
import { err } from "./log.ts";
import { readModel } from "./model.ts";
import { checkParsers } from "./parsers.ts";
import type { Json } from "./request.ts";
import { createServer } from "./server.ts";
import { sayServing, start } from "./startup.ts";
import { logStatistics } from "./statistics.ts";
import { readSwitches } from "./switches.ts";

/** Leaves with a code; what was printed is out by then, pipes included. */
function leave(code: number): never {
	process.exit(code);
}

function readCommandLine() {
	const [command, ...rest] = process.argv.slice(2);
	try {
		if (command !== "serve") {
			throw new UsageError(
				`usage: vllm [-h] [-v] {chat,complete,serve,launch,bench,collect-env,run-batch} ...\nvllm: error: argument subparser: invalid choice: '${command ?? ""}' (choose from 'chat', 'complete', 'serve', 'launch', 'bench', 'collect-env', 'run-batch')`,
			);
		}
		const args = parseArguments(rest);
		checkParsers(args);
		const switches = readSwitches(process.env);
		return { args, switches, model: readModel(args, switches) };
	} catch (error) {
		err((error as Error).message);
		return leave(error instanceof UsageError ? error.code : 70);
	}
}

const { args, switches, model } = readCommandLine();
const { given } = args;
// Before anything else: a container's PID 1 has no default for SIGTERM, and a start may be stopped.
let stop: () => void = () => leave(0);
process.on("SIGTERM", () => stop());
process.on("SIGINT", () => stop());

const share = switches.gpuDir
	? gpuShare(switches.gpuDir, process.env["NVIDIA_VISIBLE_DEVICES"] ?? "0", model.share)
	: undefined;
const failed = await start({ args, model, switches, env: process.env, claim: () => share?.claim() });
if (failed !== undefined) leave(failed);

const one = (name: string) => given.get(name)?.[0];
const caching = one("enable-prefix-caching") !== "false";
let requests = 0;
// vLLM numbers ports, one an engine, and no paths.
const blocksChanged = kvPublisher(one("kv-events-config"));
const engines = Array.from(
	{ length: model.dataParallel },
	() =>
		new Engine({
			blocks: model.kvTokens / model.blockSize,
			blockSize: model.blockSize,
			caching,
			maxSeqs: model.maxSeqs,
			batchTokens: model.batchTokens,
			speed: switches.speed,
			blocksChanged,
			baseSalt: model.root,
			onSaid: said,
		}),
);

function said(): void {
	const total = engines.reduce((sum, { counters }) => sum + counters.generated, 0);
	if (switches.hangAfterTokens && total >= switches.hangAfterTokens) hang(true);
	if (switches.crashAfterTokens && total >= switches.crashAfterTokens) crash(switches.crash);
}

function arrived(prompt: string): void {
	requests++;
	// Once it is among the engine's requests, and before its first token: it dies with them.
	if (switches.poison && prompt.includes(switches.poison)) queueMicrotask(() => crash(switches.crash));
	if (switches.hangAfterRequests && requests >= switches.hangAfterRequests) hang(true);
	if (switches.crashAfterRequests && requests >= switches.crashAfterRequests) crash(switches.crash);
}

function hang(hung: boolean): void {
	for (const engine of engines) {
		engine.hung = hung;
		engine.resume();
	}
}

let isStopping = false;
let dying = false;
function crash(what: "exit" | "engine"): void {
	if (what === "exit") process.kill(process.pid, "SIGKILL");
	if (dying) return;
	dying = true;
	sayEngineDied();
	for (const engine of engines) engine.die();
	// vLLM's watchdog ends a server whose engine is dead; until then /health says 503.
	setTimeout(() => {
		err("(APIServer pid=1) INFO:     Shutting down");
		void server.stop(true).then(() => leave(1));
	}, switches.lingerMs);
}

function control(order: Json): void {
	if (typeof order["speed"] === "number") for (const engine of engines) engine.speed = order["speed"];
	if (typeof order["hang"] === "boolean") hang(order["hang"]);
	if (order["abort"] === true) {
		for (const engine of engines) for (const job of [...engine.running, ...engine.waiting]) engine.abort(job);
	}
	if (order["crash"] === "exit" || order["crash"] === "engine") setTimeout(crash, 0, order["crash"]);
}

const port = Number(one("port") ?? process.env["VLLM_PORT"] ?? 8000);
const hostname = one("host") ?? "0.0.0.0";
const autoTools = given.has("enable-auto-tool-choice") && given.has("tool-call-parser");
const pooling =
	one("runner") === "pooling" ||
	/^embed/.test(one("convert") ?? one("task") ?? "") ||
	/embed|bge-|\be5-/i.test(args.model);
const environmentKey = process.env["VLLM_API_KEY"];
const { fetch, routes } = createServer({
	model,
	engines,
	keys: given.get("api-key") ?? (environmentKey ? [environmentKey] : []),
	version: switches.version,
	devMode: process.env["VLLM_SERVER_DEV_MODE"] === "1",
	updatesAdapters: process.env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] === "1" && one("enable-lora") === "true",
	canSleep: given.has("enable-sleep-mode"),
	pooling,
	maxQueued: Number(one("max-num-queued-reqs") ?? Number.POSITIVE_INFINITY),
	accessLog: one("disable-uvicorn-access-log") !== "true",
	napMs: switches.startMs / 20,
	memory: { claim: () => share?.claim() === undefined, release: () => share?.release() },
	abilities: { autoTools, reasoning: given.has("reasoning-parser"), natural: switches.answerTokens },
	details: one("enable-prompt-tokens-details") === "true",
	forceUsage: one("enable-force-include-usage") === "true",
	pack: switches.pack,
	keepAliveMs: Number(one("sse-keep-alive-interval") ?? 0) * 1000,
	trustsTemplates: one("trust-request-chat-template") === "true",
	isStopping: () => isStopping,
	finished: (reason) => {
		engines[0]!.counters.finished[reason === "length" ? "length" : "stop"]++;
	},
	arrived,
	died: () => crash("engine"),
	control,
});

const server = await serve(port, hostname, fetch).catch((error) => {
	if ((error as { code?: string }).code === "EADDRINUSE") return leave(portTaken(port));
	throw error;
});

stop = () => {
	stop = () => {};
	err("(APIServer pid=1) INFO:     Shutting down");
	const gracePeriod = Number(one("shutdown-timeout") ?? 0);
	const idle = () => engines.every(({ running, waiting }) => running.length + waiting.length === 0);
	const end = async (force: boolean) => {
		await server.stop(force);
		err("(APIServer pid=1) INFO:     Waiting for application shutdown.");
		err("(APIServer pid=1) INFO:     Application shutdown complete.");
		err("(APIServer pid=1) INFO:     Finished server process [1]");
		leave(0);
	};
	if (gracePeriod === 0 || idle()) return void end(true);
	// Requests that run are answered, and no other is taken; whoever asks how it is hears that it is well.
	isStopping = true;
	setInterval(() => idle() && void end(false), 20);
	setTimeout(() => end(true), gracePeriod * 1000);
};
if (switches.crashAfterMs) setTimeout(() => crash(switches.crash), switches.crashAfterMs);
if (one("disable-log-stats") !== "true") logStatistics(engines);
sayServing(hostname, server.port, routes);
