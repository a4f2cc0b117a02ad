/** `GET /v1/models` and `GET /v1/models/{id}`. */

import { authenticate } from "../accounts/auth/keys.ts";
import { anthropicModel, modelsPage } from "../dialects/anthropic-messages/messages-models.ts";
import { geminiModel, geminiModelsPage } from "../dialects/gemini/models.ts";
import { isAnthropics, isGoogles } from "../dialects/request-dialect.ts";
import { urlOf } from "../http/request-url.ts";
import type { Target } from "../providers/provider.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";
import { ANY_LOCAL } from "../routing/local-models.ts";
import type { Route } from "../routing/route.ts";
import type { CallContext } from "./call-context.ts";
import { takeKey } from "./gemini-calls.ts";
import { isAllowed, unknownModel } from "./model-access.ts";
import { listsOf, type Model, type ModelList, namedModel } from "./model-list.ts";

/** All models the caller may use. Throws what authentication does. */
export async function listModels({ current }: CallContext, request: Request) {
	const { config, catalog, auth } = current.snapshot;
	const caller = authenticate(auth, request, config);
	const models = await listsOf(catalog).all();
	const isVisible = ({ id }: Model) => isAllowed(caller, id, catalog.find(id));
	return { object: "list" as const, data: caller ? models.filter(isVisible) : models };
}

/** The same in the words of its client. Throws `invalid_value`, too, for a page that is none. */
export async function modelsAnswer(context: CallContext, request: Request): Promise<object> {
	takeKey(request);
	const list = await listModels(context, request);
	const pageOf = isGoogles(request.url, request.headers)
		? geminiModelsPage
		: isAnthropics(request.headers)
			? modelsPage
			: undefined;
	if (!pageOf) return list;
	const { catalog } = context.current.snapshot;
	return pageOf(
		list.data.map((model) => withContext(model, catalog)),
		urlOf(request).searchParams,
	);
}

/** One model in the words of its client. Throws what `oneModel` does. */
export async function modelAnswer(context: CallContext, request: Request, id: string): Promise<object> {
	takeKey(request);
	const model = await oneModel(context, request, id);
	const { catalog } = context.current.snapshot;
	if (isGoogles(request.url, request.headers)) return geminiModel(withContext(model, catalog));
	return isAnthropics(request.headers) ? anthropicModel(withContext(model, catalog)) : model;
}

/** A model, with how much it can hold where that is known. */
const withContext = (model: Model, catalog: Catalog) => ({
	...model,
	context: catalog.find(model.id)?.targets[0]?.context,
});

/**
 * One model, by any name that a call would be sent for. Upstreams list less than they serve (other spellings, new models, models
 * of an account's own), and calls are sent there whatever the list says: so a name that leads to one is taken at its word, with what
 * its list says of it. Only that upstream is asked. Throws what authentication does, and `model_not_found` naming close ones: for a name that leads
 * nowhere (no such provider, no known prefix), for a model that the caller may not use, and for one that no agent has, since agents list all they have.
 */
export async function oneModel(context: CallContext, request: Request, id: string): Promise<Model> {
	const { config, catalog, auth } = context.current.snapshot;
	const caller = authenticate(auth, request, config);
	const route = catalog.find(id);
	if (isAllowed(caller, id, route)) {
		const found = catalog.names.includes(id)
			? namedModel(id, "router", catalog)
			: await atItsUpstream(catalog, context.isBehindRouter === true, id, route);
		if (found) return found;
	}
	throw await unknownModel(catalog, id, caller);
}

async function atItsUpstream(
	catalog: Catalog,
	isBehindRouter: boolean,
	id: string,
	route: Route | undefined,
): Promise<Model | undefined> {
	const [target] = route?.targets ?? [];
	const entry = catalog.entries.find(({ provider }) => provider === target?.provider);
	if (!target) return undefined;
	if (target.name !== undefined) return namedModel(id, "local", catalog);
	if (!entry) return namedModel(id, target.provider.name, catalog);
	const list = listsOf(catalog);
	const listed = await list.of(entry);
	const known = listed.find((model) => placeOf(catalog.find(model.id)?.targets[0]) === placeOf(target));
	if (known) return { ...known, id };
	const isComplete = entry.upstream.type === "local" || isBehindRouter;
	if (isComplete && list.isKnown(entry) && !isServed(target.model, list, entry)) return undefined;
	return namedModel(id, entry.upstream.name, catalog);
}

/** Whether what lists all it serves serves this, too: under its own name, or as whatever is ready there. */
function isServed(model: string, list: ModelList, entry: CatalogEntry): boolean {
	const served = list.served(entry, Number.POSITIVE_INFINITY);
	return served.includes(model) || (served.length > 0 && ANY_LOCAL.test(model));
}

/** The same for all targets under one name: several agents serve one model. */
function placeOf(target: Target | undefined): string | undefined {
	return target?.name ?? target?.id;
}
