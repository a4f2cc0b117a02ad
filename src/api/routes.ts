/**
 * All that clients may call, the same on router and agent: one row a route. Elysia's routes and their documentation follow from it.
 */
import { Elysia } from "elysia";
import { anthropicMessages } from "../dialects/anthropic-messages/messages-dialect.ts";
import { openAiChat } from "../dialects/openai-chat.ts";
import { openAiResponses } from "../dialects/openai-responses/index.ts";
import { guarded, type RequestGuard } from "../http/request-guard.ts";
import type { Detail } from "../http/route-docs.ts";
import { COUNT_TOKENS_DOCS, MESSAGES_DOCS } from "./anthropic-docs.ts";
import { CHAT, COMPLETIONS, EMBEDDINGS, EXPLAIN, MODEL, MODELS } from "./api-docs.ts";
import type { CallContext } from "./call-context.ts";
import { countTokens } from "./count-tokens.ts";
import { explainCall } from "./explain-call.ts";
import { type MethodRoute, methodHandler } from "./gemini-calls.ts";
import { GEMINI_MODEL_DOCS, GEMINI_MODELS_DOCS, GENERATE_DOCS } from "./gemini-docs.ts";
import { type CallHandler, type CallRoute, type CallServer, callHandler } from "./handler.ts";
import { modelAnswer, modelsAnswer } from "./model-queries.ts";
import { RESPONSES, RESPONSES_SOCKET } from "./responses-docs.ts";
import { refuseSocket } from "./responses-socket.ts";

/** A route that says something of models, and makes no call. Its callers are let in as those of calls are. */
export interface QueryRoute {
	readonly method: "GET" | "POST";
	readonly path: `/${string}`;
	readonly query: Query;
	readonly steps: readonly ["auth"];
	/** An agent has no choice to explain. */
	readonly isRouterOnly?: boolean;
	readonly detail: Detail;
}

type Query = "list-models" | "one-model" | "explain" | "count-tokens" | "responses-socket";

const ALL_STEPS = ["auth", "limits", "cache", "relay"] as const;
const openAi = { method: "POST", dialect: openAiChat, steps: ALL_STEPS } as const;

/** A row of the table. */
export type ApiRoute = CallRoute | MethodRoute | QueryRoute;

const google = { method: "POST", methods: "gemini", steps: ALL_STEPS } as const;

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
	{ method: "GET", path: "/v1/models", query: "list-models", steps: ["auth"], detail: MODELS },
	{ method: "GET", path: "/v1/models/*", query: "one-model", steps: ["auth"], detail: MODEL },
	{ ...google, path: "/v1beta/models/*", detail: GENERATE_DOCS },
	{ ...google, path: "/v1/models/*", detail: { hide: true } },
	// An agent has the same path for its models' states.
	{ ...google, path: "/models/*", isRouterOnly: true, detail: { hide: true } },
	{ method: "GET", path: "/v1beta/models", query: "list-models", steps: ["auth"], detail: GEMINI_MODELS_DOCS },
	{ method: "GET", path: "/v1beta/models/*", query: "one-model", steps: ["auth"], detail: GEMINI_MODEL_DOCS },
	{ method: "POST", path: "/v1/route", query: "explain", isRouterOnly: true, steps: ["auth"], detail: EXPLAIN },
];

type Answer = (context: CallContext, request: Request, name: string, server: CallServer) => Promise<object>;

const QUERIES: Readonly<Record<Query, Answer>> = {
	"list-models": modelsAnswer,
	"one-model": modelAnswer,
	explain: explainCall,
	"count-tokens": countTokens,
	"responses-socket": refuseSocket,
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
		else if ("methods" in route && isHere(route, context)) handlers.set(route.path, methodHandler(context));
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
		if (!("query" in route)) {
			const handle = calls.get(path);
			if (!handle) continue;
			// Elysia reads this function's text: what it does not name is not made of a request.
			app.route(method, path, ({ request, server }) => handle(request, server), hook);
		} else if (isHere(route, context)) {
			const answer = QUERIES[route.query];
			app.route(method, path, ({ request, params, server }) => answer(context, request, nameIn(params), server), hook);
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

/** Model ids contain slashes, so clients may or may not encode them; wildcard params arrive undecoded. "" where the path has no wildcard. */
function nameIn(params: Readonly<Record<string, string>> | undefined): string {
	const id = params?.["*"] ?? "";
	try {
		return decodeURIComponent(id);
	} catch {
		return id;
	}
}
