/** Model names → the targets that serve them. */

import { PriceBook } from "../accounts/usage/price-book.ts";
import { type Finding, FindingsError, type Path } from "../config/config-error.ts";
import { didYouMean, nearest } from "../config/did-you-mean.ts";
import type { Config, TargetConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Provider } from "../providers/provider.ts";
import type { Upstream } from "../providers/registry.ts";
import { type Fleet, NO_FLEET } from "./agent-targets.ts";
import { type Alias, type AliasTarget, createAlias } from "./alias.ts";
import { kindOf } from "./kind.ts";
import { localNames } from "./local-models.ts";
import type { Feature, Route, RouteTarget } from "./route.ts";

/** A provider with the configuration it was made from. */
export interface CatalogEntry {
	readonly upstream: Upstream;
	readonly provider: Provider;
}

/** Names every OpenAI client may use on this router. */
export interface Catalog {
	/**
	 * Throws `model_not_found` naming close ones that `isVisible`, and `model_unavailable` where agents know the model and none
	 * serves it now. Order: `models:`, `provider/model`, an agent's plain name, prefix. A name that an agent has ever served leads
	 * to no vendor: prompts for it are meant for the house.
	 */
	resolve(name: string, isVisible?: (name: string) => boolean): Route;
	/** The same without the throw. */
	find(name: string): Route | undefined;
	/** The names that are certain without asking an upstream: `models:` and `dummy`. */
	readonly names: readonly string[];
	readonly entries: readonly CatalogEntry[];
	/** What agents serve at this moment, as `local/<name>`. */
	agentModels?(): readonly string[];
	/** `FAKE/x` → `fake/x`: the name at the provider that was most likely meant; undefined where none is near. */
	atNearProvider?(name: string): string | undefined;
}

/** Names remembered: clients choose them. */
const MOST_KNOWN = 500;

const NO_EMBEDDINGS: readonly Feature[] = ["embeddings"];

/** The catalog of one configuration. Throws FindingsError with each target of `models:` that leads nowhere. */
export function createCatalog(
	config: Config,
	entries: readonly CatalogEntry[],
	fleet: Fleet = NO_FLEET,
	prices = new PriceBook(config.prices),
): Catalog {
	const byName = new Map<string, CatalogEntry>();
	for (const entry of entries) {
		for (const alias of entry.upstream.row.aliases) if (!byName.has(alias)) byName.set(alias, entry);
	}
	for (const entry of entries) byName.set(entry.upstream.name, entry);
	const localEntry = entries.find(({ upstream }) => upstream.name === "local" && upstream.type === "local");
	const local = localNames(localEntry, fleet);
	/** What names lead to for as long as this configuration lasts: most calls ask for the same few. */
	const known = new Map<string, Route>();

	const aliases = new Map<string, Alias>();
	const names = [...new Set([...config.models.map(({ name }) => name), "dummy"])];
	const findings: Finding[] = [];
	for (const [index, model] of config.models.entries()) {
		const { targets, fallback = [] } = model;
		// Where there is nothing to choose nobody asks for a price.
		const isChoice = targets.length + fallback.length > 1;
		const aliasTargets = (tier: "targets" | "fallback", listed: readonly TargetConfig[]) =>
			listed.flatMap((target, at) => configured(target, ["models", index, tier, at], isChoice) ?? []);
		const tiers = { targets: aliasTargets("targets", targets), fallback: aliasTargets("fallback", fallback) };
		if (tiers.targets.length > 0) aliases.set(model.name, createAlias(model, tiers));
	}
	if (findings.length > 0) throw new FindingsError(findings);

	/** A name that is itself one of `models:`, further up, stands for that one's first target. Undefined: a finding tells why. */
	function configured(target: TargetConfig, path: Path, isChoice: boolean): AliasTarget | undefined {
		if (typeof target === "string") {
			const alias = aliases.get(target);
			if (alias) return withFacts(alias.first, (first) => ({ aliases: [...(first.aliases ?? []), target] }));
			const found = fixed(target);
			if (found) return aliasTargetOf(target, found, isChoice);
			const message = nowhere(target, Number(path[1]));
			if (message !== undefined) findings.push({ path, message });
			return undefined;
		}
		const entry = byName.get(target.provider);
		if (entry) {
			const name = `${entry.upstream.name}/${target.model}`;
			const { context, lacks } = target;
			const facts = { ...(context !== undefined && { context }), ...(lacks && { lacks }) };
			return withFacts(aliasTargetOf(name, route(entry, target.model, ""), isChoice), () => facts);
		}
		findings.push({ path: [...path, "provider"], message: noProvider(target.provider) });
		return undefined;
	}

	/** Why a name in `models:` leads nowhere; undefined where the one that it stands for has been told already. */
	function nowhere(target: string, index: number): string | undefined {
		const at = config.models.findIndex(({ name }) => name === target);
		if (at === index) return `"${target}" can't lead to itself; name a \`provider/model\`.`;
		if (at > index) return `"${target}" stands further down, as models[${at}]; put it before this one.`;
		if (at !== -1) return undefined;
		const slash = target.indexOf("/");
		if (slash > 0) {
			const provider = target.slice(0, slash);
			return byName.has(provider) ? `"${target}" names no model behind its provider.` : noProvider(provider);
		}
		const hint = didYouMean(target, names);
		return `there is no model "${target}"; ${hint ? `${hint} Else ` : ""}name its provider, too: \`provider/model\`.`;
	}

	function noProvider(name: string): string {
		const hint = didYouMean(name, byName.keys());
		return `there is no provider "${name}"; ${hint ? `${hint} Else ` : ""}declare it under \`providers:\`.`;
	}

	/** An entry of the agents is theirs also while none of them is there. */
	function aliasTargetOf(name: string, found: Route, isChoice: boolean): AliasTarget {
		if (isLocal(found)) {
			return { targets: () => local.find(name, found)?.targets ?? [], absence: () => local.absence(name) };
		}
		const [target] = found.targets as readonly [RouteTarget];
		return { target: isChoice ? withKnown(target) : target };
	}

	/** What its owner says of a model counts more than what a table does. */
	function withFacts(entry: AliasTarget, facts: (target: RouteTarget) => Partial<RouteTarget>): AliasTarget {
		if ("target" in entry) return { target: { ...entry.target, ...facts(entry.target) } };
		return { ...entry, targets: () => entry.targets().map((target) => ({ ...target, ...facts(target) })) };
	}

	/** A target with what there is to know of it before a call. */
	function withKnown(target: RouteTarget): RouteTarget {
		const { price, context } = prices.of(target);
		const { operations } = target.provider;
		const lacks = !operations || operations.includes("embeddings") ? undefined : NO_EMBEDDINGS;
		return { ...target, price, context, lacks };
	}

	function isLocal({ targets }: Route): boolean {
		return localEntry !== undefined && targets[0]?.provider === localEntry.provider;
	}

	/** Where a name leads that is none of `models:`, as if there were no agents. */
	function fixed(name: string): Route | undefined {
		let found = known.get(name);
		if (found) return found;
		found = name === "dummy" ? route(byName.get("dummy")!, name, "built in") : (explicit(name) ?? prefixed(name));
		if (found && known.size >= MOST_KNOWN) known.clear();
		if (found) known.set(name, found);
		return found;
	}

	function find(name: string): Route | undefined {
		const alias = aliases.get(name);
		if (alias) return alias.route();
		if (name !== "dummy" && !isExplicit(name) && fleet.served.has(name)) return local.plain(name);
		const found = fixed(name);
		return found && isLocal(found) ? local.find(name, found) : found;
	}

	function resolve(name: string, isVisible: (name: string) => boolean = () => true): Route {
		const found = find(name);
		if (found) return found;
		const alias = aliases.get(name);
		const absence = alias ? alias.absence() : local.absence(name);
		if (absence !== undefined && (isVisible(name) || isVisible(`local/${name}`))) {
			throw new RouterError("model_unavailable", `No agent serves "${name.slice(0, 100)}" now: ${absence}.`, {
				param: "model",
				headers: { "retry-after": "5" },
			});
		}
		throw modelNotFound(name, [...names, ...agentModels()].filter(isVisible));
	}

	function atNearProvider(name: string): string | undefined {
		const slash = name.indexOf("/");
		if (slash <= 0 || isExplicit(name)) return undefined;
		const [close] = nearest(name.slice(0, slash), byName.keys(), 1);
		return close === undefined ? undefined : `${close}${name.slice(slash)}`;
	}

	function agentModels(): readonly string[] {
		return fleet.names.map((name) => `local/${name}`);
	}

	/** Names its provider. */
	function isExplicit(name: string): boolean {
		const slash = name.indexOf("/");
		return slash > 0 && byName.has(name.slice(0, slash));
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

	return { entries, names, find, resolve, agentModels, atNearProvider };
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

function targetOf({ provider, upstream }: CatalogEntry, model: string): RouteTarget {
	const kind = kindOf(upstream);
	const isReplica = upstream.row.site === "replica";
	return { id: `${upstream.name}/${model}`, provider, model, kind, isReplica, isKeyless: upstream.state !== "ready" };
}
