/**
 * The names under which a call counts towards `limits.models`: whatever a key's `models` would let it pass by, and whatever else the
 * same model is called. A permission is read narrowly and a limit widely, so that no other spelling gets past either. Pure.
 */
import type { Route, RouteTarget } from "./route.ts";

/** The part of a route that is read. */
type Named = Pick<RouteTarget, "id" | "deployment" | "name" | "model" | "aliases">;

const known = new WeakMap<Route, readonly string[]>();

/**
 * Names in lower case, each once: the name asked for and that of the route, and of every target that the call may reach
 * `provider/model`, for agents `local/model`, and the upstream's own name for the model; all of them without what chooses a variant of
 * the same model (`:nitro`) behind them, too. Fallbacks count: nobody knows beforehand who will answer.
 * @param further models that the call names besides, as targets
 */
export function limitedNames(asked: string, route: Route, further: readonly Named[]): readonly string[] {
	let own = known.get(route);
	if (!own) {
		own = namesOf([route.label], route.targets);
		known.set(route, own);
	}
	const name = asked.toLowerCase();
	if (further.length === 0 && own.includes(name)) return own;
	return [...new Set([...own, ...namesOf([asked], further)])];
}

function namesOf(plain: readonly string[], targets: readonly Named[]): readonly string[] {
	const names = new Set<string>();
	const add = (name: string) => {
		for (const form of formsOf(name)) names.add(form);
	};
	for (const name of plain) add(name);
	let replica: string | undefined;
	for (const { id, deployment = id, name, model, aliases } of targets) {
		add(deployment);
		if (aliases) for (const alias of aliases) add(alias);
		// A hundred replicas of one model differ in nothing else.
		if (name !== undefined && name === replica) continue;
		replica = name;
		add(model);
		if (name !== undefined) add(name);
	}
	return [...names];
}

/** Forms of names: calls have the same few. Bounded, since clients choose them. */
const forms = new Map<string, readonly string[]>();
const MOST_KNOWN = 5_000;

/** In lower case, and without its variant. */
function formsOf(name: string): readonly string[] {
	let found = forms.get(name);
	if (!found) {
		const lower = name.toLowerCase();
		const bare = lower.replace(VARIANT, "");
		found = bare === lower ? [lower] : [lower, bare];
		if (forms.size >= MOST_KNOWN) forms.clear();
		forms.set(name, found);
	}
	return found;
}

/** OpenRouter's variants of a model, and settings of the account's that go with it. */
const VARIANT = /(?::[a-z]+|@preset\/.*)$/;

/** The models that a call's own fields name to go on with where `model` fails, at upstreams that use them, as targets there. */
export function furtherTargets(named: readonly string[], { targets }: Route): readonly RouteTarget[] {
	return targets
		.filter(({ provider }) => provider.routesModels)
		.flatMap((target) =>
			named.map((model) => ({
				...target,
				id: `${target.provider.name}/${model}`,
				model,
				name: undefined,
				aliases: undefined,
			})),
		);
}
