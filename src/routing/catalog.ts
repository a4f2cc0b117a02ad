/** Model names → the targets that serve them. */
import { nearest } from "../config/nearest.ts";
import type { Config, TargetConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Provider, Target } from "../providers/provider.ts";
import type { Upstream } from "../providers/registry.ts";
import { StartError } from "../start-error.ts";

/** Where a call may run, in the order to try. */
export interface Route {
	readonly targets: readonly Target[];
	/** Why: `models: fast`, `prefix gpt-*`. */
	readonly reason: string;
	/** The model in metrics: the name in `models:`, else the upstream's own. */
	readonly label: string;
}

/** A provider with the configuration it was made from. */
export interface CatalogEntry {
	readonly upstream: Upstream;
	readonly provider: Provider;
}

/** Names every OpenAI client may use on this router. */
export interface Catalog {
	/**
	 * Throws `model_not_found` naming close ones that `isVisible`. Order: `models:`, `provider/model`, prefix (design, "Model
	 * names").
	 */
	resolve(name: string, isVisible?: (name: string) => boolean): Route;
	/** The same without the throw. */
	find(name: string): Route | undefined;
	/** The names that are certain without asking an upstream: `models:` and `dummy`. */
	readonly names: readonly string[];
	readonly entries: readonly CatalogEntry[];
}

/** The catalog of one configuration. Throws StartError naming the place where a target of `models:` leads nowhere. */
export function createCatalog(config: Config, entries: readonly CatalogEntry[]): Catalog {
	const byName = new Map<string, CatalogEntry>();
	for (const entry of entries) {
		for (const alias of entry.upstream.row.aliases) if (!byName.has(alias)) byName.set(alias, entry);
	}
	for (const entry of entries) byName.set(entry.upstream.name, entry);

	const aliases = new Map<string, Route>();
	const names = [...new Set([...config.models.map(({ name }) => name), "dummy"])];
	for (const [index, { name, targets, fallback = [] }] of config.models.entries()) {
		const place = `models[${index}]`;
		const first = targets.map((target, at) => configured(target, `${place}.targets[${at}]`));
		const last = fallback.map((target, at) => configured(target, `${place}.fallback[${at}]`));
		aliases.set(name, { targets: [...first, ...last], reason: `models: ${name}`, label: name });
	}

	/** A name that is itself one of `models:`, further up, stands for that one's first target. */
	function configured(target: TargetConfig, place: string): Target {
		if (typeof target === "string") {
			const [found] = find(target)?.targets ?? [];
			if (found) return found;
			throw new StartError(`${place}: there is no model "${target}"; name its provider, too: \`provider/model\`.`);
		}
		const entry = byName.get(target.provider);
		if (entry) return targetOf(entry, target.model);
		const hint = nearest(target.provider, byName.keys(), 1).map((close) => `; did you mean "${close}"?`);
		throw new StartError(`${place}: there is no provider "${target.provider}"${hint[0] ?? "."}`);
	}

	function find(name: string): Route | undefined {
		if (aliases.has(name)) return aliases.get(name);
		return name === "dummy" ? route(byName.get("dummy")!, name, "built in") : (explicit(name) ?? prefixed(name));
	}

	function resolve(name: string, isVisible: (name: string) => boolean = () => true): Route {
		const found = find(name);
		if (found) return found;
		throw modelNotFound(name, names.filter(isVisible));
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

	return { entries, names, find, resolve };
}

/** The error for a name that leads nowhere, with up to three of `names` that are close to it. */
export function modelNotFound(name: string, names: Iterable<string>): RouterError {
	const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name;
	const close = nearest(name, names, 3).map((each) => `"${each}"`);
	const hint = close.length > 0 ? ` Did you mean ${close.join(" or ")}?` : "";
	const message = `There is no model "${shown}" here.${hint} GET /v1/models lists them.`;
	return new RouterError("model_not_found", message, { param: "model" });
}

function route(entry: CatalogEntry, model: string, reason: string): Route {
	return { targets: [targetOf(entry, model)], reason, label: model };
}

function targetOf({ provider, upstream }: CatalogEntry, model: string): Target {
	return { id: `${upstream.name}/${model}`, provider, model };
}
