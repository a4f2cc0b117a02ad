/** From an HTTP request to a call, and to its answer. The same for both roles. */

import { rejectCrossSite } from "../accounts/auth/csrf.ts";
import type { Caller, Gate } from "../accounts/auth/keys.ts";
import { CallCost } from "../accounts/usage/call-cost.ts";
import type { Config } from "../config/schema.ts";
import type { ClientCall, Dialect } from "../dialects/dialect.ts";
import { asRouterError, RouterError } from "../errors.ts";
import type { Peers } from "../http/client-address.ts";
import { IdleTimeoutLift, type IdleTimeouts } from "../http/idle-timeout.ts";
import { readRequestText } from "../http/request-body.ts";
import type { Detail } from "../http/route-docs.ts";
import type { Operation } from "../openai/operations.ts";
import { HOPS } from "../providers/request-headers.ts";
import { CallRecord, newRequestId } from "../proxy/call-record.ts";
import { relay } from "../proxy/relay.ts";
import type { Route } from "../routing/route.ts";
import { admitCall, affordable, endUser } from "./admit.ts";
import type { CallContext, CallSnapshot } from "./call-context.ts";
import { type Arrival, IncomingCall } from "./incoming-call.ts";
import { refuseReroutes } from "./model-overrides.ts";
import { choose, explainHeader, mayReach, permitted } from "./route-call.ts";
import { resolved } from "./unknown-model.ts";

/**
 * What is done for a call, in this order: `auth` finds its caller, `limits` holds it against limits and budget, `cache` answers it where
 * it can, `relay` has an upstream answer it.
 */
export type CallStep = "auth" | "limits" | "cache" | "relay";

/** A route that makes a call. */
export interface CallRoute {
	readonly method: "POST";
	readonly path: `/${string}`;
	readonly operation: Operation;
	/** What its clients speak. */
	readonly dialect: Dialect;
	readonly steps: readonly CallStep[];
	/** Its entry in `/swagger`. */
	readonly detail: Detail;
}

/** What is used of Bun's server. */
interface BunServer extends Peers, IdleTimeouts {}

/** Routers a call may pass through. */
const MAX_HOPS = 8;
/** Labels kept as known, an operation: the metrics hold 500 in all, and configured names must find room. */
const MOST_ANSWERED = 100;

/** Handles `POST /v1/…` for one operation. Never throws: every error is answered and settled here. */
export function callHandler({ operation, dialect }: Pick<CallRoute, "operation" | "dialect">, context: CallContext) {
	/** Labels of models that an upstream has answered for: known to the metrics from then on. */
	const answered = new Set<string>();
	return async (request: Request, server: BunServer | null): Promise<Response> => {
		const settlement = new CallRecord(newRequestId(), operation, performance.now(), context.sinks);
		settlement.onFault = (thrown) => context.onFault(settlement.id, thrown);
		try {
			const arrived = arrive(operation, dialect, context, request, settlement);
			const text = await readRequestText(request, arrived.config.server.body_limit);
			settlement.waitedMs = performance.now() - settlement.startedAt;
			// What is answered at once is not waited for: that would cost 0.8 µs.
			const answering = answer(arrived, text, server, answered);
			return answering instanceof Promise ? await answering : answering;
		} catch (thrown) {
			const error = asRouterError(thrown);
			if (error.errorCode === "internal_error") settlement.onFault(error.cause ?? error);
			settlement.settle(error.status, error.errorCode);
			return dialect.error(error, errorHeaders(settlement));
		}
	};
}

/** A call whose body is not here yet, and what it holds of the server, whatever is loaded meanwhile. */
interface Arrived extends Pick<CallSnapshot, "config" | "catalog" | "accounts"> {
	readonly context: CallContext;
	readonly request: Request;
	readonly settlement: CallRecord;
	readonly caller: Caller | undefined;
	readonly arrival: Arrival;
}

/** Lets a caller in, and reads what its headers say. Throws what those rules do. */
function arrive(
	operation: Operation,
	dialect: Dialect,
	context: CallContext,
	request: Request,
	settlement: CallRecord,
): Arrived {
	const { config, catalog, gate, accounts } = context.current.snapshot;
	const { headers } = request;
	const caller = admit(gate, request, config);
	settlement.caller = caller;
	const arrival = {
		id: settlement.id,
		operation,
		dialect,
		hops: hopsWith(context.instance, headers),
		startedAt: settlement.startedAt,
		timeoutMs: msIn(headers, "x-router-timeout-ms"),
		limits: limitsIn(headers),
		priority: priorityIn(headers, caller?.priority ?? 0),
		key: caller?.name,
		keyId: caller?.id,
	};
	return { context, config, catalog, accounts, request, settlement, caller, arrival };
}

/** Answers a call whose body is here: at once where nobody has to be asked. Throws, then or later, what is wrong with it. */
function answer(
	arrived: Arrived,
	text: string,
	server: BunServer | null,
	answered: Set<string>,
): Response | Promise<Response> {
	const { context, config, catalog, accounts, request, settlement, caller, arrival } = arrived;
	const { operation } = arrival;
	const parsed = context.cache?.parsed(operation, text) ?? arrival.dialect.parse(operation, text);
	const call = new IncomingCall(request, parsed, arrival);
	const { model } = parsed.body;
	settlement.requested = model.slice(0, 200);
	settlement.stream = parsed.stream;
	settlement.user = endUser(call, config);
	const isVisible = caller && ((name: string) => isAllowed(caller, name, catalog.find(name)));
	const found = resolved(catalog, model, isVisible, context.isBehindRouter);
	// It leads nowhere, and the error wants to know what would.
	if (found instanceof Promise) return found;
	settlement.reason = found.reason;
	settlement.label = found.label;
	settlement.isKnown = catalog.names.includes(model) || answered.has(found.label);
	if (!isAllowed(caller, model, found)) throw notAllowed(caller!, model);
	const route = affordable(caller, model, permitted(caller, model, found), accounts?.usage.prices);
	refuseReroutes(caller, parsed, route);
	let entering: Promise<void> | undefined;
	if (accounts) {
		settlement.tellsCost = config.usage.cost_in_answers;
		const address = () => accounts.addresses.of(request, server);
		entering = admitCall(accounts, { call, caller, route, record: settlement, address });
	} else settlement.cost = new CallCost(call, caller, route, undefined);
	const entered = () => fulfil(arrived, call, route, server, answered);
	return entering ? entering.then(entered) : entered();
}

/** Answers a call that may be answered: from the cache, or by an upstream. */
function fulfil(
	{ context, config, request, settlement }: Arrived,
	call: ClientCall,
	route: Route,
	server: BunServer | null,
	answered: Set<string>,
): Response | Promise<Response> {
	const run = (led: ClientCall) => {
		const reasons = wantsReasons(request.headers);
		const { targets, work, explained, decision, refusal } = choose(led, route, context, reasons);
		const explanation = explained && explainHeader(explained);
		settlement.explanation = explanation;
		settlement.decision = decision;
		if (refusal) throw refusal;
		const noWaiting = context.isBehindRouter;
		const plan = { targets, work, alias: route.alias, attemptsMs: config.timeouts.attempts, noWaiting };
		const relayed = relay(led, plan, settlement, { state: context.state, keepAliveMs: config.server.keep_alive });
		if (explanation === undefined) return relayed;
		return relayed.then((response) => {
			response.headers.set(EXPLAIN, explanation);
			return response;
		});
	};
	const answering = context.cache?.answer(call, route.targets, settlement, run) ?? run(call);
	if (!(answering instanceof Promise)) return answering;
	// From here the upstream sets the pace.
	const patience = server ? new IdleTimeoutLift(server, request) : undefined;
	settlement.atEnd(() => {
		if (settlement.isKnown && answered.size < MOST_ANSWERED) answered.add(route.label);
		patience?.over();
	});
	return answering;
}

/** Asks for the reasons of the choice, and gives them. */
const EXPLAIN = "x-router-explain";

function wantsReasons(headers: Headers): boolean {
	return headers.get(EXPLAIN) === "1";
}

/** The refusal of a model that a key may not use. */
export function notAllowed({ name }: Caller, model: string): RouterError {
	const message = `The key "${name}" may not use "${model.slice(0, 100)}".`;
	return new RouterError("model_not_allowed", message, { param: "model" });
}

/** The caller behind a request; undefined where no keys are configured. Throws what the gate or the keyless rules say. */
export function admit(gate: Gate, request: Request, config: Config): Caller | undefined {
	if (!gate.isOpen) return gate.admit(request.headers);
	const refusal = refuseStealth(gate, request, config);
	if (refusal) throw refusal;
	return undefined;
}

/** Why a router without keys refuses a request that a web page may have made by stealth; undefined where it does not. */
export function refuseStealth(gate: Gate, request: Request, { server }: Config): RouterError | undefined {
	if (!gate.isOpen || server.insecure) return undefined;
	return rejectCrossSite(request.headers, request.url, server.cors_origins);
}

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

/** The routers a call has come through, this one last. Throws `loop_detected`. */
function hopsWith(instance: string, headers: Headers): string {
	const through = headers.get(HOPS);
	if (through === null) return instance;
	const passed = through.split(",").map((hop) => hop.trim());
	if (!passed.includes(instance) && passed.length < MAX_HOPS) return [...passed, instance].join(",");
	throw new RouterError("loop_detected", "This call has come back to the router: a base URL of one leads to another.");
}

/** A header that holds ms. Throws `invalid_value`. */
function msIn(headers: Headers, name: string): number | undefined {
	const value = headers.get(name);
	if (value === null) return undefined;
	const ms = /^\d{1,8}$/.test(value) ? Number(value) : 0;
	if (ms > 0 && ms <= 86_400_000) return ms;
	throw new RouterError("invalid_value", `${name} must be a whole number of milliseconds, 1 to 86400000.`, {
		param: name,
	});
}

/** The call's own limits on its upstream's silence. Throws `invalid_value`. */
function limitsIn(headers: Headers): ClientCall["limits"] {
	const first_token = msIn(headers, "x-router-first-token-ms");
	const stall = msIn(headers, "x-router-stall-ms");
	return first_token === undefined && stall === undefined ? undefined : { first_token, stall };
}

/** The key's place in a line, or a lower one where the call asks for that. Throws `invalid_value`. */
function priorityIn(headers: Headers, ofKey: number): number {
	const value = headers.get("x-router-priority");
	if (value === null) return ofKey;
	if (/^-?\d{1,3}$/.test(value) && Math.abs(Number(value)) <= 100) return Math.min(Number(value), ofKey);
	throw new RouterError("invalid_value", "x-router-priority must be a whole number, -100 to 100.", {
		param: "x-router-priority",
	});
}

function errorHeaders(settlement: CallRecord): Record<string, string> {
	const headers: Record<string, string> = { "x-request-id": settlement.id, ...settlement.headers };
	if (settlement.provider !== "none") headers["x-router-provider"] = settlement.provider;
	if (settlement.agent !== undefined) headers["x-router-agent"] = settlement.agent;
	if (settlement.attempts > 0) headers["x-router-attempts"] = String(settlement.attempts);
	if (settlement.explanation !== undefined) headers[EXPLAIN] = settlement.explanation;
	return headers;
}
