/**
 * Calls of operations that are passed on (pictures, sound, moderations, reranking, tokens): from an HTTP request to the upstream's answer. The same
 * steps as of any call, one after the other; only the request is not read further than to its model, and the answer not at all.
 */
import { authenticate, type Caller } from "../accounts/auth/keys.ts";
import { CallCost } from "../accounts/usage/call-cost.ts";
import type { Dialect } from "../dialects/dialect.ts";
import { asRouterError, RouterError } from "../errors.ts";
import { IDLE_SECONDS } from "../http/listen.ts";
import type { Detail } from "../http/route-docs.ts";
import type { Call } from "../openai/call.ts";
import { OPERATIONS } from "../openai/operations.ts";
import type { PassedOperation } from "../openai/passed-operations.ts";
import { relayPassed } from "../proxy/relay-passed.ts";
import type { Route } from "../routing/route.ts";
import type { Accounts, CallContext } from "./call-context.ts";
import { refuseEngineFields } from "./engine-access.ts";
import { refuseForeignFiles } from "./file-references.ts";
import { type CallServer, failedCall, limitCall, MAX_REQUESTED } from "./handler.ts";
import { IncomingCall, MAX_USER } from "./incoming-call.ts";
import { callPlan } from "./late-route.ts";
import { budgetOf, isBudgeted, resolveModel, usableRoute } from "./model-access.ts";
import { openCall } from "./open-call.ts";
import { readPassed } from "./passed-request-body.ts";
import { type Choice, EXPLAIN_HEADER, planCall } from "./route-call.ts";

/** A route whose calls are passed on. */
export interface PassedRoute {
	readonly method: "POST";
	readonly path: `/${string}`;
	readonly passes: PassedOperation;
	/** In whose words its errors are said. */
	readonly dialect: Dialect;
	/** Its entry in `/swagger`. */
	readonly detail: Detail;
}

/** Answers one call. Never rejects: every error is answered and settled here. */
export async function passCall(
	{ passes: operation, path, dialect }: Pick<PassedRoute, "passes" | "path" | "dialect">,
	context: CallContext,
	request: Request,
	server: CallServer,
): Promise<Response> {
	const record = openCall(operation, context, request, path);
	let call: IncomingCall | undefined;
	try {
		const { config, catalog, auth, accounts } = context.current.snapshot;
		const caller = authenticate(auth, request, config);
		record.caller = caller;
		if (server) record.connection = { server, request, idleSeconds: IDLE_SECONDS };
		const handling = { operation, dialect };
		call = new IncomingCall(request, record, handling, caller, context.instance, config.usage.user_headers);
		// A key that may not do everything is held to what its whole request says.
		const prices = isBudgeted(caller, accounts) ? accounts?.usage.prices : undefined;
		const isHeld = caller?.isRestricted || prices !== undefined;
		const read = await readPassed(operation, request, config, isHeld);
		record.atEnd(() => void read.close?.());
		if (read.json && context.objects?.hasObjects) refuseForeignFiles(context.objects, caller, read.json);
		Object.assign(call, read.parsed, { passed: read.passed });
		record.waitedMs = performance.now() - record.startedAt;
		const { model, user } = call.facts;
		record.requested = model.slice(0, MAX_REQUESTED);
		// Nobody has checked it.
		record.user = call.user ?? (typeof user === "string" ? user.slice(0, MAX_USER) : undefined);
		const found = await resolveModel(catalog, model, caller, context.isBehindRouter);
		record.named(found, found.alias?.name === found.label || catalog.names.includes(model));
		const asking = { call, caller };
		const permit = (to: Route): Route => allowedPassed(operation, context, accounts, asking, to);
		const route = permit(found);
		const runaway = context.runaways?.check(call, caller, config.runaway, record);
		// Before its limits: while it waits it takes nobody's place.
		if (runaway) await context.runaways!.hold(runaway, call, record);
		if (accounts) await limitCall(accounts, { call, caller, route, record, request, server });
		else record.cost = new CallCost(call, caller, route, undefined);
		const isPlain = route.targets.length === 1 && request.headers.get(EXPLAIN_HEADER) !== "1";
		const choice: Choice = isPlain ? route : planCall(call, route, context, record);
		const plan = callPlan(choice, { call, route, catalog, record, permit, accounts }, context, config);
		const response = await relayPassed(call, plan, record, context.state);
		if (record.explanation !== undefined) response.headers.set(EXPLAIN_HEADER, record.explanation);
		return response;
	} catch (thrown) {
		return failedCall(asRouterError(thrown), dialect, record, call);
	}
}

/**
 * What its caller may use of a call's route, and send there. Throws what `usableRoute` and `refuseEngineFields` do, `operation_not_served` and
 * `price_unknown`.
 */
export function allowedPassed(
	operation: PassedOperation,
	{ isBehindRouter }: Pick<CallContext, "isBehindRouter">,
	accounts: Accounts | undefined,
	{ call, caller }: { readonly call: Pick<Call, "facts" | "passed">; readonly caller: Caller | undefined },
	to: Route,
): Route {
	const { facts, passed } = call;
	const prices = isBudgeted(caller, accounts) ? accounts?.usage.prices : undefined;
	const served = servedRoute(to, operation, facts.model);
	const usable = caller?.isRestricted || prices ? usableRoute(caller, facts, served, prices) : served;
	if (!isBehindRouter) refuseEngineFields(caller, facts, served);
	return prices ? payable(usable, { operation, passed }, caller, prices) : usable;
}

/** The route's targets that have the operation. Throws `operation_not_served` where none has. */
function servedRoute(route: Route, operation: PassedOperation, model: string): Route {
	const targets = route.targets.filter(({ provider: { operations } }) => !operations || operations.includes(operation));
	if (targets.length === route.targets.length) return route;
	if (targets.length > 0) return { ...route, targets };
	const { title } = OPERATIONS[operation];
	const names = [...new Set(route.targets.map(({ provider }) => provider.name))].join(", ");
	const message = `Nobody has ${title} for "${model.slice(0, 100)}"${names ? `: ${names} has none` : ""}.`;
	throw new RouterError("operation_not_served", message, { param: "model" });
}

/**
 * The route, for a caller with a budget, without targets whose answers do not say what is to be paid for. Throws `price_unknown` where none is left.
 */
function payable(
	route: Route,
	{ operation, passed }: Pick<Call, "operation" | "passed">,
	caller: Caller | undefined,
	prices: Accounts["usage"]["prices"],
): Route {
	const { title, passed: row } = OPERATIONS[operation];
	if (row?.unit === undefined) return route;
	const name = UNIT_PRICES[row.unit];
	const targets = route.targets.filter((target) => {
		const { rates } = prices.of(target);
		if (rates === undefined) return false;
		const isFree = rates[name] === undefined && rates.input === 0 && rates.output === 0 && rates.request === undefined;
		// What is priced by tokens has to say in its answer how many there were: speech is sound alone.
		return isFree || (passed?.isUncounted !== true && (rates[name] !== undefined || row.unit !== "character"));
	});
	if (targets.length === route.targets.length) return route;
	if (targets.length > 0) return { ...route, targets };
	const id = (route.targets[0]?.id ?? route.label).slice(0, 100);
	const remedy = passed?.isUncounted
		? "ask for `response_format: json`, which says how long the sound was"
		: `set \`prices\` of "${id}": \`${name}\``;
	const message = `What ${title} of "${id}" cost can't be told, and ${budgetOf(caller)}: ${remedy}.`;
	throw new RouterError("price_unknown", message, { param: passed?.isUncounted ? "response_format" : "model" });
}

const UNIT_PRICES = { image: "image", minute: "minute", character: "characters" } as const;
