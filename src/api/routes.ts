/**
 * All that clients may call, the same on router and agent: one row a route. Elysia's routes and their documentation follow from it.
 */
import { Elysia } from "elysia";
import { anthropicMessages } from "../dialects/anthropic-messages/messages-dialect.ts";
import { cohereRerank } from "../dialects/cohere-rerank.ts";
import { ollamaChat, ollamaEmbed, ollamaEmbeddings, ollamaGenerate } from "../dialects/ollama/ollama-dialect.ts";
import { openAiChat } from "../dialects/openai-chat.ts";
import { responsesCompaction } from "../dialects/openai-responses/compact-dialect.ts";
import { openAiResponses } from "../dialects/openai-responses/index.ts";
import { guarded, type RequestGuard } from "../http/request-guard.ts";
import { decodedPart } from "../http/request-url.ts";
import type { Detail } from "../http/route-docs.ts";
import { COUNT_TOKENS_DOCS, MESSAGES_DOCS } from "./anthropic-docs.ts";
import { CHAT, COMPLETIONS, EMBEDDINGS, EXPLAIN, MODEL, MODELS } from "./api-docs.ts";
import type { CallContext } from "./call-context.ts";
import { countInputTokens, countTokens } from "./count-tokens.ts";
import { explainCall } from "./explain-call.ts";
import { type MethodRoute, methodHandler } from "./gemini-calls.ts";
import { GEMINI_MODEL_DOCS, GEMINI_MODELS_DOCS, GENERATE_DOCS } from "./gemini-docs.ts";
import { type CallHandler, type CallRoute, type CallServer, callHandler } from "./handler.ts";
import { modelAnswer, modelsAnswer } from "./model-queries.ts";
import {
	OLLAMA_CHAT,
	OLLAMA_EMBED,
	OLLAMA_EMBEDDINGS,
	OLLAMA_GENERATE,
	OLLAMA_PS,
	OLLAMA_PULL,
	OLLAMA_ROOT,
	OLLAMA_SHOW,
	OLLAMA_TAGS,
	OLLAMA_VERSION_DOCS,
	ollamaRefused,
} from "./ollama-docs.ts";
import {
	ollamaPull,
	ollamaRoot,
	ollamaRunning,
	ollamaShow,
	ollamaTags,
	ollamaVersion,
	refuseModelChange,
} from "./ollama-queries.ts";
import { type PassedRoute, passCall } from "./passed-call.ts";
import { objectDetail, passedDetail } from "./passed-docs.ts";
import { cancelResponse, deleteResponse, responseInput, storedResponse } from "./response-queries.ts";
import {
	CANCEL_RESPONSE,
	COMPACT,
	DELETE_RESPONSE,
	INPUT_ITEMS,
	INPUT_TOKENS,
	RESPONSE,
	RESPONSES,
	RESPONSES_SOCKET,
} from "./responses-docs.ts";
import { openSocket, type Upgrading } from "./responses-socket.ts";
import { type ObjectRoute, objectCall } from "./stored-objects.ts";

/** A route that says something of models, and makes no call. Its callers are let in as those of calls are. */
export interface QueryRoute {
	readonly method: "GET" | "POST" | "DELETE";
	readonly path: `/${string}`;
	readonly query: Query;
	/** None where the answer is the same for everybody. */
	readonly steps: readonly ["auth"] | readonly [];
	/** An agent has no choice to explain, and stores nothing. */
	readonly isRouterOnly?: boolean;
	readonly detail: Detail;
}

type Query =
	| ("list-models" | "one-model" | "explain" | "count-tokens" | "input-tokens" | "responses-socket")
	| ("response" | "delete-response" | "cancel-response" | "response-input")
	| `ollama-${"tags" | "ps" | "show" | "pull" | "version" | "root" | "refusal"}`;

const ALL_STEPS = ["auth", "limits", "cache", "relay"] as const;
const openAi = { method: "POST", dialect: openAiChat, steps: ALL_STEPS } as const;
const ollama = { method: "POST", steps: ALL_STEPS } as const;
const ollamaRefusal = { method: "POST", query: "ollama-refusal", steps: ["auth"] } as const;
const stored = { steps: ["auth"], isRouterOnly: true } as const;

const google = { method: "POST", methods: "gemini", steps: ALL_STEPS } as const;

const passes = (
	passed: PassedRoute["passes"],
	path: PassedRoute["path"],
	dialect: PassedRoute["dialect"] = openAiChat,
): PassedRoute => ({
	method: "POST",
	path,
	passes: passed,
	dialect,
	detail: passedDetail(passed, path),
});

const objects = (
	kind: ObjectRoute["kind"],
	action: ObjectRoute["action"],
	method: ObjectRoute["method"],
	path: ObjectRoute["path"],
): ObjectRoute => ({ method, path, kind, action, detail: objectDetail(kind, action) });

/** A row of the table. */
export type ApiRoute = CallRoute | MethodRoute | QueryRoute | PassedRoute | ObjectRoute;

/** The table. */
export const ROUTES: readonly ApiRoute[] = [
	{ ...openAi, path: "/v1/chat/completions", operation: "chat", detail: CHAT },
	{ ...openAi, path: "/v1/completions", operation: "completions", detail: COMPLETIONS },
	{ ...openAi, path: "/v1/embeddings", operation: "embeddings", detail: EMBEDDINGS },
	{
		method: "POST",
		path: "/v1/messages",
		operation: "chat",
		dialect: anthropicMessages,
		steps: ALL_STEPS,
		detail: MESSAGES_DOCS,
	},
	{
		method: "POST",
		path: "/v1/messages/count_tokens",
		query: "count-tokens",
		steps: ["auth"],
		detail: COUNT_TOKENS_DOCS,
	},
	{ ...openAi, path: "/v1/responses", dialect: openAiResponses, operation: "chat", detail: RESPONSES },
	{ method: "GET", path: "/v1/responses", query: "responses-socket", steps: ["auth"], detail: RESPONSES_SOCKET },
	{ ...openAi, path: "/v1/responses/compact", dialect: responsesCompaction, operation: "chat", detail: COMPACT },
	{ method: "POST", path: "/v1/responses/input_tokens", query: "input-tokens", steps: ["auth"], detail: INPUT_TOKENS },
	{ ...stored, method: "GET", path: "/v1/responses/:id", query: "response", detail: RESPONSE },
	{ ...stored, method: "DELETE", path: "/v1/responses/:id", query: "delete-response", detail: DELETE_RESPONSE },
	{ ...stored, method: "POST", path: "/v1/responses/:id/cancel", query: "cancel-response", detail: CANCEL_RESPONSE },
	{ ...stored, method: "GET", path: "/v1/responses/:id/input_items", query: "response-input", detail: INPUT_ITEMS },
	passes("image_generations", "/v1/images/generations"),
	passes("image_edits", "/v1/images/edits"),
	passes("image_variations", "/v1/images/variations"),
	passes("speech", "/v1/audio/speech"),
	passes("transcriptions", "/v1/audio/transcriptions"),
	passes("translations", "/v1/audio/translations"),
	passes("moderations", "/v1/moderations"),
	// vLLM has each under these, and Cohere's clients ask for the last.
	passes("rerank", "/rerank"),
	passes("rerank", "/v1/rerank"),
	passes("rerank", "/v2/rerank", cohereRerank),
	passes("score", "/score"),
	passes("score", "/v1/score"),
	passes("tokenize", "/tokenize"),
	passes("detokenize", "/detokenize"),
	objects("file", "create", "POST", "/v1/files"),
	objects("file", "list", "GET", "/v1/files"),
	objects("file", "get", "GET", "/v1/files/:id"),
	objects("file", "delete", "DELETE", "/v1/files/:id"),
	objects("file", "content", "GET", "/v1/files/:id/content"),
	objects("batch", "create", "POST", "/v1/batches"),
	objects("batch", "list", "GET", "/v1/batches"),
	objects("batch", "get", "GET", "/v1/batches/:id"),
	objects("batch", "cancel", "POST", "/v1/batches/:id/cancel"),
	{ method: "GET", path: "/v1/models", query: "list-models", steps: ["auth"], detail: MODELS },
	{ method: "GET", path: "/v1/models/*", query: "one-model", steps: ["auth"], detail: MODEL },
	{ ...google, path: "/v1beta/models/*", detail: GENERATE_DOCS },
	// The AI SDK puts no `models/` before names with a slash.
	{ ...google, path: "/v1beta/*", detail: { hide: true } },
	{ ...google, path: "/v1/models/*", detail: { hide: true } },
	// An agent has the same path for its models' states.
	{ ...google, path: "/models/*", isRouterOnly: true, detail: { hide: true } },
	{ method: "GET", path: "/v1beta/models", query: "list-models", steps: ["auth"], detail: GEMINI_MODELS_DOCS },
	{ method: "GET", path: "/v1beta/models/*", query: "one-model", steps: ["auth"], detail: GEMINI_MODEL_DOCS },
	{ ...ollama, path: "/api/chat", dialect: ollamaChat, operation: "chat", detail: OLLAMA_CHAT },
	{ ...ollama, path: "/api/generate", dialect: ollamaGenerate, operation: "chat", detail: OLLAMA_GENERATE },
	{ ...ollama, path: "/api/embed", dialect: ollamaEmbed, operation: "embeddings", detail: OLLAMA_EMBED },
	{ ...ollama, path: "/api/embeddings", dialect: ollamaEmbeddings, operation: "embeddings", detail: OLLAMA_EMBEDDINGS },
	{ method: "GET", path: "/api/tags", query: "ollama-tags", steps: ["auth"], detail: OLLAMA_TAGS },
	{ method: "GET", path: "/api/ps", query: "ollama-ps", steps: ["auth"], detail: OLLAMA_PS },
	{ method: "POST", path: "/api/show", query: "ollama-show", steps: ["auth"], detail: OLLAMA_SHOW },
	{ method: "POST", path: "/api/pull", query: "ollama-pull", steps: ["auth"], detail: OLLAMA_PULL },
	{ ...ollamaRefusal, path: "/api/create", detail: ollamaRefused("ollamaCreate", "Create a model") },
	{ ...ollamaRefusal, path: "/api/copy", detail: ollamaRefused("ollamaCopy", "Copy a model") },
	{ ...ollamaRefusal, path: "/api/push", detail: ollamaRefused("ollamaPush", "Push a model") },
	{
		...ollamaRefusal,
		method: "DELETE",
		path: "/api/delete",
		detail: ollamaRefused("ollamaDelete", "Delete a model"),
	},
	{ method: "GET", path: "/api/version", query: "ollama-version", steps: [], detail: OLLAMA_VERSION_DOCS },
	{ method: "GET", path: "/", query: "ollama-root", steps: [], detail: OLLAMA_ROOT },
	{ method: "POST", path: "/v1/route", query: "explain", isRouterOnly: true, steps: ["auth"], detail: EXPLAIN },
];

/** What is used of Bun's server by whoever answers. */
export type QueryServer = (NonNullable<CallServer> & Upgrading) | null;

/** @param calls what answers calls, by the path of its route */
type Answer = (
	context: CallContext,
	request: Request,
	name: string,
	server: QueryServer,
	calls: CallHandlers,
) => Promise<object | undefined>;

const QUERIES: Readonly<Record<Query, Answer>> = {
	"list-models": modelsAnswer,
	"one-model": modelAnswer,
	explain: (context, request) => explainCall(context, request, ROUTES),
	"count-tokens": countTokens,
	"input-tokens": countInputTokens,
	"responses-socket": (context, request, _, server, calls) =>
		openSocket(context, request, server, calls.get("/v1/responses")!),
	response: storedResponse,
	"delete-response": deleteResponse,
	"cancel-response": cancelResponse,
	"response-input": responseInput,
	"ollama-tags": ollamaTags,
	"ollama-ps": ollamaRunning,
	"ollama-show": ollamaShow,
	"ollama-pull": ollamaPull,
	"ollama-version": ollamaVersion,
	"ollama-root": ollamaRoot,
	"ollama-refusal": refuseModelChange,
};

/** What answers calls, by the path of its route. */
export type CallHandlers = ReadonlyMap<string, CallHandler>;

const isHere = ({ isRouterOnly }: Pick<QueryRoute, "isRouterOnly">, { isBehindRouter }: CallContext): boolean =>
	!(isRouterOnly && isBehindRouter);

/** @param routes the table, unless a test has another */
export function callHandlers(context: CallContext, routes: readonly ApiRoute[] = ROUTES): CallHandlers {
	const handlers = new Map<string, CallHandler>();
	for (const route of routes) {
		if ("operation" in route) handlers.set(route.path, callHandler(route, context));
		else if ("methods" in route && isHere(route, context)) handlers.set(route.path, methodHandler(route, context));
	}
	return handlers;
}

/**
 * The plugin. `parse: "none"`: the body is read and checked by the handler, since Elysia's parse would lose big integers and key
 * order.
 * @param routes the table, unless a test has another
 */
export function apiRoutes(
	context: CallContext,
	routes: readonly ApiRoute[] = ROUTES,
	calls: CallHandlers = callHandlers(context, routes),
) {
	const app = new Elysia({ name: "api-routes" });
	for (const route of routes) {
		const { method, path, detail } = route;
		const hook = { parse: "none", detail } as const;
		if ("passes" in route) {
			app.route(method, path, ({ request, server }) => passCall(route, context, request, server), hook);
		} else if ("action" in route) {
			if (context.isBehindRouter) continue;
			app.route(
				method,
				path,
				({ request, server, params }) => objectCall(route, context, request, server, nameIn(params)),
				hook,
			);
		} else if (!("query" in route)) {
			const handle = calls.get(path);
			if (!handle) continue;
			// Elysia reads this function's text: what it does not name is not made of a request.
			app.route(method, path, ({ request, server }) => handle(request, server), hook);
		} else if (isHere(route, context)) {
			const answer = QUERIES[route.query];
			app.route(
				method,
				path,
				({ request, params, server }) => answer(context, request, nameIn(params), server, calls),
				hook,
			);
		}
	}
	return app;
}

/**
 * The routes of calls as Bun's own router has them, which answers them without Elysia: what that makes of each request takes a call longer
 * than its key and its limits. Elysia has the same routes, for its documentation and for paths that are written in another way.
 */
export function directRoutes(calls: CallHandlers, guard: RequestGuard) {
	return Object.fromEntries([...calls].map(([path, handle]) => [path, { POST: guarded(guard, handle) }]));
}

/** Model ids contain slashes, so clients may or may not encode them; wildcard params arrive undecoded. "" where the path has no parameter. */
function nameIn(params: Readonly<Record<string, string>> | undefined): string {
	return decodedPart(params?.["*"] ?? params?.["id"] ?? "");
}
