/** Models that the configuration names and that vendors stop offering: which vendors are asked, and what is said of their answers. */
import { isDeprecatedInTable } from "../accounts/usage/price-book.ts";
import { starsIn } from "../config/name-pattern.ts";
import type { Config } from "../config/schema.ts";
import { isLocal } from "../providers/locality.ts";
import { lifecycleText, type ModelLifecycle } from "../providers/model-lifecycle.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";
import type { RouteTarget } from "../routing/route.ts";
import { listsOf } from "./model-list.ts";

/** How old a vendor's list may be, ms; and how long one that could not be had is not asked for again. */
const FRESH_MS = 86_400_000;
const FAILED_MS = 600_000;

/** A target of a name in `models:` that ends. */
export interface RetiringModel {
	/** The name in `models:`. */
	readonly name: string;
	/** The target's id, `openai/gpt-4o`. */
	readonly target: string;
	readonly lifecycle: ModelLifecycle;
	/** `fast: openai/gpt-4o is retired by OpenAI on 2027-01-14` */
	readonly text: string;
}

/** Has the vendors that `models:` names asked for their lists, where those are not of today. Resolves once they have answered, or can't be asked. */
export async function askVendors(models: Config["models"], catalog: Catalog): Promise<void> {
	const lists = listsOf(catalog);
	const named = new Set(namedTargets(models, catalog).map(({ target }) => target.provider));
	const vendors = catalog.entries.filter((entry) => named.has(entry.provider) && isVendors(entry));
	await Promise.all(vendors.map((entry) => lists.refresh(entry, lists.isKnown(entry) ? FRESH_MS : FAILED_MS)));
}

/** What stands in the user's own network is no vendor: its list is asked for when somebody wants to see it. */
const isVendors = ({ upstream }: CatalogEntry): boolean => upstream.row.site === "vendor" && !isLocal(upstream);

/** The models that end, as the lists and the table of prices say now. @param now Unix time, ms */
export function retiringModels(models: Config["models"], catalog: Catalog, now = Date.now()): RetiringModel[] {
	const titles = new Map(catalog.entries.map(({ provider, upstream }) => [provider, upstream.row.title]));
	return namedTargets(models, catalog).flatMap(({ name, target }) => {
		const lifecycle = lifecycleOf(target);
		if (!lifecycle) return [];
		const vendor = titles.get(target.provider) ?? target.provider.name;
		const text = `${name}: ${target.id} ${lifecycleText(lifecycle, vendor, now)}`;
		return [{ name, target: target.id, lifecycle, text }];
	});
}

/** The table says that a model is deprecated, and not since when. */
function lifecycleOf({ provider, model }: RouteTarget): ModelLifecycle | undefined {
	const listed = provider.lifecycles?.get(model);
	return listed ?? (isDeprecatedInTable(provider.priceId, model) ? {} : undefined);
}

/** A target, and the name in `models:` that it is of. */
export interface NamedTarget {
	readonly name: string;
	readonly target: RouteTarget;
}

/** Those of all names without a `*`: of the others nobody knows which models will be asked for. */
export function namedTargets(models: Config["models"], catalog: Catalog): NamedTarget[] {
	return models
		.filter(({ name }) => starsIn(name) === 0)
		.flatMap(({ name }) => (catalog.find(name)?.targets ?? []).map((target) => ({ name, target })));
}
