/** One entry of `models:`: its entries, and the route that they make at this moment. */
import type { ModelConfig } from "../config/schema.ts";
import type { Route, RouteTarget, Tier } from "./route.ts";

/** Where one entry of `targets:` or `fallback:` leads: always to the same target, or to whichever agents are there. */
export type AliasTarget =
	| { readonly target: RouteTarget }
	| {
			/** Asked anew for every call, since agents come and go. */
			targets(): readonly RouteTarget[];
			/** Why it leads nowhere now. */
			absence(): string | undefined;
	  };

/** A name of the owner's own. */
export interface Alias {
	/** Its first entry, for an alias further down that names this one. */
	readonly first: AliasTarget;
	/** Undefined where every entry leads nowhere now. */
	route(): Route | undefined;
	/** Why. */
	absence(): string | undefined;
}

/** Makes one. @param label its routes' */
export function createAlias(
	settings: ModelConfig,
	{ targets, fallback }: { readonly targets: readonly AliasTarget[]; readonly fallback: readonly AliasTarget[] },
	label = settings.name,
): Alias {
	const { name } = settings;
	const entries = [
		...targets.map((entry, at) => ({ entry, tier: "targets" as const, at })),
		...fallback.map((entry, at) => ({ entry, tier: "fallback" as const, at })),
	];
	const routeTo = (found: readonly RouteTarget[]): Route | undefined =>
		found.length > 0 ? { targets: found, reason: `models: ${name}`, label, alias: settings } : undefined;
	const current = () => routeTo(distinct(entries.flatMap(({ entry, tier, at }) => targetsOf(entry, tier, at))));
	const isConstant = entries.every(({ entry }) => "target" in entry);
	const constant = isConstant ? current() : undefined;
	return {
		first: targets[0]!,
		route: () => constant ?? current(),
		absence() {
			for (const { entry } of entries) {
				const absence = "target" in entry ? undefined : entry.absence();
				if (absence !== undefined) return absence;
			}
			return undefined;
		},
	};
}

/** What its owner says of a model counts more than what a table does. */
export function withFacts(entry: AliasTarget, facts: (target: RouteTarget) => Partial<RouteTarget>): AliasTarget {
	if ("target" in entry) return { target: { ...entry.target, ...facts(entry.target) } };
	return { ...entry, targets: () => entry.targets().map((target) => ({ ...target, ...facts(target) })) };
}

/** What two entries lead to counts once, where it comes first: else a call would be made there twice as often as it may. */
function distinct(targets: readonly RouteTarget[]): readonly RouteTarget[] {
	const seen = new Set<string>();
	return targets.filter(({ id }) => !seen.has(id) && seen.add(id));
}

function targetsOf(entry: AliasTarget, tier: Tier, at: number): readonly RouteTarget[] {
	const found = "target" in entry ? [entry.target] : entry.targets();
	return found.map((target) => ({ ...target, tier, position: at }));
}
