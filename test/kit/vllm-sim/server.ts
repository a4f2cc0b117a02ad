/** vLLM's HTTP server over engines that exist only in time. */
import { loadAdapter, unloadAdapter } from "./adapters.ts";
import { chat, completion, type Site } from "./completions.ts";
import { embeddings } from "./embeddings.ts";
import type { Engine } from "./engine.ts";
import { ApiError, engineDead } from "./errors.ts";
import { err } from "./log.ts";
import { metricsText, type Rejections } from "./metrics.ts";
import type { Model } from "./model.ts";
import { checkModel, type Json, promptTokens, readBody, renderChat } from "./request.ts";
import { tokenId, tokenize } from "./tokens.ts";

/** What the server is over. */
export interface ServerOptions
	extends Pick<Site, "abilities" | "details" | "forceUsage" | "pack" | "keepAliveMs" | "trustsTemplates" | "finished"> {
	readonly model: Model;
	readonly engines: readonly Engine[];
	readonly keys: readonly string[];
	readonly version: string;
	/** `VLLM_SERVER_DEV_MODE=1`: the sleep routes are there. */
	readonly devMode: boolean;
	/** `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` with `--enable-lora`: adapters may be loaded and unloaded. */
	readonly updatesAdapters: boolean;
	/** `--enable-sleep-mode`. */
	readonly canSleep: boolean;
	/** Embeddings instead of text. */
	readonly pooling: boolean;
	/** `--max-num-queued-reqs`: in flight, over all engines; more are refused with 503. */
	readonly maxQueued: number;
	/** It was told to end, and finishes what runs (`--shutdown-timeout`): `/health` is 200, and calls are refused. */
	readonly isStopping: () => boolean;
	readonly accessLog: boolean;
	/** How long falling asleep and waking take. */
	readonly napMs: number;
	/** The GPUs' memory, given back in sleep: `false` when a model that wakes finds it taken. */
	readonly memory: { claim(): boolean; release(): void };
	/** Called before each generation. */
	readonly arrived: (prompt: string) => void;
	/** The engine was found dead, or has to die. */
	readonly died: () => void;
	/** `POST /sim`: a test's hand in a running server. */
	readonly control: (order: Json) => void;
}

type Handler = (request: Request, url: URL) => Response | Promise<Response>;

/** The server's `fetch`, and its routes for the log. */
export function createServer(options: ServerOptions): {
	fetch: (request: Request) => Promise<Response>;
	routes: string[];
} {
	const { model, engines } = options;
	const since = Math.floor(Date.now() / 1000);
	let sleeping = false;
	const rejected: Rejections = { max_num_queued_reqs: 0, max_num_queued_tokens: 0 };

	const site: Site = {
		...options,
		engine(prompt) {
			if (sleeping) options.died();
			const engine = engines.reduce((best, one) => (busy(one) < busy(best) ? one : best));
			if (engine.dead) throw engineDead();
			if (options.isStopping()) throw new ApiError(500, "cannot schedule new futures after shutdown");
			if (engines.reduce((sum, one) => sum + busy(one), 0) >= options.maxQueued) {
				rejected.max_num_queued_reqs++;
				throw new ApiError(503, `Too many requests in flight: the limit is ${options.maxQueued}. Please retry later.`);
			}
			options.arrived(prompt);
			return engine;
		},
	};
	const generate =
		(serve: (body: Json, signal: AbortSignal, site: Site) => Promise<Response>, name: string): Handler =>
		async (request) => {
			const body = await readBody(request);
			if (options.pooling) throw new ApiError(400, `The model does not support ${name} API`);
			return serve(body, request.signal, site);
		};
	const nap =
		(asleep: boolean): Handler =>
		async () => {
			if (!options.canSleep) throw new Error("Sleep mode is not enabled. Please enable it with --enable-sleep-mode");
			if (asleep) {
				for (const engine of engines) {
					for (const job of [...engine.running, ...engine.waiting]) engine.abort(job);
					engine.cache.reset();
				}
			}
			await Bun.sleep(options.napMs);
			if (asleep) options.memory.release();
			else if (sleeping && !options.memory.claim()) {
				options.died();
				throw engineDead();
			}
			sleeping = asleep;
			return new Response();
		};

	const routes: Record<string, Handler> = {
		"GET /health": () => new Response(null, { status: engines.some(({ dead }) => dead) ? 503 : 200 }),
		"GET /ping": () => new Response(),
		"GET /load": () => Response.json({ server_load: engines.reduce((sum, one) => sum + busy(one), 0) }),
		"GET /version": () => Response.json({ version: options.version }),
		"GET /metrics": () =>
			new Response(metricsText(engines, model, since, sleeping, rejected), {
				headers: { "content-type": "text/plain; version=1.0.0; charset=utf-8" },
			}),
		"GET /v1/models": () => Response.json({ object: "list", data: cards(model, since) }),
		"POST /tokenize": async (request) => tokens(await readBody(request), model),
		"POST /v1/chat/completions": generate(chat, "Chat Completions"),
		"POST /v1/completions": generate(completion, "Completions"),
		"POST /v1/embeddings": async (request) => {
			const body = await readBody(request);
			if (!options.pooling) throw new ApiError(400, "The model does not support Embeddings API");
			return embeddings(body, checkModel(body, model), site.engine(""));
		},
		"POST /sim": async (request) => {
			options.control((await request.json()) as Json);
			return new Response();
		},
		...(options.updatesAdapters && {
			"POST /v1/load_lora_adapter": (request: Request) => loadAdapter(request, model),
			"POST /v1/unload_lora_adapter": (request: Request) => unloadAdapter(request, model),
		}),
		...(options.devMode && {
			"POST /sleep": nap(true),
			"POST /wake_up": nap(false),
			"GET /is_sleeping": () => Response.json({ is_sleeping: sleeping }),
			"POST /reset_prefix_cache": () => {
				for (const engine of engines) engine.cache.reset();
				return new Response();
			},
		}),
	};
	const paths = new Set(Object.keys(routes).map((route) => route.split(" ")[1]));

	const answer = async (request: Request): Promise<Response> => {
		const url = new URL(request.url);
		const guarded = /^\/(v1|v2|inference)(\/|$)/.test(url.pathname);
		if (guarded && options.keys.length > 0 && !options.keys.includes(bearer(request))) {
			return Response.json({ error: "Unauthorized" }, { status: 401 });
		}
		const handler = routes[`${request.method} ${url.pathname}`];
		if (!handler) {
			return paths.has(url.pathname)
				? Response.json({ detail: "Method Not Allowed" }, { status: 405 })
				: Response.json({ detail: "Not Found" }, { status: 404 });
		}
		try {
			return await handler(request, url);
		} catch (error) {
			if (error instanceof ApiError) return error.response();
			return new ApiError(500, (error as Error).message).response();
		}
	};
	return {
		async fetch(request) {
			const response = await answer(request);
			if (options.accessLog) {
				const { pathname } = new URL(request.url);
				err(
					`(APIServer pid=1) INFO:     127.0.0.1:0 - "${request.method} ${pathname} HTTP/1.1" ${response.status} ${WORDS[response.status] ?? ""}`,
				);
			}
			return response;
		},
		routes: Object.keys(routes)
			.filter((route) => !route.endsWith("/sim"))
			.map((route) => route.replace(/(\S+) (\S+)/, "$2, Methods: $1")),
	};
}

const WORDS: Record<number, string> = {
	200: "OK",
	400: "Bad Request",
	401: "Unauthorized",
	404: "Not Found",
	405: "Method Not Allowed",
	500: "Internal Server Error",
	503: "Service Unavailable",
};
const busy = (engine: Engine) => engine.running.length + engine.waiting.length;
const bearer = (request: Request) => /^bearer (.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";

/** The base model's names, then the adapters; those have no length of their own. */
const cards = (model: Model, created: number) => [
	...model.names.map((id) => modelCard(id, model, created)),
	...[...model.adapters.values()].map(({ name, path, parent }) => ({
		...modelCard(name, model, created),
		root: path,
		parent,
		max_model_len: null,
	})),
];

const modelCard = (id: string, { root, maxLength }: Model, created: number) => ({
	id,
	object: "model",
	created,
	owned_by: "vllm",
	root,
	parent: null,
	max_model_len: maxLength,
	permission: [],
});

function tokens(body: Json, model: Model): Response {
	checkModel(body, model);
	const text = body["prompt"];
	const pieces = typeof text === "string" ? tokenize(text) : promptTokens(renderChat(body));
	return Response.json({
		count: pieces.length,
		max_model_len: model.maxLength,
		tokens: pieces.map(tokenId),
		token_strs: body["return_token_strs"] === true ? pieces : null,
	});
}
