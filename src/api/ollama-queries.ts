/** What Ollama's clients ask besides calls: which models there are, which run, what one can do; and what only Ollama itself does. */

import { authenticate } from "../accounts/auth/keys.ts";
import {
	OLLAMA_RUNNING,
	OLLAMA_VERSION,
	type OllamaModel,
	runningModel,
	shownModel,
	taggedModel,
} from "../dialects/ollama/ollama-models.ts";
import { knownName } from "../dialects/ollama/ollama-names.ts";
import { ndjsonLine } from "../dialects/ollama/ollama-stream.ts";
import { readOllama } from "../dialects/ollama/ollama-validation.ts";
import { RouterError } from "../errors.ts";
import type { Peers } from "../http/client-address.ts";
import { readRequestText } from "../http/request-body.ts";
import type { Catalog } from "../routing/catalog.ts";
import type { CallContext } from "./call-context.ts";
import type { Model } from "./model-list.ts";
import { listModels, oneModel } from "./model-queries.ts";

/** `GET /`, by which clients look whether a server is there; a browser gets the page. No key is needed: neither says anything of this one. */
export async function ollamaRoot(
	{ startPage }: Pick<CallContext, "startPage">,
	request: Request,
	_name: string,
	server: Peers | null,
): Promise<Response> {
	const page = await startPage?.(request, server);
	return (
		page ?? new Response(OLLAMA_RUNNING, { headers: { "content-type": "text/plain; charset=utf-8", vary: "accept" } })
	);
}

/** `GET /api/version`. No key is needed, either. */
export const ollamaVersion = async (): Promise<object> => ({ version: OLLAMA_VERSION });

/** `GET /api/tags`: all models that the caller may use. Throws what authentication does. */
export async function ollamaTags(context: CallContext, request: Request): Promise<object> {
	const { data } = await listModels(context, request);
	const { catalog } = context.current.snapshot;
	return { models: data.map((model) => taggedModel(ollamaModel(model, catalog))) };
}

/** `GET /api/ps`: those of them that run on machines of the user's own, and are ready. */
export async function ollamaRunning(context: CallContext, request: Request): Promise<object> {
	const { data } = await listModels(context, request);
	const { catalog } = context.current.snapshot;
	const models = data.filter(({ id }) => isRunning(id, catalog)).map((model) => ollamaModel(model, catalog));
	return { models: models.map(runningModel) };
}

function isRunning(id: string, catalog: Catalog): boolean {
	const targets = catalog.find(id)?.targets ?? [];
	return targets.some(({ kind, readiness = 0 }) => kind === "local" && readiness === 0);
}

/** `POST /api/show`. Throws what authentication does, and `model_not_found`. */
export async function ollamaShow(context: CallContext, request: Request): Promise<object> {
	const { model } = await requestedModel(context, request);
	return shownModel(ollamaModel(model, context.current.snapshot.catalog));
}

/**
 * `POST /api/pull`: done at once for a model that is there, as clients pull what they are about to use. Throws `model_not_found` for all
 * others, which are not fetched: what an agent serves its own configuration says.
 */
export async function ollamaPull(context: CallContext, request: Request): Promise<Response> {
	const { isStreamed } = await requestedModel(
		context,
		request,
		(name) => `pull model manifest: file does not exist: "${name}"`,
	);
	const done = { status: "success" };
	if (!isStreamed) return Response.json(done);
	const lines = [{ status: "pulling manifest" }, done].map((line) => ndjsonLine(JSON.stringify(line)));
	return new Response(lines.join(""), { headers: { "content-type": "application/x-ndjson" } });
}

/** What changes models: an operator's matter. Throws what authentication does, else the refusal. */
export async function refuseModelChange({ current }: CallContext, request: Request): Promise<never> {
	const { config, auth } = current.snapshot;
	authenticate(auth, request, config);
	throw new RouterError("unsupported_parameter", `models are not changed through this server: ${HOW}`);
}

const HOW = "list them under agent.models at an agent, or load one there with POST /models/{name}/load";

interface Named {
	readonly model: Model;
	readonly isStreamed: boolean;
}

/** The model that a request names, by `model` or by the older `name`. @param why what a model that is not found is told with */
async function requestedModel(context: CallContext, request: Request, why?: (name: string) => string): Promise<Named> {
	const { config, catalog, auth } = context.current.snapshot;
	// Before the body is read: nobody's is read who has no key.
	authenticate(auth, request, config);
	const sent = readOllama(await readRequestText(request, config.server.body_limit, true), "named");
	const asked = sent.model || sent.name;
	if (!asked) throw new RouterError("invalid_value", "model is required", { param: "model" });
	try {
		const model = await oneModel(context, request, knownName(asked, catalog));
		return { model, isStreamed: sent.stream !== false };
	} catch (thrown) {
		if (!(thrown instanceof RouterError) || thrown.errorCode !== "model_not_found") throw thrown;
		const name = asked.slice(0, 100);
		const words = why ? `${why(name)}; nothing is pulled here: ${HOW}` : `model '${name}' not found: ${thrown.message}`;
		throw new RouterError("model_not_found", words, { param: "model" });
	}
}

/** A model with what its first target knows of it. */
function ollamaModel({ id, created, parent }: Model, catalog: Catalog): OllamaModel {
	const target = catalog.find(id)?.targets[0];
	return { id, created, parent, context: target?.context, lacks: target?.lacks };
}
