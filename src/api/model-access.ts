/** Which models a caller may use, and where their names lead: the same for calls, their explanations and the lists of models. */
import type { Caller } from "../accounts/auth/keys.ts";
import type { AdmissionControl } from "../accounts/limits/admission.ts";
import type { PriceBook } from "../accounts/usage/price-book.ts";
import { RouterError } from "../errors.ts";
import type { CallFacts } from "../openai/call-facts.ts";
import { routingSuffix } from "../openai/model-routing.ts";
import type { Catalog } from "../routing/catalog.ts";
import type { Route, RouteTarget } from "../routing/route.ts";
import { modelNotFound } from "../routing/unknown-name.ts";
import { listsOf } from "./model-list.ts";

/**
 * Whether a caller may use a model. A key's patterns may name what clients ask for, or where that runs (`local/*`): then it may
 * use those of the targets.
 */
export function isAllowed(caller: Caller | undefined, model: string, route: Route | undefined): boolean {
	return (
		!caller?.isRestricted ||
		caller.mayUse(model) ||
		(route?.targets.some((target) => mayReach(caller, target)) ?? false)
	);
}

/** Whether a key names where a target runs. */
function mayReach(caller: Caller, { id, deployment = id, name }: RouteTarget): boolean {
	return caller.mayUse(deployment) || (name !== undefined && caller.mayUse(name));
}

/** The route without targets that its caller may not use. Throws `model_not_allowed` where none is left. */
export function permittedRoute(caller: Caller | undefined, model: string, route: Route): Route {
	if (!caller?.isRestricted || caller.mayUse(model)) return route;
	const targets = route.targets.filter((target) => mayReach(caller, target));
	if (targets.length > 0) return { ...route, targets };
	const message = `The key "${caller.name}" may not use "${model.slice(0, 100)}".`;
	throw new RouterError("model_not_allowed", message, { param: "model" });
}

/**
 * What a call's caller may use of its route, and may pay for. Throws `model_not_allowed`, also where the call asks its upstream to go on to
 * other models, and `price_unknown`.
 * @param prices where it, or its session, has a budget ({@link isBudgeted})
 */
export function usableRoute(
	caller: Caller | undefined,
	facts: Pick<CallFacts, "model" | "routingField">,
	found: Route,
	prices: Prices | undefined,
): Route {
	const { model } = facts;
	let route = permittedRoute(caller, model, found);
	if (prices) route = affordable(caller, model, route, prices);
	if (caller?.isRestricted) refuseReroutes(caller, facts, route);
	return route;
}

/** Whether a caller has a budget, or each of its sessions has one: its own, or that of all. */
export const isBudgeted = (
	caller: Caller | undefined,
	accounts: { readonly admission: Pick<AdmissionControl, "sessionUsd"> } | undefined,
): boolean =>
	caller?.budget !== undefined ||
	(accounts ? accounts.admission.sessionUsd(caller) : caller?.limits.session_usd) !== undefined;

type Prices = Pick<PriceBook, "of">;

/**
 * The route, without targets whose price nobody knows, for a caller with a budget: it could spend without end. Throws `price_unknown`
 * where none is left.
 */
function affordable(caller: Caller | undefined, model: string, route: Route, prices: Prices): Route {
	for (const target of route.targets) {
		if (prices.of(target).rates === undefined) return pricedPart(caller, model, route, prices);
	}
	return route;
}

/** The same of a route that has such targets. */
function pricedPart(caller: Caller | undefined, model: string, route: Route, prices: Prices): Route {
	const targets = route.targets.filter((target) => prices.of(target).rates !== undefined);
	if (targets.length > 0) return { ...route, targets };
	const [first] = route.targets;
	const id = first?.deployment ?? first?.id ?? model;
	const message =
		`The price of "${model.slice(0, 100)}" is not known, and ${budgetOf(caller)}: ` +
		`set the price of "${id.slice(0, 100)}" under \`prices:\`.`;
	throw new RouterError("price_unknown", message, { param: "model" });
}

/** Whose budget it is that something of unknown cost is refused for; in the words of an error. */
export const budgetOf = (caller: Caller | undefined): string =>
	caller ? `the key "${caller.name}" has a budget` : "sessions have a budget (limits.session_usd)";

/** Throws `model_not_allowed` naming the field, where an upstream that the call may reach could heed it. */
function refuseReroutes(caller: Caller, facts: Pick<CallFacts, "model" | "routingField">, { targets }: Route): void {
	const target = targets.find(({ provider }) => provider.routesModels);
	if (!target) return;
	const { name } = target.provider;
	const field = facts.routingField();
	if (field !== undefined) throw refusedReroute(caller, `send "${field.slice(0, 100)}" to "${name}"`, field, name);
	const suffix = routingSuffix(facts.model);
	// A star stands for models, not for what chooses among them.
	if (suffix === undefined || caller.mentions?.(suffix)) return;
	throw refusedReroute(caller, `put "${suffix.slice(0, 100)}" behind a model's name at "${name}"`, "model", name);
}

function refusedReroute(caller: Caller, what: string, param: string, provider: string): RouterError {
	const message =
		`The key "${caller.name}" may use some models only, so it may not ${what}: another model could answer. Leave it out; where that ` +
		`upstream knows nothing of the kind, \`providers.${provider}.model_routing: false\` says so.`;
	return new RouterError("model_not_allowed", message, { param: param.slice(0, 100) });
}

/**
 * Where a name leads, as `catalog.resolve` says. Throws what that does; but for a name that leads nowhere, in a router, what `unknownModel`
 * says. An agent knows all its names itself.
 */
export async function resolveModel(
	catalog: Catalog,
	name: string,
	caller: Caller | undefined,
	isAgent: boolean | undefined,
): Promise<Route> {
	const isVisible = (other: string) => isAllowed(caller, other, catalog.find(other));
	try {
		return catalog.resolve(name, caller && isVisible);
	} catch (thrown) {
		if (await hasAsked(catalog)) return catalog.resolve(name, caller && isVisible);
		const isUnknown = thrown instanceof RouterError && thrown.errorCode === "model_not_found";
		if (!isUnknown || isAgent) throw thrown;
		throw await unknownModel(catalog, name, caller);
	}
}

/**
 * Asks agents that are known by their addresses for their models, where they have never said them since the start: a call that comes at once
 * waits a moment for that. Whether there were such.
 */
async function hasAsked(catalog: Catalog): Promise<boolean> {
	const lists = listsOf(catalog);
	const unheard = (catalog.addressed ?? []).filter((entry) => !lists.isKnown(entry));
	if (unheard.length === 0) return false;
	await Promise.all(unheard.map((entry) => lists.of(entry)));
	return true;
}

/**
 * `model_not_found`, with close names among those that the upstreams list and the caller may use, and the name itself at the provider that
 * was most likely meant. Waits a moment for lists that nobody has asked for yet. Never throws.
 */
export async function unknownModel(catalog: Catalog, name: string, caller: Caller | undefined): Promise<RouterError> {
	const corrected = catalog.atNearProvider?.(name);
	const names = [...(corrected === undefined ? [] : [corrected]), ...(await listsOf(catalog).namesForHint())];
	return modelNotFound(
		name,
		names.filter((other) => isAllowed(caller, other, catalog.find(other))),
	);
}
