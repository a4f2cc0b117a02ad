/** `POST /v1/route`: where a call would go and why, without making it. */

import { authenticate } from "../accounts/auth/keys.ts";
import { openAiChat, parseRequest } from "../dialects/openai-chat.ts";
import { readRequestText } from "../http/request-body.ts";
import { parseBounded } from "../openai/json.ts";
import type { Operation } from "../openai/operations.ts";
import { newRequestId } from "../request-id.ts";
import { explain } from "../routing/explain.ts";
import type { CallContext } from "./call-context.ts";
import { IncomingCall } from "./incoming-call.ts";
import { permittedRoute, resolveModel } from "./model-access.ts";
import { choose } from "./route-call.ts";

/** The explanation. Throws what a call with that body would be refused with, but for what its upstream says. */
export async function explainCall(context: CallContext, request: Request) {
	const { config, catalog, auth } = context.current.snapshot;
	const caller = authenticate(auth, request, config);
	const text = await readRequestText(request, config.server.body_limit);
	const { operation, body } = operationOf(text);
	const parsed = parseRequest(operation, body);
	const { model } = parsed.facts;
	const route = permittedRoute(caller, model, await resolveModel(catalog, model, caller, false));
	const start = { id: newRequestId(), startedAt: performance.now() };
	const handling = { operation, dialect: openAiChat };
	const call = new IncomingCall(request, start, handling, caller, context.instance, config.usage.user_headers);
	Object.assign(call, parsed).sent = Buffer.from(body);
	return explain(choose(call, route, context, true).explained!);
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
