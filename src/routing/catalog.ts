/** Model names → the targets that serve them. */
import { nearest } from "../config/nearest.ts";
import type { Config, TargetConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Provider, Target } from "../providers/provider.ts";
import type { Upstream } from "../providers/registry.ts";
import { StartError } from "../start-error.ts";
import { type Fleet, NO_FLEET } from "./fleet.ts";
import { localNames } from "./local-names.ts";

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
	 * Throws `model_not_found` naming close ones that `isVisible`, and `model_unavailable` where agents know the model and none
	 * serves it now. Order: `models:`, `provider/model`, prefix, an agent's plain name: those never shadow another.
	 */
	resolve(name: string, isVisible?: (name: string) => boolean): Route;
	/** The same without the throw. */
	find(name: string): Route | undefined;
	/** The names that are certain without asking an upstream: `models:` and `dummy`. */
	readonly names: readonly string[];
	readonly entries: readonly CatalogEntry[];
	/** What agents serve at this moment, as `local/<name>`. */
	agentModels?(): readonly string[];
}

/** One entry of `targets:`; where it leads is asked anew for every call, since agents come and go. */
interface Place {
	targets(): readonly Target[];
	absence(): string | undefined;
}

/** The catalog of one configuration. Throws StartError naming the place where a target of `models:` leads nowhere. */
export function createCatalog(config: Config, entries: readonly CatalogEntry[], fleet: Fleet = NO_FLEET): Catalog {
	const byName = new Map<string, CatalogEntry>();
	for (const entry of entries) {
		for (const alias of entry.upstream.row.aliases) if (!byName.has(alias)) byName.set(alias, entry);
	}
	for (const entry of entries) byName.set(entry.upstream.name, entry);
	const localEntry = entries.find(({ upstream }) => upstream.name === "local" && upstream.type === "local");
	const local = localNames(localEntry, fleet);

	const aliases = new Map<string, readonly Place[]>();
	const names = [...new Set([...config.models.map(({ name }) => name), "dummy"])];
	for (const [index, { name, targets, fallback = [] }] of config.models.entries()) {
		const place = `models[${index}]`;
		const first = targets.map((target, at) => configured(target, `${place}.targets[${at}]`));
		const last = fallback.map((target, at) => configured(target, `${place}.fallback[${at}]`));
		aliases.set(name, [...first, ...last]);
	}

	/** A name that is itself one of `models:`, further up, stands for that one's first target. */
	function configured(target: TargetConfig, place: string): Place {
		if (typeof target === "string") {
			const [alias] = aliases.get(target) ?? [];
			if (alias) return alias;
			const found = fixed(target);
			if (found) return placeOf(target, found);
			throw new StartError(`${place}: there is no model "${target}"; name its provider, too: \`provider/model\`.`);
		}
		const entry = byName.get(target.provider);
		if (entry) return placeOf(`${entry.upstream.name}/${target.model}`, route(entry, target.model, ""));
		const hint = nearest(target.provider, byName.keys(), 1).map((close) => `; did you mean "${close}"?`);
		throw new StartError(`${place}: there is no provider "${target.provider}"${hint[0] ?? "."}`);
	}

	/** A place of the agents is theirs also while none of them is there. */
	function placeOf(name: string, found: Route): Place {
		if (!isLocal(found)) return { targets: () => found.targets, absence: () => undefined };
		return { targets: () => local.find(name, found)?.targets ?? [], absence: () => local.absence(name) };
	}

	function isLocal({ targets }: Route): boolean {
		return localEntry !== undefined && targets[0]?.provider === localEntry.provider;
	}

	/** Where a name leads that is none of `models:`, as if there were no agents. */
	function fixed(name: string): Route | undefined {
		return name === "dummy" ? route(byName.get("dummy")!, name, "built in") : (explicit(name) ?? prefixed(name));
	}

	function find(name: string): Route | undefined {
		const places = aliases.get(name);
		if (places) {
			const targets = places.flatMap((place) => place.targets());
			return targets.length > 0 ? { targets, reason: `models: ${name}`, label: name } : undefined;
		}
		const found = fixed(name);
		if (!found) return local.plain(name);
		return isLocal(found) ? local.find(name, found) : found;
	}

	function resolve(name: string, isVisible: (name: string) => boolean = () => true): Route {
		const found = find(name);
		if (found) return found;
		const absence = aliases.has(name)
			? aliases.get(name)!.flatMap((place) => place.absence() ?? [])[0]
			: local.absence(name);
		if (absence !== undefined && (isVisible(name) || isVisible(`local/${name}`))) {
			throw new RouterError("model_unavailable", `No agent serves "${name.slice(0, 100)}" now: ${absence}.`, {
				param: "model",
				headers: { "retry-after": "5" },
			});
		}
		throw modelNotFound(name, [...names, ...agentModels()].filter(isVisible));
	}

	function agentModels(): readonly string[] {
		return fleet.names.map((name) => `local/${name}`);
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

	return { entries, names, find, resolve, agentModels };
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
