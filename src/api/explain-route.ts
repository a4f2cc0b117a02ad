/** `POST /v1/route`: where a call would go and why, without making it. */
import { Elysia } from "elysia";
import { readRequestText } from "../http/request-body.ts";
import { answer, type Detail, errorResponses } from "../http/route-docs.ts";
import { parseRequest } from "../openai/call.ts";
import { parseBounded } from "../openai/json.ts";
import type { Operation } from "../openai/operations.ts";
import { explain } from "../routing/explain.ts";
import { admit, type CallContext, isAllowed, notAllowed } from "./handler.ts";
import { choose, permitted } from "./route-call.ts";
import { resolved } from "./unknown-model.ts";

/** The plugin. */
export function explainRoute(context: CallContext) {
	return new Elysia({ name: "explain-route" }).post("/v1/route", ({ request }) => explainCall(context, request), {
		parse: "none",
		detail: ROUTE,
	});
}

/** The explanation. Throws what a call with that body would be refused with, but for what its upstream says. */
async function explainCall(context: CallContext, request: Request) {
	const { config, catalog, gate } = context;
	const caller = admit(gate, request, config);
	const text = await readRequestText(request, config.server.body_limit);
	const { operation, body } = operationOf(text);
	const parsed = parseRequest(operation, body);
	const { model } = parsed.body;
	const isVisible = caller && ((name: string) => isAllowed(caller, name, catalog.find(name)));
	const route = await resolved(catalog, model, isVisible);
	if (!isAllowed(caller, model, route)) throw notAllowed(caller!, model);
	const asked = { ...parsed, operation, headers: request.headers };
	return explain(choose(asked, permitted(caller, model, route), context, true).explained!);
}

/** Which endpoint a body is for. One with a model's name alone is taken for a short chat. */
function operationOf(text: string): { operation: Operation; body: string } {
	let body: unknown;
	try {
		body = parseBounded(text);
	} catch {
		// Said below, as of any call.
		return { operation: "chat", body: text };
	}
	if (typeof body !== "object" || body === null || Array.isArray(body)) return { operation: "chat", body: text };
	if ("input" in body) return { operation: "embeddings", body: text };
	if ("prompt" in body) return { operation: "completions", body: text };
	if ("messages" in body) return { operation: "chat", body: text };
	return { operation: "chat", body: JSON.stringify({ ...body, messages: [{ role: "user", content: "hi" }] }) };
}

const candidate = {
	rank: 1,
	id: "local/gpu-1/qwen3-8b",
	provider: "local",
	model: "qwen3-8b",
	agent: "gpu-1",
	tier: "targets",
	kind: "local",
	score: 1540,
	reason: "least uncached prompt × load",
	inputs: { in_flight: 0, queued_characters: 0, uncached_characters: 1540, wait_ms: 0, cost_usd: 0 },
};

const ROUTE: Detail = {
	tags: ["Router"],
	operationId: "explainRoute",
	summary: "Where would this call go, and why?",
	description:
		"Takes the body of a chat, completion or embedding (or a model's name alone), makes no call, and answers every " +
		"candidate in the order to try, with its score, what that was made of, and the reason it stands where it stands. " +
		"A call with the header `x-router-explain: 1` gets the same in that header of its answer.",
	requestBody: {
		required: true,
		content: {
			"application/json": {
				schema: { type: "object", required: ["model"], properties: { model: { type: "string" } } },
				example: { model: "dummy", messages: [{ role: "user", content: "hi" }] },
			},
		},
	},
	responses: {
		200: answer("The plan.", {
			model: "fast",
			route: "models: fast",
			policy: "balanced",
			call: { operation: "chat", stream: false, characters: 1540, tokens: 385, needs: [], has_session: false },
			candidates: [candidate],
		}),
		...errorResponses(
			"invalid_json",
			"invalid_value",
			"duplicate_key",
			"invalid_api_key",
			"model_not_allowed",
			"model_not_found",
			"body_too_large",
			"unsupported_media_type",
			"model_unavailable",
		),
	},
};
