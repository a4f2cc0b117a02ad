/** Model names → the targets that serve them. */
import { nearest } from "../config/nearest.ts";
import type { Config, TargetConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Provider, Target } from "../providers/provider.ts";
import type { Upstream } from "../providers/registry.ts";

/** Where a call may run, in the order to try. */
export interface Route {
	readonly targets: readonly Target[];
	/** Why: `models: fast`, `prefix gpt-*`. */
	readonly reason: string;
}

/** A provider with the configuration it was made from. */
export interface CatalogEntry {
	readonly upstream: Upstream;
	readonly provider: Provider;
}

/** Names every OpenAI client may use on this router. */
export interface Catalog {
	/** Throws `model_not_found` naming close ones. Order: `models:`, `provider/model`, prefix (design, "Model names"). */
	resolve(name: string): Route;
	/** The same without the throw. */
	find(name: string): Route | undefined;
	/** The names that are certain without asking an upstream: `models:` and `dummy`. */
	readonly names: readonly string[];
	readonly entries: readonly CatalogEntry[];
}

/** The catalog of one configuration. Throws `model_not_found` where a target of `models:` leads nowhere. */
export function createCatalog(config: Config, entries: readonly CatalogEntry[]): Catalog {
	const byName = new Map<string, CatalogEntry>();
	for (const entry of entries) {
		for (const alias of entry.upstream.row.aliases) if (!byName.has(alias)) byName.set(alias, entry);
	}
	for (const entry of entries) byName.set(entry.upstream.name, entry);

	const aliases = new Map<string, Route>();
	const names = [...config.models.map(({ name }) => name), "dummy"];
	for (const { name, targets, fallback = [] } of config.models) {
		aliases.set(name, { targets: [...targets, ...fallback].map(configured), reason: `models: ${name}` });
	}

	function configured(target: TargetConfig): Target {
		if (typeof target === "string") return resolve(target).targets[0]!;
		const entry = byName.get(target.provider);
		if (entry) return targetOf(entry, target.model);
		throw new RouterError("model_not_found", `models: there is no provider "${target.provider}".`);
	}

	function find(name: string): Route | undefined {
		if (aliases.has(name)) return aliases.get(name);
		return name === "dummy" ? route(byName.get("dummy")!, name, "built in") : (explicit(name) ?? prefixed(name));
	}

	function resolve(name: string): Route {
		return find(name) ?? unknown(name);
	}

	function explicit(name: string): Route | undefined {
		const slash = name.indexOf("/");
		const entry = slash > 0 ? byName.get(name.slice(0, slash)) : undefined;
		const rest = name.slice(slash + 1);
		if (!entry || rest === "") return undefined;
		// OpenRouter's own models are called `openrouter/auto` upstream, too.
		const model = entry.upstream.row.ownsBareNames && !rest.includes("/") ? name : rest;
		return route(entry, model, `provider ${entry.upstream.name}`);
	}

	function prefixed(name: string): Route | undefined {
		for (const entry of entries) {
			// Only a vendor's first account answers to its prefixes.
			if (entry.upstream.name !== entry.upstream.type) continue;
			const prefix = entry.upstream.row.prefixes.find(({ pattern }) => pattern.test(name));
			if (prefix) return route(entry, name.slice(prefix.strip?.length ?? 0), `prefix ${prefix.label}`);
		}
		return undefined;
	}

	function unknown(name: string): never {
		const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name;
		const close = nearest(name, names, 3);
		const hint = close.length > 0 ? ` Did you mean ${close.map((each) => `"${each}"`).join(" or ")}?` : "";
		throw new RouterError("model_not_found", `There is no model "${shown}" here.${hint} GET /v1/models lists them.`, {
			param: "model",
		});
	}

	return { entries, names, find, resolve };
}

function route(entry: CatalogEntry, model: string, reason: string): Route {
	return { targets: [targetOf(entry, model)], reason };
}

function targetOf({ provider, upstream }: CatalogEntry, model: string): Target {
	return { id: `${upstream.name}/${model}`, provider, model };
}
