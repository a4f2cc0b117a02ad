/** The step `limits`: what a call may cost, and whether its caller's limits and budget let it through. */
import type { Caller } from "../accounts/auth/keys.ts";
import type { Admission, AdmissionControl } from "../accounts/limits/admission.ts";
import { CallCost } from "../accounts/usage/call-cost.ts";
import type { Peers } from "../http/client-address.ts";
import type { Call } from "../openai/call.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { furtherTargets, limitedNames } from "../routing/limited-names.ts";
import type { Route } from "../routing/route.ts";
import type { Accounts } from "./call-context.ts";

/** Models that a call names in a field of its own and that are priced: to look for a price takes ms, and upstreams take no more. */
const MOST_PRICED = 3;
const NONE: ReturnType<typeof furtherTargets> = [];

/** A call that may go somewhere. */
export interface CallToLimit {
	readonly call: Pick<Call, "operation" | "raw" | "body" | "fields">;
	readonly caller: Caller | undefined;
	/** Where it may go: its caller's part of it. */
	readonly route: Route;
	readonly record: Pick<CallRecord, "headers" | "admission" | "cost">;
	/** As it came, and Bun's server, which know the client's address. */
	readonly request: Request;
	readonly server: Peers | null;
}

/** What lets calls through. */
export interface CallLimits extends Pick<Accounts, "usage"> {
	readonly addresses: Pick<Accounts["addresses"], "of">;
	readonly admission: Pick<AdmissionControl, "enter" | "limitsModels" | "limitsAddresses">;
}

/**
 * Lets the call through its limits and its budget, and leaves what settles them in its record. Throws `rate_limit_exceeded`,
 * `insufficient_quota` or `input_too_large`. A promise where others have to be asked: to wait for nothing costs each call time.
 */
export function limitCall(
	{ admission: control, usage, addresses }: CallLimits,
	{ call, caller, route, record, request, server }: CallToLimit,
): Promise<void> | undefined {
	const { models, fallbacks } = call.body;
	const further = models === undefined && fallbacks === undefined ? NONE : furtherTargets(call.body, route);
	const targets = further.length === 0 ? route.targets : [...route.targets, ...further.slice(0, MOST_PRICED)];
	const cost = new CallCost(call, caller, { targets, label: route.label }, usage);
	record.cost = cost;
	if (!caller && !control.limitsModels && !control.limitsAddresses) return undefined;
	const names = control.limitsModels ? limitedNames(call.body.model, route, further) : undefined;
	const address = !caller && control.limitsAddresses ? addresses.of(request, server) : undefined;
	const admission = control.enter({ caller, cost, names, address });
	if (admission instanceof Promise) return admission.then((made) => admitted(record, made));
	record.headers = admission?.headers;
	record.admission = admission;
	return undefined;
}

function admitted(record: CallToLimit["record"], admission: Admission): void {
	record.headers = admission.headers;
	record.admission = admission;
}
