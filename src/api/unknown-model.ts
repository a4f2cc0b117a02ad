/** The error for a model's name that leads nowhere: the same for a call, for its explanation, and for `GET /v1/models/{id}`. */
import { RouterError } from "../errors.ts";
import { type Catalog, modelNotFound } from "../routing/catalog.ts";
import type { Route } from "../routing/route.ts";
import { listsOf } from "./model-list.ts";

/**
 * `model_not_found`, with close names among those that the upstreams list, and the name itself at the provider that was most likely meant.
 * Waits a moment for lists that nobody has asked for yet. Never throws.
 * @param isVisible whether the caller may know of a name
 */
export async function unknownModel(
	catalog: Catalog,
	name: string,
	isVisible: (name: string) => boolean,
): Promise<RouterError> {
	const corrected = catalog.atNearProvider?.(name);
	const names = [...(corrected === undefined ? [] : [corrected]), ...(await listsOf(catalog).namesForHint())];
	return modelNotFound(name, names.filter(isVisible));
}

/**
 * Where a name leads, as `catalog.resolve` says; where that is nowhere a promise, which rejects with what `unknownModel` says. Throws what
 * `resolve` does else. An agent knows all its names itself.
 */
export function resolved(
	catalog: Catalog,
	name: string,
	isVisible: ((name: string) => boolean) | undefined,
	isAgent = false,
): Route | Promise<never> {
	try {
		return catalog.resolve(name, isVisible);
	} catch (thrown) {
		const isUnknown = thrown instanceof RouterError && thrown.errorCode === "model_not_found";
		if (!isUnknown || isAgent) throw thrown;
		return unknownModel(catalog, name, isVisible ?? (() => true)).then((error) => {
			throw error;
		});
	}
}
