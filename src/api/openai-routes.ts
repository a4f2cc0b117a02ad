/** The OpenAI API's routes, the same on router and agent. */
import { Elysia } from "elysia";
import { type CallContext, callHandler } from "./handler.ts";
import { listsOf } from "./model-list.ts";
import { listModels, oneModel } from "./models-routes.ts";
import { CHAT, COMPLETIONS, EMBEDDINGS, MODEL, MODELS } from "./openai-docs.ts";

/**
 * The plugin. `parse: "none"`: the body is read and checked by the handler, since Elysia's parse would lose big integers and key
 * order (runtime traps, Elysia).
 */
export function openAiRoutes(context: CallContext) {
	const chat = callHandler("chat", context);
	const completions = callHandler("completions", context);
	const embeddings = callHandler("embeddings", context);
	const list = () => listsOf(context.catalog);
	return new Elysia({ name: "openai-routes" })
		.post("/v1/chat/completions", ({ request, server }) => chat(request, server), { parse: "none", detail: CHAT })
		.post("/v1/completions", ({ request, server }) => completions(request, server), {
			parse: "none",
			detail: COMPLETIONS,
		})
		.post("/v1/embeddings", ({ request, server }) => embeddings(request, server), { parse: "none", detail: EMBEDDINGS })
		.get("/v1/models", ({ request }) => listModels(context, list(), request), { detail: MODELS })
		.get("/v1/models/*", ({ request, params }) => oneModel(context, list(), request, decoded(params["*"])), {
			detail: MODEL,
		});
}

/** Model ids contain slashes, so clients may or may not encode them; wildcard params arrive undecoded. */
function decoded(id: string): string {
	try {
		return decodeURIComponent(id);
	} catch {
		return id;
	}
}
