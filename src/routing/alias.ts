/** One entry of `models:`: its entries, and the route that they make at this moment. */
import type { ModelConfig } from "../config/schema.ts";
import type { Route, RouteTarget, Tier } from "./route.ts";

/** Where one entry of `targets:` or `fallback:` leads: always to the same target, or to whichever agents are there. */
export type AliasTarget = { readonly weight?: number | undefined } & (
	| { readonly target: RouteTarget }
	| {
			/** Asked anew for every call, since agents come and go. */
			targets(): readonly RouteTarget[];
			/** Why it leads nowhere now. */
			absence(): string | undefined;
	  }
);

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
	const entries = [...tierOf("targets", targets), ...tierOf("fallback", fallback)];
	const routeTo = (all: readonly RouteTarget[]): Route | undefined => {
		if (all.length === 0) return undefined;
		const found = all.some(isAsleep) ? awakeOf(all) : all;
		const reason = found[0]!.isAsleep ? `models: ${name}, ${WOKEN}` : `models: ${name}`;
		return { targets: found, reason, label, alias: settings };
	};
	const current = () => routeTo(distinct(entries.flatMap(targetsOf)));
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

/** What its owner says of a model counts more than what a table does. The weight is the new entry's. */
export function withFacts(
	entry: AliasTarget,
	facts: (target: RouteTarget) => Partial<RouteTarget>,
	weight?: number,
): AliasTarget {
	if ("target" in entry) return { target: { ...entry.target, ...facts(entry.target) }, weight };
	return { ...entry, targets: () => entry.targets().map((target) => ({ ...target, ...facts(target) })), weight };
}

/** How a route says that its call wakes a host. */
export const WOKEN = "whose host is woken";

const isAsleep = (target: RouteTarget): boolean => target.isAsleep === true;

/** No host is woken for what something else can answer; where nothing can, the first is. */
function awakeOf(targets: readonly RouteTarget[]): readonly RouteTarget[] {
	const awake = targets.filter((target) => !isAsleep(target));
	return awake.length > 0 ? awake : targets.slice(0, 1);
}

/** What two entries lead to counts once, where it comes first: else a call would be made there twice as often as it may. */
function distinct(targets: readonly RouteTarget[]): readonly RouteTarget[] {
	const seen = new Set<string>();
	return targets.filter(({ id }) => !seen.has(id) && seen.add(id));
}

/** An entry in its place. */
interface PlacedEntry {
	readonly entry: AliasTarget;
	readonly place: Pick<RouteTarget, "tier" | "position" | "weight">;
}

/** Where one entry has a weight, all have. */
function tierOf(tier: Tier, listed: readonly AliasTarget[]): PlacedEntry[] {
	const isShared = listed.some(({ weight }) => weight !== undefined);
	return listed.map((entry, position) => {
		const place = { tier, position };
		return { entry, place: isShared ? { ...place, weight: entry.weight ?? 1 } : place };
	});
}

function targetsOf({ entry, place }: PlacedEntry): readonly RouteTarget[] {
	const found = "target" in entry ? [entry.target] : entry.targets();
	return found.map((target) => ({ ...target, ...place }));
}
