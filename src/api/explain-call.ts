/** `POST /v1/route`: where a call would go and why, without making it. */

import { authenticate, type Caller } from "../accounts/auth/keys.ts";
import type { Dialect } from "../dialects/dialect.ts";
import { readRequestBody } from "../http/request-body.ts";
import { urlOf } from "../http/request-url.ts";
import { parseBounded } from "../openai/json.ts";
import type { Operation } from "../openai/operations.ts";
import type { PassedOperation } from "../openai/passed-operations.ts";
import { utf8Text } from "../openai/validation.ts";
import { newRequestId } from "../request-id.ts";
import { type Explanation, explain } from "../routing/explain.ts";
import type { Route } from "../routing/route.ts";
import type { CallContext } from "./call-context.ts";
import { type CallKind, callAt, type ExplainableRoute, likelyPath } from "./explained-call.ts";
import { refuseForeignFiles } from "./file-references.ts";
import { allowedRoute } from "./handler.ts";
import { IncomingCall } from "./incoming-call.ts";
import { resolveModel } from "./model-access.ts";
import { allowedPassed } from "./passed-call.ts";
import { readPassed, readPassedJson } from "./passed-request-body.ts";
import { choose } from "./route-call.ts";

/** A model's name alone is taken for a short chat. */
const SHORT_CHAT = [{ role: "user", content: "hi" }];

/**
 * The explanation of the call that the body would make at `?path=`, or at the path that its fields are for. Throws what that would be refused with,
 * but for what its upstream says, and limits; `invalid_value` for a path where no call is made.
 * @param routes the router's table
 */
export async function explainCall(
	context: CallContext,
	request: Request,
	routes: readonly ExplainableRoute[],
): Promise<Explanation> {
	const { config, auth } = context.current.snapshot;
	const caller = authenticate(auth, request, config);
	const path = urlOf(request).searchParams.get("path");
	const named = path === null ? undefined : callAt(path, request.headers, routes);
	const asking = { context, request, caller };
	// A form, perhaps.
	if (named && "passes" in named) return explainPassed(named, asking, undefined);
	const { body_limit: limit } = config.server;
	const sent = await readRequestBody(request, limit, named?.dialect.takesAnyMediaType);
	if (named) return explainRead(named, asking, sent);
	const likely = likelyCall(sent, request.headers, routes);
	return "passes" in likely.kind
		? explainPassed(likely.kind, asking, likely.body)
		: explainRead(likely.kind, asking, likely.body);
}

/** Who asks. */
interface Asking {
	readonly context: CallContext;
	readonly request: Request;
	readonly caller: Caller | undefined;
}

/** Of a call that is read, and translated where its upstream speaks something else. */
async function explainRead(
	{ operation, dialect }: Extract<CallKind, { operation: Operation }>,
	asking: Asking,
	sent: Buffer,
): Promise<Explanation> {
	const { context, request, caller } = asking;
	const { catalog, accounts } = context.current.snapshot;
	if (context.objects?.hasObjects) refuseForeignFiles(context.objects, caller, sent);
	const references = dialect.references?.(sent);
	const earlier = references && (await context.responses?.earlier(references, request, caller));
	const call = incomingCall(operation, dialect, asking).read(dialect.parse(operation, sent, catalog, earlier), sent);
	return explained(call, asking, (found) => allowedRoute(context, accounts, caller, call.facts, found));
}

/** Of one that is passed on. @param body absent where it has yet to be read */
async function explainPassed(
	{ passes: operation, dialect }: Extract<CallKind, { passes: PassedOperation }>,
	asking: Asking,
	body: Buffer | undefined,
): Promise<Explanation> {
	const { context, request, caller } = asking;
	const { config, accounts } = context.current.snapshot;
	const call = incomingCall(operation, dialect, asking);
	const read = body ? readPassedJson(operation, body) : await readPassed(operation, request, config, true);
	try {
		if (read.json && context.objects?.hasObjects) refuseForeignFiles(context.objects, caller, read.json);
		Object.assign(call, read.parsed, { passed: read.passed });
		return await explained(call, asking, (found) =>
			allowedPassed(operation, context, accounts, { call, caller }, found),
		);
	} finally {
		await read.close?.();
	}
}

function incomingCall(operation: Operation, dialect: Dialect, { context, request, caller }: Asking): IncomingCall {
	const { usage } = context.current.snapshot.config;
	const start = { id: newRequestId(), startedAt: performance.now() };
	return new IncomingCall(request, start, { operation, dialect }, caller, context.instance, usage.user_headers);
}

async function explained(call: IncomingCall, asking: Asking, allowed: (found: Route) => Route): Promise<Explanation> {
	const { context, caller } = asking;
	const { catalog } = context.current.snapshot;
	const route = allowed(await resolveModel(catalog, call.facts.model, caller, false));
	return explain(choose(call, route, context, true).explained!);
}

/** The call that a body is most likely for. What is wrong with the body is said where it is read. */
function likelyCall(
	sent: Buffer,
	headers: Headers,
	routes: readonly ExplainableRoute[],
): { readonly kind: CallKind; readonly body: Buffer } {
	const body = objectIn(sent);
	const path = body && likelyPath(body, headers);
	const isBare = body !== undefined && path === undefined;
	return {
		kind: callAt(path ?? "/v1/chat/completions", headers, routes),
		body: isBare ? Buffer.from(JSON.stringify({ ...body, messages: SHORT_CHAT })) : sent,
	};
}

function objectIn(sent: Buffer): Readonly<Record<string, unknown>> | undefined {
	try {
		const body: unknown = parseBounded(utf8Text(sent));
		return typeof body === "object" && body !== null && !Array.isArray(body) ? { ...body } : undefined;
	} catch {
		return undefined;
	}
}
