/** Entries of `models:` whose name has a `*`: which of them a name goes to, and the alias that it makes of the name. */
import { filled, type NameCaptures, nameCaptures, STAR, starsIn } from "../config/name-pattern.ts";
import type { ModelConfig, TargetConfig } from "../config/schema.ts";
import { type Alias, type AliasTarget, createAlias } from "./alias.ts";

/** Where a target's prompts go: to agents, to what else runs on the user's own machines, or to a vendor. */
export type Destination = "agents" | "own" | "vendor";

/** A target of such an entry. */
export interface TargetTemplate {
	/** Its upstream's name. */
	readonly provider: string;
	/** The upstream's name for the model, where that has stars. */
	readonly model: string | undefined;
	readonly destination: Destination;
	/** The target for what the stars of the name stand for; undefined where that leaves no model's name. */
	target(captures: readonly string[]): AliasTarget | undefined;
}

/** The templates of an entry, by tier. */
export interface TemplateTiers {
	readonly targets: readonly TargetTemplate[];
	readonly fallback: readonly TargetTemplate[];
}

interface ModelPattern extends TemplateTiers {
	readonly settings: ModelConfig;
	readonly captures: NameCaptures;
	/** Its text before the first star. */
	readonly head: string;
	/** Every target has stars: what a name leads to depends on all of it, and it is no other model's. */
	readonly isFaithful: boolean;
}

/** Names remembered: clients choose them. */
const MOST_KNOWN = 500;

/** The entries, the most specific first: the one with the longest text besides its stars; of two that are equal the one further up. */
export class ModelPatterns {
	readonly #patterns: ModelPattern[] = [];
	/** By name, for each of the limits on where a name may go. */
	readonly #known = {
		vendor: new Map<string, Alias>(),
		own: new Map<string, Alias>(),
		agents: new Map<string, Alias>(),
	};

	/** Adds an entry of the configuration, in its order. */
	add(settings: ModelConfig, tiers: TemplateTiers): void {
		const { name } = settings;
		const templates = [...tiers.targets, ...tiers.fallback];
		const pattern = {
			...tiers,
			settings,
			captures: nameCaptures(name),
			head: name.slice(0, name.indexOf(STAR)),
			isFaithful: templates.every(({ model }) => model !== undefined),
		};
		const behind = this.#patterns.findIndex(({ settings: other }) => literals(other.name) < literals(name));
		this.#patterns.splice(behind === -1 ? this.#patterns.length : behind, 0, pattern);
		// Further up the configuration less was known.
		for (const known of Object.values(this.#known)) known.clear();
	}

	/**
	 * The alias of the entry that a name goes to; undefined where none takes it.
	 * @param limit which entries may take the name: `agents` those that name agents, as for a model that an agent serves, or once did; `own`
	 * those that name any of the user's own machines, as for a name that may be an agent's; `vendor` all
	 * @param placeOf the text of a name that says where it runs: an entry takes such a name only where it begins with that text
	 */
	alias(name: string, limit: Destination, placeOf: (name: string) => string): Alias | undefined {
		const known = this.#known[limit];
		let alias = known.get(name);
		if (!alias) {
			alias = this.#made(name, limit, placeOf(name));
			if (alias && known.size >= MOST_KNOWN) known.clear();
			if (alias) known.set(name, alias);
		}
		return alias;
	}

	/** What entries have in the place of a provider. */
	get heads(): readonly string[] {
		return this.#patterns.flatMap(({ head }) => (head.endsWith("/") ? [head.slice(0, -1)] : []));
	}

	/** The names that may lead to a model of this upstream by its own name, whatever other entries they would go to. */
	namesFor(provider: string, model: string): string[] {
		return this.#patterns.flatMap(({ settings, targets, fallback }) =>
			[...targets, ...fallback].flatMap((template) => {
				if (template.provider !== provider || template.model === undefined) return [];
				const captures = nameCaptures(template.model)(model);
				return captures ? [filled(settings.name, captures)] : [];
			}),
		);
	}

	#made(name: string, limit: Destination, place: string): Alias | undefined {
		if (starsIn(name) > 0) return NOWHERE;
		for (const { settings, captures, head, targets, fallback, isFaithful } of this.#patterns) {
			if (!head.startsWith(place)) continue;
			if (!targets.some(({ destination }) => isWithin(destination, limit))) continue;
			const found = captures(name);
			if (!found) continue;
			const tiers = { targets: targetsOf(targets, found), fallback: targetsOf(fallback, found) };
			if (tiers.targets.length > 0) return createAlias(settings, tiers, isFaithful ? name : settings.name);
		}
		return undefined;
	}
}

/** Of a name with a star: it stands for others, and an upstream need not be asked to say so. */
const NOWHERE: Alias = {
	first: { targets: () => [], absence: () => undefined },
	route: () => undefined,
	absence: () => undefined,
};

function isWithin(destination: Destination, limit: Destination): boolean {
	return limit === "vendor" || destination === "agents" || destination === limit;
}

/** Characters besides the stars. */
const literals = (name: string): number => name.replaceAll(STAR, "").length;

function targetsOf(templates: readonly TargetTemplate[], captures: readonly string[]): AliasTarget[] {
	return templates.flatMap((template) => template.target(captures) ?? []);
}

/** Why a target with stars can't stand in an entry whose name has so many. */
export function starProblem(target: TargetConfig, stars: number): string | undefined {
	const model = typeof target === "string" ? target : target.model;
	const count = starsIn(model);
	if (stars === 0)
		return `"${model}" has a ${STAR}, which takes what one in \`name\` stands for, and the name has none.`;
	if (count !== stars) return `"${model}" has ${count} ${STAR}, and the name ${stars}: as many, or none.`;
	if (typeof target !== "string" || target.slice(0, target.indexOf(STAR)).indexOf("/") > 0) return undefined;
	return `"${model}" names no provider before its ${STAR}: write \`provider/${STAR}\`.`;
}
