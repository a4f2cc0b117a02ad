/** `GET /v1/models` and `GET /v1/models/{id}`. */
import type { Caller } from "../gate/keys.ts";
import { routingSuffix } from "../providers/model-routing.ts";
import type { Target } from "../providers/provider.ts";
import type { Model, ModelList } from "../proxy/model-list.ts";
import { type CatalogEntry, modelNotFound } from "../routing/catalog.ts";
import { ANY_LOCAL } from "../routing/local-names.ts";
import type { CallContext } from "./calls.ts";
import { admit, isAllowed } from "./calls.ts";

/** All models the caller may use. Throws what the gate says. */
export async function listModels(context: CallContext, list: ModelList, request: Request) {
	return { object: "list" as const, data: await visible(context, list, admit(context.gate, request, context.config)) };
}

async function visible(context: CallContext, list: ModelList, caller: Caller | undefined): Promise<Model[]> {
	const models = await list.all();
	return caller ? models.filter(({ id }) => isAllowed(caller, id, context.catalog.find(id))) : models;
}

/**
 * One model, by any name that a call would be served under. A name that leads to an upstream which has not said what it
 * serves (no key, no network) is taken at its word. Throws what the gate says, and `model_not_found` naming close ones, also for a model the caller may not use.
 */
export async function oneModel(context: CallContext, list: ModelList, request: Request, id: string): Promise<Model> {
	const caller = admit(context.gate, request, context.config);
	const data = await visible(context, list, caller);
	const listed = data.find((model) => model.id === id);
	if (listed) return listed;
	const route = context.catalog.find(id);
	const target = route?.targets[0];
	const entry = context.catalog.entries.find(({ provider }) => provider === target?.provider);
	if (target && isAllowed(caller, id, route)) {
		const known = data.find((model) => placeOf(context.catalog.find(model.id)?.targets[0]) === placeOf(target));
		if (known) return { ...known, id };
		if (entry && (!list.isKnown(entry) || isServed(target.model, list.served(entry, Infinity), entry)))
			return { id, object: "model", created: 0, owned_by: entry.upstream.name };
	}
	throw modelNotFound(
		id,
		data.map((model) => model.id),
	);
}

/** What stands behind a name that vendors let one leave out: a date (Anthropic, OpenAI), `latest` (xAI, Google). */
const VERSION = /^-(?:\d{8}|\d{4}-\d{2}-\d{2}|\d{4}|latest)$/;

/**
 * Whether an upstream serves a name that its list says in another way only: without its version, with `-latest`, with what chooses how
 * it is routed (OpenRouter's `:nitro`). What else stands behind a colon (`:free`, `:8b`) is another model, with a line of its own.
 */
function isServed(model: string, listed: readonly string[], { upstream }: CatalogEntry): boolean {
	if (listed.length === 0) return false;
	if (upstream.type === "local" && ANY_LOCAL.test(model)) return true;
	const suffix = upstream.routesModels ? routingSuffix(model) : undefined;
	const bare = (suffix === undefined ? model : model.slice(0, -suffix.length)).replace(/-latest$/, "");
	return listed.some((each) => each === bare || (each.startsWith(bare) && VERSION.test(each.slice(bare.length))));
}

/** The same for all targets under one name: several agents serve one model. */
function placeOf(target: Target | undefined): string | undefined {
	return target?.name ?? target?.id;
}
