/** From an HTTP request to a call, and to its answer. The same for both roles. */
import type { Config } from "../config/schema.ts";
import { asRouterError, RouterError } from "../errors.ts";
import type { Caller, Gate } from "../gate/keys.ts";
import { type Call, type Operation, parseRequest } from "../openai/call.ts";
import type { Field } from "../openai/json.ts";
import { HOPS } from "../providers/request-headers.ts";
import { relay } from "../proxy/relay.ts";
import { Settlement } from "../proxy/settlement.ts";
import type { Catalog, Route } from "../routing/catalog.ts";
import type { Sink } from "../telemetry/events.ts";
import type { AnswerCache } from "./answer-cache.ts";
import { IDLE_SECONDS } from "./idle.ts";
import { refuseKeyless } from "./keyless.ts";
import { readRequestText } from "./request-body.ts";
import { newRequestId } from "./request-id.ts";

/** What a call needs of its server. One immutable value; a reload makes another. */
export interface CallContext {
	readonly config: Config;
	readonly catalog: Catalog;
	readonly gate: Gate;
	readonly sink: Sink;
	/** This server among routers. One of its own for each role: in one process a call passes through both. */
	readonly instance: string;
	/** Answers of before; absent where they are switched off. */
	readonly cache?: AnswerCache | undefined;
	/** Hears of errors that are the router's own fault. */
	readonly onFault: (id: string, error: unknown) => void;
}

/** What is used of Bun's server. */
interface Timeouts {
	timeout(request: Request, seconds: number): void;
}

/** Routers a call may pass through. */
const MAX_HOPS = 8;
/** Labels kept as known, an operation: the metrics hold 500 in all, and configured names must find room. */
const MOST_ANSWERED = 100;
/** Longest `user` kept for the log, characters. */
const MAX_USER = 128;

/** Handles `POST /v1/…` for one operation. Never throws: every error is answered and settled here. */
export function callHandler(operation: Operation, context: CallContext) {
	/** Labels of models that an upstream has answered for: known to the metrics from then on. */
	const answered = new Set<string>();
	return async (request: Request, server: Timeouts | null): Promise<Response> => {
		const settlement = new Settlement(newRequestId(), operation, performance.now(), context.sink);
		settlement.onFault = (thrown) => context.onFault(settlement.id, thrown);
		try {
			return await answer(operation, context, request, server, settlement, answered);
		} catch (thrown) {
			const error = asRouterError(thrown);
			if (error.errorCode === "internal_error") settlement.onFault(error.cause ?? error);
			settlement.settle(error.status, error.errorCode);
			return error.response(errorHeaders(settlement));
		}
	};
}

async function answer(
	operation: Operation,
	{ config, catalog, gate, instance, cache }: CallContext,
	request: Request,
	server: Timeouts | null,
	settlement: Settlement,
	answered: Set<string>,
): Promise<Response> {
	const caller = admit(gate, request, config);
	settlement.key = caller?.name;
	const hops = hopsWith(instance, request.headers);
	const timeoutMs = timeoutIn(request.headers);
	const text = await readRequestText(request, config.server.body_limit);
	settlement.waitedMs = performance.now() - settlement.startedAt;
	const parsed = parseRequest(operation, text);
	const { model, user } = parsed.body;
	settlement.requested = model.slice(0, 200);
	settlement.stream = parsed.stream;
	settlement.user = user?.slice(0, MAX_USER);
	const route = catalog.resolve(model, caller && ((name) => isAllowed(caller, name, catalog.find(name))));
	settlement.reason = route.reason;
	settlement.label = route.label;
	settlement.isKnown = catalog.names.includes(model) || answered.has(route.label);
	if (!isAllowed(caller, model, route)) {
		throw new RouterError("model_not_allowed", `The key "${caller?.name}" may not use "${model.slice(0, 100)}".`, {
			param: "model",
		});
	}
	refuseReroutes(caller, parsed.fields, route);
	settlement.onSettled = () => {
		if (settlement.isKnown && answered.size < MOST_ANSWERED) answered.add(route.label);
		server?.timeout(request, IDLE_SECONDS);
	};
	// From here the upstream sets the pace: a model may think for minutes before its first byte.
	server?.timeout(request, 0);
	const call: Call = {
		...parsed,
		id: settlement.id,
		operation,
		dialect: "openai",
		headers: request.headers,
		hops,
		signal: request.signal,
		startedAt: settlement.startedAt,
		timeoutMs,
		key: caller?.name,
	};
	const run = (led: Call) => relay(led, route.targets, settlement);
	return cache ? cache.answer(call, route.targets, settlement, run) : run(call);
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
	return refuseKeyless(request.headers, request.url, server.cors_origins);
}

/** Whether a caller may use a model. A key's patterns may name what clients ask for, or where that runs (`local/*`). */
export function isAllowed(caller: Caller | undefined, model: string, route: Route | undefined): boolean {
	if (!caller || caller.mayUse(model)) return true;
	return route?.targets.every(({ id, name }) => caller.mayUse(id) || (name && caller.mayUse(name))) ?? false;
}

/** Keeps a key that may use some models only from leaving them by a field of the upstream's. Throws `model_not_allowed`. */
function refuseReroutes(caller: Caller | undefined, fields: readonly Field[], { targets }: Route): void {
	if (!caller?.isRestricted) return;
	const reroutes = targets.flatMap(({ provider }) => provider.reroutes);
	const field = fields.find(({ key }) => reroutes.includes(key));
	if (!field) return;
	const message = `The key "${caller.name}" may use some models only, so it may not send "${field.key}".`;
	throw new RouterError("model_not_allowed", message, { param: field.key });
}

/** The routers a call has come through, this one last. Throws `loop_detected`. */
function hopsWith(instance: string, headers: Headers): string {
	const passed =
		headers
			.get(HOPS)
			?.split(",")
			.map((hop) => hop.trim()) ?? [];
	if (!passed.includes(instance) && passed.length < MAX_HOPS) return [...passed, instance].join(",");
	throw new RouterError("loop_detected", "This call has come back to the router: a base URL of one leads to another.");
}

/** `x-router-timeout-ms`. Throws `invalid_value`. */
function timeoutIn(headers: Headers): number | undefined {
	const value = headers.get("x-router-timeout-ms");
	if (value === null) return undefined;
	const ms = /^\d{1,8}$/.test(value) ? Number(value) : 0;
	if (ms > 0 && ms <= 86_400_000) return ms;
	throw new RouterError("invalid_value", "x-router-timeout-ms must be a whole number of milliseconds, 1 to 86400000.", {
		param: "x-router-timeout-ms",
	});
}

function errorHeaders(settlement: Settlement): Record<string, string> {
	const headers: Record<string, string> = { "x-request-id": settlement.id };
	if (settlement.provider !== "none") headers["x-router-provider"] = settlement.provider;
	if (settlement.agent !== undefined) headers["x-router-agent"] = settlement.agent;
	if (settlement.attempts > 0) headers["x-router-attempts"] = String(settlement.attempts);
	return headers;
}
