/** What a call does at the gate once it is understood: limits, budget, and what it will cost. */

import type { Caller } from "../accounts/auth/keys.ts";
import type { Admission, AdmissionControl } from "../accounts/limits/admission.ts";
import type { Config } from "../config/schema.ts";
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import type { Catalog } from "../routing/catalog.ts";
import type { Route } from "../routing/route.ts";
import { type LimitedCall, LimitRequest } from "./limit-request.ts";

/** A call at the gate. */
export interface CallToAdmit extends LimitedCall {
	readonly call: Pick<Call, "operation" | "raw" | "body" | "fields" | "headers">;
	readonly settlement: CallRecord;
}

/**
 * Lets the call in, and settles its limits and budget when it is over. Throws what the turnstile does. A promise where others have to
 * be asked: to wait for nothing would cost each call 0.5 µs.
 */
export function admitCall(
	turnstile: AdmissionControl,
	catalog: Catalog,
	entry: CallToAdmit,
): Promise<void> | undefined {
	const { settlement } = entry;
	const admission = new LimitRequest(entry, catalog, turnstile.usual);
	const entered = turnstile.enter(admission);
	if (!entered) return undefined;
	const passed = (pass: Admission) => {
		settlement.headers = pass.headers;
		settlement.atEnd(() => {
			const { tokens, costUsd: cost, isCutShort, isEstimated } = settlement;
			pass.settle({ tokens: tokens ? tokens.input + tokens.output : 0, cost: cost ?? 0 });
			// A guess of the router's own says nothing of what answers come to.
			if (tokens && !isCutShort && !isEstimated && turnstile.usual.isAsked) admission.learn(tokens.output, cost);
		});
	};
	if (entered instanceof Promise) return entered.then(passed);
	passed(entered);
	return undefined;
}

/**
 * The route, without targets whose price nobody knows, for a key with a budget: it could spend without end. Throws `price_unknown`
 * where none is left.
 */
export function affordable(caller: Caller | undefined, model: string, route: Route, catalog: Catalog): Route {
	if (!caller?.budget || !catalog.listed) return route;
	const targets = route.targets.filter((target) => catalog.listed!(target).rates !== undefined);
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
