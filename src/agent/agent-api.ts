/** The agent's own API: its models, their logs, its GPUs. Every route requires the agent's token, where one is set. */
import { Elysia } from "elysia";
import { RouterError } from "../errors.ts";
import { IDLE_SECONDS } from "../http/listen.ts";
import { jsonIn, readRequestText } from "../http/request-body.ts";
import { decodedPart } from "../http/request-url.ts";
import type { Log } from "../telemetry/log.ts";
import { GPUS_DOC, LOAD_DOC, LOGS_DOC, MODEL_DOC, MODELS_DOC, ROLL_DOC, UNLOAD_DOC } from "./agent-api-docs.ts";
import type { Docker } from "./docker/docker.ts";
import { logLines, logStream } from "./docker/log-stream.ts";
import { currentAllocations } from "./gpu/capacity.ts";
import type { GpuWatch } from "./gpu/gpu-watch.ts";
import type { Hardware } from "./gpu/hardware.ts";
import type { AdapterList } from "./models/adapter-list.ts";
import type { EffectRecords } from "./models/effects.ts";
import type { Generations } from "./models/generations.ts";
import type { Inventory } from "./models/inventory.ts";
import type { ModelRegistry, RegisteredModel } from "./models/model-registry.ts";
import { gpuReport, type ModelView, type ModelViews } from "./models/model-view.ts";
import { replicaKey } from "./models/replica-state.ts";
import { rollOrder } from "./models/roll-order.ts";
import type { Notifier } from "./notify.ts";

/** A description of a model is small. */
const MAX_BODY = 64 * 1024;

/** What the routes show and change. */
export interface AgentApi {
	readonly registry: ModelRegistry;
	readonly adapters: AdapterList;
	readonly views: ModelViews;
	readonly generations: Generations;
	readonly docker: Docker;
	readonly gpus: GpuWatch;
	readonly hardware: Hardware;
	readonly inventory: Inventory;
	readonly records: EffectRecords;
	/** Brings the loop's next tick forward. */
	readonly tick: Notifier;
	readonly log: Pick<Log, "logger">;
	/** Throws for a request that may not use the API. */
	readonly authorize: (request: Request) => void;
}

/** What is used of Bun's server. */
interface Timeouts {
	timeout(request: Request, seconds: number): void;
}

/** The plugin. */
export function agentApi(api: AgentApi) {
	const { views, authorize } = api;
	return new Elysia({ name: "agent-api" })
		.get(
			"/models",
			({ request }) => {
				authorize(request);
				return { object: "list" as const, data: views.all() };
			},
			{ detail: MODELS_DOC },
		)
		.get("/models/:name/logs", ({ request, server, params }) => showLog(api, request, server, params.name), {
			detail: LOGS_DOC,
		})
		.get("/models/*", ({ request, server, params }) => getModel(api, request, server, params["*"]), {
			detail: MODEL_DOC,
		})
		.post("/models/:name/load", ({ request, params }) => orderModel(api, request, params.name, "load"), {
			parse: "none",
			detail: LOAD_DOC,
		})
		.post("/models/:name/unload", ({ request, params }) => orderModel(api, request, params.name, "unload"), {
			parse: "none",
			detail: UNLOAD_DOC,
		})
		.post("/models/:name/roll", ({ request, params }) => rollModel(api, request, params.name), {
			parse: "none",
			detail: ROLL_DOC,
		})
		.post("/models/*", ({ request, params }) => postModel(api, request, params["*"]), {
			parse: "none",
			detail: { hide: true },
		})
		.get(
			"/gpus",
			({ request }) => {
				authorize(request);
				return gpuList(api);
			},
			{ detail: GPUS_DOC },
		);
}

/** Throws `model_not_found`. */
function registered({ registry, adapters }: AgentApi, name: string): RegisteredModel {
	const entry = registry.get(name) ?? adapters.baseOf(name);
	if (entry) return entry;
	const message = `This agent has no model "${name.slice(0, 100)}". GET /models lists them.`;
	throw new RouterError("model_not_found", message, { param: "model" });
}

/** `/models/a/b/logs`, `/models/a/b`: a name may hold slashes. */
function getModel(api: AgentApi, request: Request, server: Timeouts | null, path: string) {
	const name = path.endsWith("/logs") ? decodedPart(path.slice(0, -"/logs".length)) : undefined;
	if (name !== undefined && (api.registry.get(name) ?? api.adapters.baseOf(name)))
		return showLog(api, request, server, name);
	api.authorize(request);
	return viewOf(api, decodedPart(path));
}

/** A model, or an adapter with what its model does. */
function viewOf(api: AgentApi, name: string): ModelView {
	const entry = registered(api, name);
	return entry.spec.name === name ? api.views.of(entry) : api.views.adapter(name, entry);
}

/** `/models/a/b/load`. */
function postModel(api: AgentApi, request: Request, path: string) {
	api.authorize(request);
	const [, name, verb] = /^(.+)\/(load|unload|roll)$/.exec(path) ?? [];
	if (name && verb === "roll") return rollModel(api, request, decodedPart(name));
	if (name && verb) return orderModel(api, request, decodedPart(name), verb as "load" | "unload");
	const message = "There is POST /models/{name}/load, POST /models/{name}/unload and POST /models/{name}/roll.";
	throw new RouterError("unknown_path", message);
}

/** Orders a rolling change. Throws `model_not_found`, `invalid_value`. */
async function rollModel(api: AgentApi, request: Request, name: string) {
	const { registry, adapters, views, generations, tick } = api;
	api.authorize(request);
	const base = adapters.baseOf(name)?.spec.name;
	if (base !== undefined) {
		const message = `"${name}" is an adapter of "${base}", which is rolled: POST /models/${base}/roll.`;
		throw new RouterError("invalid_value", message, { param: "model" });
	}
	const { spec } = registered(api, name);
	generations.order(spec.name, rollOrder(await bodyOf(request)));
	tick.notify();
	return Response.json(views.of(registry.get(spec.name)!), { status: 202 });
}

async function orderModel(api: AgentApi, request: Request, name: string, order: "load" | "unload") {
	const { registry, adapters, views, tick, log } = api;
	api.authorize(request);
	const base = adapters.baseOf(name)?.spec.name;
	if (base !== undefined) {
		const message = `"${name}" is an adapter of "${base}", which is loaded and unloaded: POST /models/${base}/${order}.`;
		throw new RouterError("invalid_value", message, { param: "model" });
	}
	const problem = registry.order(name, order, order === "load" ? await bodyOf(request) : undefined);
	if (problem) log.logger.warn(problem);
	tick.notify();
	return Response.json(views.of(registered(api, name)), { status: 202 });
}

function gpuList({ gpus, hardware, inventory }: AgentApi) {
	const { reading } = gpus;
	const running = inventory.items.filter(({ state }) => state === "running");
	const allocations = currentAllocations(running.map(({ memory }) => memory));
	const data = reading.gpus.map((gpu) => ({
		...gpuReport(gpu),
		models: allocations
			.filter((each) => each.gpu === gpu.index)
			.map(({ model, replica, bytes }) => ({ model, replica, bytes })),
	}));
	const problem = hardware.problem?.reason ?? reading.problem;
	return {
		object: "list" as const,
		accelerator: hardware.known?.accelerator ?? "unknown",
		...(problem && { problem }),
		data,
	};
}

function showLog(api: AgentApi, request: Request, server: Timeouts | null, name: string): Response {
	api.authorize(request);
	const { spec } = registered(api, name);
	const model = spec.name;
	const query = new URL(request.url).searchParams;
	const numbers = api.generations.replicas(registered(api, name)).map((each) => each.replica);
	const replica = wholeNumber(query, "replica", numbers[0] ?? 0, Math.max(...numbers, (spec.replicas ?? 1) - 1));
	const tail = wholeNumber(query, "tail", 200, 100_000);
	const key = replicaKey(model, replica);
	const id = api.inventory.items.find((item) => item.key === key)?.id;
	const lastLog = api.records.lastLogs.get(key) ?? [];
	if (query.get("follow") !== "1") return logLines(api.docker, id, lastLog, tail);
	server?.timeout(request, 0);
	return logStream(api.docker, id, lastLog, tail, request.signal, () => server?.timeout(request, IDLE_SECONDS));
}

function wholeNumber(query: URLSearchParams, name: string, fallback: number, most: number): number {
	const text = query.get(name);
	if (text === null) return fallback;
	if (/^\d{1,6}$/.test(text) && Number(text) <= most) return Number(text);
	throw new RouterError("invalid_value", `${name} must be a whole number from 0 to ${most}.`, { param: name });
}

/** The description of a model; undefined where the body is empty. Throws RouterError. */
async function bodyOf(request: Request): Promise<unknown> {
	const length = request.headers.get("content-length");
	if (!request.body || length === "0") return undefined;
	const text = await readRequestText(request, MAX_BODY);
	if (text.trim() === "") return undefined;
	const body = jsonIn(text);
	if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
	throw new RouterError("invalid_value", 'The body must be a JSON object, such as {"model": "Qwen/Qwen3-8B"}.');
}
