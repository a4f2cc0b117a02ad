/** What happens to a call once it is understood: its limits, its budget, and who it is for. */

import type { Caller } from "../accounts/auth/keys.ts";
import type { Admission, AdmissionControl } from "../accounts/limits/admission.ts";
import { CallCost } from "../accounts/usage/call-cost.ts";
import type { PriceBook } from "../accounts/usage/price-book.ts";
import type { Config } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { furtherTargets, limitedNames } from "../routing/limited-names.ts";
import type { Route } from "../routing/route.ts";
import type { Accounts } from "./call-context.ts";

/** Models that a call names in a field of its own and that are priced: to look for a price takes ms, and upstreams take no more. */
const MOST_PRICED = 3;

/** A call that may go somewhere. */
export interface CallToAdmit {
	readonly call: Pick<Call, "operation" | "raw" | "body" | "fields" | "headers">;
	readonly caller: Caller | undefined;
	/** Where it may go: its caller's part of it. */
	readonly route: Route;
	readonly record: Pick<CallRecord, "headers" | "admission" | "cost">;
	/** The client's; asked only where a limit needs it. */
	address(): string;
}

/**
 * Lets the call through its limits and its budget, and leaves what settles them in its record. Throws what the limits do. A promise where others have to
 * be asked: to wait for nothing costs each call time.
 */
export function admitCall(
	{
		admission: control,
		usage,
	}: Pick<Accounts, "usage"> & {
		readonly admission: Pick<AdmissionControl, "enter" | "limitsModels" | "limitsAddresses">;
	},
	{ call, caller, route, record, address }: CallToAdmit,
): Promise<void> | undefined {
	const further = furtherTargets(call.body, route);
	const targets = further.length === 0 ? route.targets : [...route.targets, ...further.slice(0, MOST_PRICED)];
	const cost = new CallCost(call, caller, { targets, label: route.label }, usage);
	record.cost = cost;
	if (!caller && !control.limitsModels && !control.limitsAddresses) return undefined;
	const admission = control.enter({
		caller,
		cost,
		names: control.limitsModels ? limitedNames(call.body.model, route, further) : undefined,
		address: !caller && control.limitsAddresses ? address() : undefined,
	});
	if (!admission) return undefined;
	const entered = (made: Admission) => {
		record.headers = made.headers;
		record.admission = made;
	};
	if (admission instanceof Promise) return admission.then(entered);
	entered(admission);
	return undefined;
}

/**
 * The route, without targets whose price nobody knows, for a key with a budget: it could spend without end. Throws `price_unknown`
 * where none is left.
 */
export function affordable(
	caller: Caller | undefined,
	model: string,
	route: Route,
	prices: Pick<PriceBook, "of"> | undefined,
): Route {
	if (!caller?.budget || !prices) return route;
	const targets = route.targets.filter((target) => prices.of(target).rates !== undefined);
	if (targets.length === route.targets.length) return route;
	if (targets.length > 0) return { ...route, targets };
	const id = route.targets[0]?.id ?? model;
	const message =
		`The price of "${model.slice(0, 100)}" is not known, and the key "${caller.name}" has a budget: ` +
		`set the price of "${id.slice(0, 100)}" under \`prices:\`.`;
	throw new RouterError("price_unknown", message, { param: "model" });
}

/** Longest name of an end user that is kept, characters. */
const MAX_USER = 128;

/** The end user of a call: by the first header of the configuration that is there, else by the body. */
export function endUser({ headers, body }: CallToAdmit["call"], config: Config): string | undefined {
	for (const name of config.usage.user_headers) {
		const user = headers.get(name);
		if (user) return user.slice(0, MAX_USER);
	}
	return body.user?.slice(0, MAX_USER);
}
