/** `GET /v1/models` and `GET /v1/models/{id}`. */
import { nearest } from "../config/nearest.ts";
import { RouterError } from "../errors.ts";
import type { Model, ModelList } from "../proxy/model-list.ts";
import type { CallContext } from "./calls.ts";
import { admit, isAllowed } from "./calls.ts";

/** All models the caller may use. Throws what the gate says. */
export async function listModels(context: CallContext, list: ModelList, request: Request) {
	const caller = admit(context.gate, request, context.config);
	const models = await list.all();
	const data = caller ? models.filter(({ id }) => isAllowed(caller, id, context.catalog.find(id))) : models;
	return { object: "list" as const, data };
}

/**
 * One model. A name that leads to an upstream which has not said what it serves (no key, no network) is taken at its
 * word. Throws what the gate says, and `model_not_found` naming close ones, also for a model the caller may not use.
 */
export async function oneModel(context: CallContext, list: ModelList, request: Request, id: string): Promise<Model> {
	const { data } = await listModels(context, list, request);
	const listed = data.find((model) => model.id === id);
	if (listed) return listed;
	const route = context.catalog.find(id);
	const target = route?.targets[0];
	const entry = context.catalog.entries.find(({ provider }) => provider === target?.provider);
	if (target && entry && isAllowed(admit(context.gate, request, context.config), id, route)) {
		const known = data.find((model) => context.catalog.find(model.id)?.targets[0]?.id === target.id);
		if (known) return { ...known, id };
		if (!list.isKnown(entry)) return { id, object: "model", created: 0, owned_by: entry.upstream.name };
	}
	const close = nearest(
		id,
		data.map((model) => model.id),
		3,
	);
	const hint = close.length > 0 ? ` Did you mean ${close.map((each) => `"${each}"`).join(" or ")}?` : "";
	throw new RouterError("model_not_found", `There is no model "${id.slice(0, 100)}" here.${hint}`, { param: "model" });
}
