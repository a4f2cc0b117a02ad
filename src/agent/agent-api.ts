/** The agent's own API: its models, their logs, its GPUs. Every route asks for the agent's token, where it has one. */
import { Elysia } from "elysia";
import { RouterError } from "../errors.ts";
import { IDLE_SECONDS } from "../http/idle-timeout.ts";
import { readRequestText } from "../http/request-body.ts";
import { tooLarge } from "../openai/call.ts";
import { JsonTooLarge, parseBounded } from "../openai/json.ts";
import { GPUS_DOC, LOAD_DOC, LOGS_DOC, MODEL_DOC, MODELS_DOC, UNLOAD_DOC } from "./agent-api-docs.ts";
import type { Docker } from "./docker/docker.ts";
import { logLines, logStream } from "./docker/log-stream.ts";
import { currentAllocations } from "./gpu/capacity.ts";
import type { GpuWatch } from "./gpu/gpu-watch.ts";
import type { ModelController } from "./models/controller.ts";
import type { ModelRegistry, RegisteredModel } from "./models/model-registry.ts";
import { gpuReport, type ModelViews } from "./models/model-view.ts";

/** A description of a model is small. */
const MAX_BODY = 64 * 1024;

/** What the routes show and change. */
export interface AgentApi {
	readonly registry: ModelRegistry;
	readonly controller: ModelController;
	readonly views: ModelViews;
	readonly docker: Docker;
	readonly gpus: GpuWatch;
	/** Throws for who may not. */
	readonly authorize: (request: Request) => void;
	/** Hears of a sentence that the caller can't use. */
	readonly warn: (sentence: string) => void;
}

/** What is used of Bun's server. */
interface Timeouts {
	timeout(request: Request, seconds: number): void;
}

/** The plugin. */
export function agentApi(api: AgentApi) {
	const { registry, views, authorize } = api;
	const registered = (name: string): RegisteredModel => {
		const entry = registry.get(name);
		if (entry) return entry;
		throw new RouterError(
			"model_not_found",
			`This agent has no model "${name.slice(0, 100)}". GET /models lists them.`,
			{
				param: "model",
			},
		);
	};
	const show = (request: Request, name: string) => {
		authorize(request);
		return views.of(registered(name));
	};
	const change = async (request: Request, name: string, order: "load" | "unload") => {
		authorize(request);
		const problem = registry.order(name, order, order === "load" ? await bodyOf(request) : undefined);
		if (problem) api.warn(problem);
		api.controller.retryNow(name);
		return Response.json(views.of(registered(name)), { status: 202 });
	};
	const logs = (request: Request, server: Timeouts | null, name: string) => {
		authorize(request);
		registered(name);
		return readLog(api, request, server, name);
	};

	/** `/models/a/b/load`: the name is what stands between. */
	const get = (request: Request, server: Timeouts | null, path: string) => {
		const name = path.endsWith("/logs") ? decoded(path.slice(0, -"/logs".length)) : undefined;
		return name !== undefined && registry.get(name) ? logs(request, server, name) : show(request, decoded(path));
	};
	const post = (request: Request, path: string) => {
		authorize(request);
		const [, name, verb] = /^(.+)\/(load|unload)$/.exec(path) ?? [];
		if (name && verb) return change(request, decoded(name), verb as "load" | "unload");
		throw new RouterError("unknown_path", "There is POST /models/{name}/load and POST /models/{name}/unload.");
	};

	return new Elysia({ name: "agent-api" })
		.get(
			"/models",
			({ request }) => {
				authorize(request);
				return { object: "list" as const, data: views.all() };
			},
			{ detail: MODELS_DOC },
		)
		.get("/models/:name/logs", ({ request, server, params }) => logs(request, server, params.name), {
			detail: LOGS_DOC,
		})
		.get("/models/*", ({ request, server, params }) => get(request, server, params["*"]), { detail: MODEL_DOC })
		.post("/models/:name/load", ({ request, params }) => change(request, params.name, "load"), {
			parse: "none",
			detail: LOAD_DOC,
		})
		.post("/models/:name/unload", ({ request, params }) => change(request, params.name, "unload"), {
			parse: "none",
			detail: UNLOAD_DOC,
		})
		.post("/models/*", ({ request, params }) => post(request, params["*"]), { parse: "none", detail: { hide: true } })
		.get(
			"/gpus",
			({ request }) => {
				authorize(request);
				return gpuList(api);
			},
			{ detail: GPUS_DOC },
		);
}

function gpuList({ controller, gpus }: AgentApi) {
	const { reading } = gpus;
	const held = currentAllocations(
		controller.inventory.items.filter(({ state }) => state === "running").map((item) => item.memory),
	);
	const data = reading.gpus.map((gpu) => ({
		...gpuReport(gpu),
		models: held
			.filter((each) => each.gpu === gpu.index)
			.map(({ model, replica, bytes }) => ({ model, replica, bytes })),
	}));
	const problem = controller.hardware.problem?.reason ?? reading.problem;
	return {
		object: "list" as const,
		accelerator: controller.hardware.known?.accelerator ?? "unknown",
		...(problem && { problem }),
		data,
	};
}

function readLog(
	{ controller, docker, registry }: AgentApi,
	request: Request,
	server: Timeouts | null,
	name: string,
): Response {
	const query = new URL(request.url).searchParams;
	const replica = wholeNumber(query, "replica", 0, (registry.get(name)?.spec.replicas ?? 1) - 1);
	const tail = wholeNumber(query, "tail", 200, 100_000);
	const key = `${name}#${replica}`;
	const id = controller.inventory.items.find((item) => item.key === key)?.id;
	const kept = controller.lastLog(key);
	if (query.get("follow") !== "1") return logLines(docker, id, kept, tail);
	server?.timeout(request, 0);
	return logStream(docker, id, kept, tail, request.signal, () => server?.timeout(request, IDLE_SECONDS));
}

function wholeNumber(query: URLSearchParams, name: string, fallback: number, most: number): number {
	const text = query.get(name);
	if (text === null) return fallback;
	if (/^\d{1,6}$/.test(text) && Number(text) <= most) return Number(text);
	throw new RouterError("invalid_value", `${name} must be a whole number from 0 to ${most}.`, { param: name });
}

/** What a call says of a model; undefined where it says nothing. Throws what reading it says. */
async function bodyOf(request: Request): Promise<unknown> {
	const length = request.headers.get("content-length");
	if (!request.body || length === "0") return undefined;
	const text = await readRequestText(request, MAX_BODY);
	if (text.trim() === "") return undefined;
	let body: unknown;
	try {
		body = parseBounded(text);
	} catch (cause) {
		if (cause instanceof JsonTooLarge) throw tooLarge(cause);
		throw new RouterError("invalid_json", "The body is no valid JSON.");
	}
	if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
	throw new RouterError("invalid_value", 'The body must be a JSON object, such as {"model": "Qwen/Qwen3-8B"}.');
}

/** Wildcard params arrive undecoded (runtime traps, Elysia). */
function decoded(name: string): string {
	try {
		return decodeURIComponent(name);
	} catch {
		return name;
	}
}
