/** From an HTTP request to a call, and to its answer: one function, a step after the other. The same for both roles. */
import { authenticate, type Caller } from "../accounts/auth/keys.ts";
import type { Admission, AdmissionControl } from "../accounts/limits/admission.ts";
import { CallCost } from "../accounts/usage/call-cost.ts";
import type { AnswerCache } from "../cache/cache.ts";
import type { ModelConfig } from "../config/schema.ts";
import type { Dialect, EarlierAnswers } from "../dialects/dialect.ts";
import { asRouterError, type RouterError } from "../errors.ts";
import type { Peers } from "../http/client-address.ts";
import { IDLE_SECONDS } from "../http/listen.ts";
import { readRequestBody, releaseBody } from "../http/request-body.ts";
import type { Detail } from "../http/route-docs.ts";
import type { Call } from "../openai/call.ts";
import type { CallFacts } from "../openai/call-facts.ts";
import type { Operation } from "../openai/operations.ts";
import type { ClientConnection } from "../proxy/call-client.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { type RelayOptions, relay } from "../proxy/relay.ts";
import { furtherTargets, limitedNames } from "../routing/limited-names.ts";
import { sessionOf } from "../routing/requirements.ts";
import type { Route } from "../routing/route.ts";
import type { Accounts, CallContext, ShadowedCall } from "./call-context.ts";
import { refuseEngineFields } from "./engine-access.ts";
import { refuseForeignFiles } from "./file-references.ts";
import { IncomingCall, MAX_USER } from "./incoming-call.ts";
import { callPlan } from "./late-route.ts";
import { isBudgeted, resolveModel, usableRoute } from "./model-access.ts";
import { openCall } from "./open-call.ts";
import { type Choice, EXPLAIN_HEADER, planCall } from "./route-call.ts";
import { traceContents } from "./traced-contents.ts";

/**
 * What is done for a call, in this order: `auth` finds its caller, `limits` holds it against limits and budget, `cache` answers it where
 * it can, `relay` has an upstream answer it. An agent that is slowed down waits before `limits`, where it takes nobody's place.
 */
export type CallStep = "auth" | "limits" | "cache" | "relay";

/** A route that makes a call. */
export interface CallRoute {
	readonly method: "POST";
	readonly path: `/${string}`;
	readonly operation: Operation;
	/** What its clients speak. */
	readonly dialect: Dialect;
	/** Without `limits` nothing limits its calls, without `cache` each is made. No call is made without the other two. */
	readonly steps: readonly ["auth", ...CallStep[], "relay"];
	/** Its entry in `/swagger`. */
	readonly detail: Detail;
}

/** What is used of Bun's server; null in tests. */
export type CallServer = (Peers & ClientConnection["server"]) | null;

/** Answers a call of one route. Never rejects. */
export type CallHandler = (request: Request, server: CallServer) => Promise<Response>;

/** Longest name of a model that is kept, characters. */
export const MAX_REQUESTED = 200;

/** What the calls of a route are. */
interface CallKind extends Pick<CallRoute, "operation" | "dialect"> {
	/** As the router lists it; for people, who see it in spans. */
	readonly path?: string | undefined;
}

/** What the calls of one route are handled with. */
interface Handling extends CallKind {
	readonly context: CallContext;
	readonly isLimited: boolean;
	readonly cache: CallContext["cache"];
	/** Labels of models that an upstream has answered for: known to the metrics from then on. */
	readonly answered: Set<string>;
}

/**
 * Handles the calls of one route.
 * @param answered labels of models that an upstream has answered for, where several routes share what is known of that
 */
export function callHandler(
	route: CallKind & Pick<CallRoute, "steps">,
	context: CallContext,
	answered = new Set<string>(),
): CallHandler {
	const { operation, path, dialect, steps } = route;
	const isLimited = steps.includes("limits");
	const cache = steps.includes("cache") ? context.cache : undefined;
	const handling = { operation, path, dialect, context, isLimited, cache, answered };
	const { forRequest } = dialect;
	if (!forRequest) return (request, server) => handleCall(handling, request, server);
	const spoken = new Map<Dialect, Handling>();
	return (request, server) => {
		const own = forRequest(request.headers);
		if (!spoken.has(own)) spoken.set(own, { ...handling, dialect: own });
		return handleCall(spoken.get(own)!, request, server);
	};
}

/** One call, from its request to its answer, or to the beginning of that. Never throws: every error is answered and settled here. */
async function handleCall(handling: Handling, request: Request, server: CallServer): Promise<Response> {
	const { operation, path, dialect, context, isLimited, cache, answered } = handling;
	const record = openCall(operation, context, request, path);
	let readCall: IncomingCall | undefined;
	try {
		const { config, catalog, auth, accounts } = context.current.snapshot;
		const caller = authenticate(auth, request, config);
		record.caller = caller;
		const call = new IncomingCall(request, record, handling, caller, context.instance, config.usage.user_headers);
		const read = await readRequestBody(request, config.server.body_limit, dialect.takesAnyMediaType);
		record.waitedMs = performance.now() - record.startedAt;
		if (context.objects?.hasObjects) refuseForeignFiles(context.objects, caller, read);
		const seeking = dialect.references && earlierAnswers(context, dialect, read, request, caller);
		const earlier = seeking instanceof Promise ? await seeking : seeking;
		const repeat = earlier?.isSought ? undefined : cache?.recentCalls.match(dialect, operation, read);
		const { sent, parsed } = repeat ?? { sent: read, parsed: dialect.parse(operation, read, catalog, earlier?.found) };
		if (repeat) releaseBody(read);
		const { model, user } = parsed.facts;
		readCall = call.read(parsed, sent);
		if (parsed.operation) record.operation = parsed.operation;
		if (dialect.references) call.storage = context.responses?.storage(readCall, request, caller);
		noteRequest(record, readCall, user);
		traceContents(caller, readCall, record);
		const found = catalog.find(model) ?? (await resolveModel(catalog, model, caller, context.isBehindRouter));
		const isAlias = found.alias?.name === found.label;
		record.named(found, isAlias || catalog.names.includes(model) || answered.has(found.label));
		const route = allowedRoute(context, accounts, caller, parsed.facts, found);
		if (parsed.unasked) return unaskedAnswer(parsed.unasked(readCall), dialect, record);
		const runaway = context.runaways?.check(call, caller, config.runaway, record);
		record.tellsCost = accounts !== undefined && config.usage.cost_in_answers;
		if (server) record.connection = { server, request, idleSeconds: IDLE_SECONDS };
		if (runaway) await context.runaways!.hold(runaway, call, record);
		if (accounts && isLimited) {
			const entering = limitCall(accounts, { call, caller, route, record, request, server });
			if (entering) await entering;
		} else record.cost = new CallCost(call, caller, route, accounts?.usage);
		const finding = cache && lookUp(cache, call, route, record, config, repeat);
		if (finding instanceof Response) return fromCache(finding, sent, repeat?.sent ?? cache?.recentCalls.latest);
		record.answeredModels = answered;
		const cached = finding instanceof Promise ? await finding : finding;
		if (cached instanceof Response) return cached;
		const lead = cached;
		record.listener = lead;
		const shadowed = route.alias?.shadow && copied(context, route.alias, { call, caller, record, catalog, accounts });
		const choice = chosen(call, route, context, record);
		const permit = (now: Route) => allowedRoute(context, accounts, caller, parsed.facts, now);
		const plan = callPlan(choice, { call, route, catalog, record, permit, accounts }, context, config);
		const options = relayOptions(context, config.server.keep_alive, repeat || lead || shadowed ? undefined : readCall);
		const response = await relay(lead?.call ?? call, plan, record, options);
		// After the only attempt nobody reads it any more.
		if (!call.stream && record.attempts === 1 && !repeat && !shadowed) releaseBody(sent);
		if (record.explanation !== undefined) response.headers.set(EXPLAIN_HEADER, record.explanation);
		return lead && call.stream ? lead.streamed(response) : response;
	} catch (thrown) {
		record.listener?.fail();
		return failedCall(asRouterError(thrown), dialect, record, readCall);
	}
}

function noteRequest(record: CallRecord, { facts, stream, user }: IncomingCall, bodysUser: string | undefined): void {
	record.requested = facts.model.slice(0, MAX_REQUESTED);
	record.stream = stream;
	record.user = user ?? bodysUser?.slice(0, MAX_USER);
}

/** The targets of a call in their order. Where there is one, and nobody asks why, there is nothing to choose. */
function chosen(call: IncomingCall, route: Route, context: CallContext, record: CallRecord): Choice {
	const isPlain = route.targets.length === 1 && call.headers.get(EXPLAIN_HEADER) !== "1";
	return isPlain ? route : planCall(call, route, context, record);
}

/** What its caller may use of a call's route, and send there. Throws what `usableRoute` and `refuseEngineFields` do. */
export function allowedRoute(
	{ isBehindRouter }: Pick<CallContext, "isBehindRouter">,
	accounts: Accounts | undefined,
	caller: Caller | undefined,
	facts: CallFacts,
	found: Route,
): Route {
	const prices = isBudgeted(caller, accounts) ? accounts?.usage.prices : undefined;
	const route = caller?.isRestricted || prices ? usableRoute(caller, facts, found, prices) : found;
	if (!isBehindRouter) refuseEngineFields(caller, facts, route);
	return route;
}

/**
 * What was found of the answers that a request refers to. Where it refers to some (`isSought`), the same bytes may say something else for another
 * key, or later.
 */
function earlierAnswers(
	{ responses }: Pick<CallContext, "responses">,
	dialect: Dialect,
	sent: Buffer,
	request: Request,
	caller: Caller | undefined,
): SoughtAnswers | Promise<SoughtAnswers> {
	const references = dialect.references?.(sent);
	if (!references || !responses) {
		return { isSought: references !== undefined, found: { areStored: responses?.areStored ?? false } };
	}
	return responses.earlier(references, request, caller).then((found) => ({ isSought: true, found }));
}

interface SoughtAnswers {
	readonly isSought: boolean;
	readonly found: EarlierAnswers;
}

/** Has a call of a model with `shadow` be copied, where it is chosen: its record's listener is then another, which hears its answer, too. Whether it is. */
function copied({ shadows }: CallContext, alias: ModelConfig, shadowed: ShadowedCall): boolean {
	const { record } = shadowed;
	const listener = shadows?.listener(shadowed, alias);
	if (listener) record.listener = listener;
	return listener !== undefined;
}

/** @param unread a call of which the cache reads nothing behind its end: the memory of a stream's body is given back then */
function relayOptions({ state }: CallContext, keepAliveMs: number, unread: IncomingCall | undefined): RelayOptions {
	return { state, keepAliveMs, onUnread: unread?.stream ? () => releaseBody(unread.sent) : undefined };
}

/**
 * The cache's answer. Its call has ended: the memory of its body is given back, unless the cache remembers the call by it.
 * @param remembered the body by which a call was remembered last, or this one is
 */
function fromCache(answer: Response, sent: Buffer, remembered: Buffer | undefined): Response {
	if (sent !== remembered) releaseBody(sent);
	return answer;
}

/** What the cache has. Where that is an answer, or was waited for, it is a step of the call's trace. */
function lookUp(
	cache: AnswerCache,
	...[call, route, record, config, repeat]: Parameters<AnswerCache["find"]>
): ReturnType<AnswerCache["find"]> {
	const { trace } = record;
	const step = trace?.begin("cache");
	const found = cache.find(call, route, record, config, repeat);
	if (!step || found instanceof Response) return found;
	if (found instanceof Promise) return found.finally(() => trace!.end(step));
	trace!.drop(step);
	return found;
}

/** The answer to a call that asks nothing of its model, which its caller may use. */
function unaskedAnswer(body: string, { contentType }: Dialect, record: CallRecord): Response {
	record.settle(200);
	return new Response(body, { headers: { "content-type": contentType, "x-request-id": record.id } });
}

/** Models that a call names in a field of its own and that are priced: to look for a price takes ms, and upstreams take no more. */
const MOST_PRICED = 3;
const NONE: ReturnType<typeof furtherTargets> = [];

/** A call that may go somewhere. */
export interface CallToLimit {
	readonly call: Pick<Call, "operation" | "facts">;
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
	readonly admission: Pick<AdmissionControl, "enter" | "limitsModels" | "limitsAddresses" | "sessionUsd">;
}

/**
 * The step `limits`: lets the call through its limits and its budget, and leaves what settles them in its record. Throws `rate_limit_exceeded`,
 * `insufficient_quota` or `input_too_large`. A promise where others have to be asked: to wait for nothing costs each call time.
 */
export function limitCall(
	{ admission: control, usage, addresses }: CallLimits,
	{ call, caller, route, record, request, server }: CallToLimit,
): Promise<void> | undefined {
	const { model, fallbackModels } = call.facts;
	const further = fallbackModels.length === 0 ? NONE : furtherTargets(fallbackModels, route);
	const targets = further.length === 0 ? route.targets : [...route.targets, ...further.slice(0, MOST_PRICED)];
	const cost = new CallCost(call, caller, { targets, label: route.label }, usage);
	record.cost = cost;
	const session = control.sessionUsd(caller) === undefined ? undefined : sessionOf(request.headers);
	if (!caller && !control.limitsModels && !control.limitsAddresses && session === undefined) return undefined;
	const names = control.limitsModels ? limitedNames(model, route, further) : undefined;
	const address = !caller && control.limitsAddresses ? addresses.of(request, server) : undefined;
	const admission = control.enter({ caller, cost, names, address, session });
	if (admission instanceof Promise) return whenAdmitted(record, admission);
	if (admission) admitted(record, admission);
	return undefined;
}

/** Apart: a function made in `limitCall` would have each call allocate what it holds of that. */
async function whenAdmitted(record: CallToLimit["record"], admission: Promise<Admission>): Promise<void> {
	admitted(record, await admission);
}

/** What its answer says already, of an agent that runs away, it goes on saying. */
function admitted(record: CallToLimit["record"], admission: Admission): void {
	const { headers } = admission;
	record.headers = record.headers && headers ? { ...record.headers, ...headers } : (headers ?? record.headers);
	record.admission = admission;
}

/** The answer to a call that failed before its first byte; settles it. */
export function failedCall(
	error: RouterError,
	dialect: Dialect,
	record: CallRecord,
	call: IncomingCall | undefined,
): Response {
	if (error.errorCode === "internal_error") record.onFault?.(record.id, error.cause ?? error);
	record.settle(error.status, error.errorCode);
	const headers: Record<string, string> = { "x-request-id": record.id, ...record.headers };
	if (record.provider !== "none") headers["x-router-provider"] = record.provider;
	if (record.agent !== undefined) headers["x-router-agent"] = record.agent;
	if (record.attempts > 0) headers["x-router-attempts"] = String(record.attempts);
	if (record.explanation !== undefined) headers[EXPLAIN_HEADER] = record.explanation;
	return dialect.error(error, headers, call);
}
