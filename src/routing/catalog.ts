/** Model names → the targets that serve them. */

import { PriceBook } from "../accounts/usage/price-book.ts";
import { type Finding, FindingsError, type Path } from "../config/config-error.ts";
import { nearest } from "../config/did-you-mean.ts";
import { filled, starsIn } from "../config/name-pattern.ts";
import type { Config, ModelConfig, TargetConfig } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Provider } from "../providers/provider.ts";
import type { Upstream } from "../providers/registry.ts";
import { AddressedAgents } from "./addressed-agents.ts";
import { type Fleet, NO_FLEET } from "./agent-targets.ts";
import { type Alias, type AliasTarget, createAlias, withFacts } from "./alias.ts";
import { ANY_LOCAL, type LocalNames, localNames } from "./local-models.ts";
import { type Destination, ModelPatterns, starProblem, type TargetTemplate } from "./model-patterns.ts";
import type { Feature, Route, RouteTarget } from "./route.ts";
import { destinationAt, kindOf } from "./target-kind.ts";
import { modelNotFound, noProvider, whyNowhere } from "./unknown-name.ts";

/** A provider with the configuration it was made from. */
export interface CatalogEntry {
	readonly upstream: Upstream;
	readonly provider: Provider;
}

/** Names every OpenAI client may use on this router. */
export interface Catalog {
	/**
	 * Throws `model_not_found` naming close ones that `isVisible`, and `model_unavailable` where agents know the model and none
	 * serves it now. Order: `models:`, names before those with a `*`; `provider/model`, an agent's plain name, prefix. A name that an agent
	 * has ever served leads to no vendor: prompts for it are meant for the user's own machines.
	 */
	resolve(name: string, isVisible?: (name: string) => boolean): Route;
	/** The same without the throw. */
	find(name: string): Route | undefined;
	/** The names that are certain without asking an upstream: those of `models:` without a `*`, and `dummy`. */
	readonly names: readonly string[];
	readonly entries: readonly CatalogEntry[];
	/** Agents that are known by their addresses alone: what they serve has to be asked for. */
	readonly addressed?: readonly CatalogEntry[];
	/**
	 * What one of them says it serves: those names are kept on the user's own machines from then on. Undefined: it was asked, and has not
	 * answered.
	 */
	learn?(entry: CatalogEntry, names: readonly string[] | undefined): void;
	/** What agents serve at this moment, as `local/<name>` and by the names with a `*` that lead there. */
	agentModels?(): readonly string[];
	/** Of the name of a LoRA adapter that an agent serves: its model's name, as it is called here. */
	parentOf?(name: string): string | undefined;
	/** The names with a `*` in `models:` that lead to a model of an upstream, its own name given, with the star's text in. */
	patternNames?(upstream: string, model: string): readonly string[];
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
	return new ModelCatalog(config, entries, fleet, prices);
}

class ModelCatalog implements Catalog {
	readonly names: readonly string[];
	readonly #byName = new Map<string, CatalogEntry>();
	readonly #aliases = new Map<string, Alias>();
	/** Undefined where no name in `models:` has a `*`: most calls' names need not be compared with any. */
	#patterns: ModelPatterns | undefined;
	readonly #localEntry: CatalogEntry | undefined;
	readonly #local: LocalNames;
	readonly #addressed: AddressedAgents<CatalogEntry>;
	/** What names lead to for as long as this configuration lasts: most calls ask for the same few. */
	readonly #known = new Map<string, Route>();
	readonly #findings: Finding[] = [];

	constructor(
		private readonly config: Config,
		readonly entries: readonly CatalogEntry[],
		private readonly fleet: Fleet,
		private readonly prices: PriceBook,
	) {
		for (const entry of entries) {
			for (const alias of entry.upstream.row.aliases) {
				if (!this.#byName.has(alias)) this.#byName.set(alias, entry);
			}
		}
		for (const entry of entries) this.#byName.set(entry.upstream.name, entry);
		this.#localEntry = entries.find(({ upstream }) => upstream.name === "local" && upstream.type === "local");
		this.#local = localNames(this.#localEntry?.upstream, fleet);
		this.#addressed = new AddressedAgents(entries, fleet);
		this.names = [
			...new Set([...config.models.map(({ name }) => name).filter((name) => starsIn(name) === 0), "dummy"]),
		];
		for (const [index, model] of config.models.entries()) this.#add(model, index);
		if (this.#findings.length > 0) throw new FindingsError(this.#findings);
	}

	#add(model: ModelConfig, index: number): void {
		const { name, targets, fallback = [] } = model;
		const stars = starsIn(name);
		// Where there is nothing to choose nobody asks for a price.
		const isChoice = targets.length + fallback.length > 1;
		const templates = (tier: "targets" | "fallback", listed: readonly TargetConfig[]) =>
			listed.flatMap((target, at) => this.#template(target, stars, ["models", index, tier, at], isChoice) ?? []);
		const tiers = { targets: templates("targets", targets), fallback: templates("fallback", fallback) };
		if (tiers.targets.length === 0) return;
		if (stars > 0) {
			this.#patterns ??= new ModelPatterns();
			this.#patterns.add(model, tiers);
			return;
		}
		const made = (listed: readonly TargetTemplate[]) => listed.flatMap((template) => template.target([]) ?? []);
		this.#aliases.set(name, createAlias(model, { targets: made(tiers.targets), fallback: made(tiers.fallback) }));
	}

	find(name: string): Route | undefined {
		const alias = this.#aliases.get(name) ?? (this.#patterns && this.#patterned(name));
		if (alias) return alias.route();
		if (name !== "dummy" && !this.#isExplicit(name) && this.fleet.served.has(name))
			return this.#local.plain(name) ?? this.#atAddress(name);
		const found = this.#fixed(name);
		return found && this.#isLocal(found) ? this.#local.find(name, found) : found;
	}

	resolve(name: string, isVisible: (name: string) => boolean = () => true): Route {
		const found = this.find(name);
		if (found) return found;
		const alias = this.#aliases.get(name) ?? this.#patterned(name);
		const absence = (alias ? alias.absence() : this.#local.absence(name)) ?? this.#unheard(name);
		if (absence !== undefined && (isVisible(name) || isVisible(`local/${name}`))) {
			throw new RouterError("model_unavailable", `No agent serves "${name.slice(0, 100)}" now: ${absence}.`, {
				param: "model",
				headers: { "retry-after": "5" },
			});
		}
		// `agent/model`, as `router models` and the command line take it.
		const own = `local/${name}`;
		const meant = name.includes("/") && this.fleet.targets(name).length > 0 && isVisible(own) ? own : undefined;
		throw modelNotFound(name, [...this.names, ...this.agentModels(), ...this.fleet.names].filter(isVisible), meant);
	}

	get addressed(): readonly CatalogEntry[] {
		return this.#addressed.entries;
	}

	learn(entry: CatalogEntry, names: readonly string[] | undefined): void {
		this.#addressed.learn(entry, names);
	}

	agentModels(): readonly string[] {
		return this.fleet.names.flatMap((name) => [`local/${name}`, ...this.patternNames("local", name)]);
	}

	patternNames(upstream: string, model: string): readonly string[] {
		const id = `${upstream}/${model}`;
		const isThere = (target: RouteTarget) => target.id === id || target.name === id;
		const names = this.#patterns?.namesFor(upstream, model) ?? [];
		return names.filter((name) => this.find(name)?.targets.some(isThere));
	}

	parentOf(name: string): string | undefined {
		const served = this.find(name)?.targets[0];
		const parent = served?.name === undefined ? undefined : this.fleet.parentOf?.(served.model, served.agent);
		return parent === undefined ? undefined : `local/${parent}`;
	}

	atNearProvider(name: string): string | undefined {
		const slash = name.indexOf("/");
		if (slash <= 0 || this.#isExplicit(name)) return undefined;
		const [close] = nearest(name.slice(0, slash), [...this.#byName.keys(), ...(this.#patterns?.heads ?? [])], 1);
		return close === undefined ? undefined : `${close}${name.slice(slash)}`;
	}

	/** Where a name leads that is none of `models:`, as if there were no agents. */
	#fixed(name: string): Route | undefined {
		let found = this.#known.get(name);
		if (found) return found;
		// It stands for other names, and would reach an upstream as it is.
		if (starsIn(name) > 0) return undefined;
		if (name === "dummy") found = route(this.#byName.get("dummy")!, name, "built in");
		else found = this.#explicit(name) ?? this.#prefixed(name);
		if (found && this.#known.size >= MOST_KNOWN) this.#known.clear();
		if (found) this.#known.set(name, found);
		return found;
	}

	/** Where a name leads that an agent served which is known by its address. */
	#atAddress(name: string): Route | undefined {
		const entry = this.#addressed.serving(name);
		return entry && this.#fixed(`${entry.upstream.name}/${name}`);
	}

	/** Why a name is held back that an agent could serve which has not said so yet; undefined where it would lead nowhere anyway. */
	#unheard(name: string): string | undefined {
		const why = this.#patterns && !this.#isExplicit(name) ? this.#addressed.unheard : undefined;
		return why && this.#patterned(name, "vendor") ? why : undefined;
	}

	#patterned(name: string, limit = this.#limitOf(name)): Alias | undefined {
		return this.#patterns?.alias(name, limit, (each) => this.#placeOf(each));
	}

	/** How far a name may go by a `*`. One that may be a model of an agent waits for that agent to be asked once; its answer is not waited for. */
	#limitOf(name: string): Destination {
		const { silent, isAsked } = this.#addressed;
		if (!silent && !this.fleet.served.has(name)) return "vendor";
		if (this.#isExplicit(name)) return "vendor";
		return isAsked && !this.fleet.served.has(name) ? "own" : "agents";
	}

	/** The text of a name that says where it runs: of a provider, of the user's own machines, of what is built in. */
	#placeOf(name: string): string {
		if (name === "dummy") return name;
		if (this.#isExplicit(name)) return name.slice(0, name.indexOf("/") + 1);
		return ANY_LOCAL.test(name) ? "local" : "";
	}

	/** Names its provider. */
	#isExplicit(name: string): boolean {
		const slash = name.indexOf("/");
		return slash > 0 && this.#byName.has(name.slice(0, slash));
	}

	#explicit(name: string): Route | undefined {
		const slash = name.indexOf("/");
		const entry = slash > 0 ? this.#byName.get(name.slice(0, slash)) : undefined;
		const rest = name.slice(slash + 1);
		if (!entry || rest === "") return undefined;
		// OpenRouter's own models are called `openrouter/auto` upstream, too.
		const model = entry.upstream.row.ownsBareNames && !rest.includes("/") ? name : rest;
		return route(entry, model, `provider ${entry.upstream.name}`);
	}

	#prefixed(name: string): Route | undefined {
		for (const entry of this.entries) {
			// Only a vendor's first account answers to its prefixes.
			if (entry.upstream.name !== entry.upstream.type) continue;
			const prefix = entry.upstream.row.prefixes.find(({ pattern }) => pattern.test(name));
			if (prefix) return route(entry, name.slice(prefix.strip?.length ?? 0), `prefix ${prefix.label}`);
		}
		return undefined;
	}

	#isLocal({ targets }: Route): boolean {
		return this.#localEntry !== undefined && targets[0]?.provider === this.#localEntry.provider;
	}

	/** A target of an entry whose name has so many stars. Undefined: a finding says why. */
	#template(target: TargetConfig, stars: number, path: Path, isChoice: boolean): TargetTemplate | undefined {
		const model = typeof target === "string" ? target : target.model;
		if (starsIn(model) === 0) {
			const found = typeof target === "string" ? this.#named(target, path, isChoice) : this.#at(target, path, isChoice);
			return found && { provider: "", model: undefined, destination: this.#destinationOf(found), target: () => found };
		}
		// Before the slash nothing is the client's to say.
		const slash = typeof target === "string" ? model.indexOf("/") : -1;
		const provider = typeof target === "string" ? model.slice(0, Math.max(slash, 0)) : target.provider;
		const entry = this.#byName.get(provider);
		const problem = starProblem(target, stars) ?? (entry ? undefined : noProvider(provider, this.#byName));
		if (problem !== undefined || !entry) {
			this.#findings.push({ path, message: problem! });
			return undefined;
		}
		const ownName = model.slice(slash + 1);
		return {
			provider: entry.upstream.name,
			model: ownName,
			destination: destinationAt(entry.upstream),
			target: (captures) => {
				const name = filled(ownName, captures);
				if (name === "") return undefined;
				if (typeof target !== "string") return this.#at({ ...target, model: name }, path, isChoice);
				const found = this.#explicit(`${provider}/${name}`);
				return found && this.#aliasTarget(`${provider}/${name}`, found, isChoice);
			},
		};
	}

	#destinationOf(found: AliasTarget): Destination {
		if ("targets" in found) return "agents";
		const entry = this.#byName.get(found.target.provider.name);
		return entry ? destinationAt(entry.upstream) : "vendor";
	}

	/** A name that is itself one of `models:`, further up, means that one's first target. Undefined: a finding says why. */
	#named(target: string, path: Path, isChoice: boolean): AliasTarget | undefined {
		// Its owner wrote it here: whether an agent has such a name must not decide whether the configuration is one.
		const alias = this.#aliases.get(target) ?? this.#patterned(target, "vendor");
		if (alias) return withFacts(alias.first, (first) => ({ aliases: [...(first.aliases ?? []), target] }));
		const found = this.#fixed(target);
		if (found) return this.#aliasTarget(target, found, isChoice);
		const message = whyNowhere(target, Number(path[1]), this.config.models, this.#byName, this.names);
		if (message !== undefined) this.#findings.push({ path, message });
		return undefined;
	}

	/** A model at a provider, with what its owner says of it. Undefined: a finding says why. */
	#at(target: Exclude<TargetConfig, string>, path: Path, isChoice: boolean): AliasTarget | undefined {
		const entry = this.#byName.get(target.provider);
		if (entry) {
			const name = `${entry.upstream.name}/${target.model}`;
			const { context, lacks, weight } = target;
			const facts = { ...(context !== undefined && { context }), ...(lacks && { lacks }) };
			return withFacts(this.#aliasTarget(name, route(entry, target.model, ""), isChoice), () => facts, weight);
		}
		this.#findings.push({ path: [...path, "provider"], message: noProvider(target.provider, this.#byName) });
		return undefined;
	}

	/** An entry of the agents is theirs also while none of them is there. */
	#aliasTarget(name: string, found: Route, isChoice: boolean): AliasTarget {
		if (this.#isLocal(found)) {
			const local = this.#local;
			return { targets: () => local.find(name, found)?.targets ?? [], absence: () => local.absence(name) };
		}
		const [target] = found.targets as readonly [RouteTarget];
		if (!isChoice) return { target };
		const { price, context } = this.prices.of(target);
		const { operations } = target.provider;
		const lacks = !operations || operations.includes("embeddings") ? undefined : NO_EMBEDDINGS;
		return { target: { ...target, price, context, lacks } };
	}
}

function route(entry: CatalogEntry, model: string, reason: string): Route {
	return { targets: [targetOf(entry, model)], reason, label: model };
}

function targetOf({ provider, upstream }: CatalogEntry, model: string): RouteTarget {
	const kind = kindOf(upstream);
	const isReplica = upstream.row.site === "replica";
	return { id: `${upstream.name}/${model}`, provider, model, kind, isReplica, isKeyless: upstream.state !== "ready" };
}
