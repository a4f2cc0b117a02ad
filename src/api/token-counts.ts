/** How many tokens a call has to read, without making it: counted by the upstream that it would go to first, else estimated. */
import { authenticate, type Caller } from "../accounts/auth/keys.ts";
import { estimatedTokens } from "../accounts/usage/token-estimate.ts";
import type { Dialect } from "../dialects/dialect.ts";
import { RouterError } from "../errors.ts";
import type { Peers } from "../http/client-address.ts";
import { readRequestBody } from "../http/request-body.ts";
import type { Call, ParsedRequest } from "../openai/call.ts";
import { parseBounded } from "../openai/json.ts";
import { isOk, NO_INPUTS, type Target } from "../providers/provider.ts";
import { readText } from "../proxy/net/read-body.ts";
import { newRequestId } from "../request-id.ts";
import type { Accounts, CallContext } from "./call-context.ts";
import { refuseEngineFields } from "./engine-access.ts";
import { type CallToLimit, limitCall } from "./handler.ts";
import { IncomingCall } from "./incoming-call.ts";
import { permittedRoute, resolveModel } from "./model-access.ts";

/** Says that a count is a guess. */
const ESTIMATED_HEADER = "x-router-estimated";
/** How long an upstream may take to count, ms: whoever asks waits. */
const COUNT_MS = 5000;
/** Longest answer that is read, bytes: vLLM's has each token. */
const MAX_COUNT = 64 * 1024 * 1024;

/** A count, and what its answer says of it in headers. */
export interface TokenCount {
	readonly tokens: number;
	readonly headers: Readonly<Record<string, string>>;
}

/** Reads the request whose tokens are to be counted. */
export type CountedParse = (
	sent: Buffer,
	request: Request,
	caller: Caller | undefined,
) => ParsedRequest | Promise<ParsedRequest>;

/**
 * The count: of the upstream that a call would go to first, where that counts and the caller's limits let it be asked, else estimated and marked
 * so. Throws what a call with that body would be refused with, but for what its limits and its upstream say.
 * @param dialect what its client speaks
 */
export async function countCall(
	context: CallContext,
	request: Request,
	server: Peers | null,
	dialect: Dialect,
	parse: CountedParse,
): Promise<TokenCount> {
	const { config, catalog, auth, accounts } = context.current.snapshot;
	const caller = authenticate(auth, request, config);
	const sent = await readRequestBody(request, config.server.body_limit);
	const parsed = await parse(sent, request, caller);
	const { model } = parsed.facts;
	const found = await resolveModel(catalog, model, caller, context.isBehindRouter);
	const route = permittedRoute(caller, model, found);
	if (!context.isBehindRouter) refuseEngineFields(caller, parsed.facts, route);
	const [target] = route.targets;
	const start = { id: newRequestId(), startedAt: performance.now() };
	const handling = { operation: "chat", dialect } as const;
	const call = new IncomingCall(request, start, handling, caller, context.instance, config.usage.user_headers);
	Object.assign(call, parsed).sent = sent;
	const record: CallToLimit["record"] = { headers: undefined, admission: undefined, cost: undefined };
	const mayAsk =
		target?.provider.counter && (await isLetIn(accounts, { call, caller, route, record, request, server }));
	const counted = mayAsk ? await countedBy(target, call) : undefined;
	record.admission?.settle({ tokens: undefined, usd: undefined, isConclusive: false });
	const headers = { ...dialect.headers?.(call.id, undefined), "x-request-id": call.id };
	return {
		tokens: counted ?? estimatedTokens(call),
		headers: counted === undefined ? { ...headers, [ESTIMATED_HEADER]: "true" } : headers,
	};
}

/** Whether the caller's limits let an upstream be asked: as for a call, which in the end has used no tokens and cost nothing. */
async function isLetIn(accounts: Accounts | undefined, call: CallToLimit): Promise<boolean> {
	try {
		if (accounts) await limitCall(accounts, call);
		return true;
	} catch (thrown) {
		if (thrown instanceof RouterError) return false;
		throw thrown;
	}
}

/** What an upstream counts; undefined where it can't, or does not in time. */
async function countedBy(target: Target, call: Call): Promise<number | undefined> {
	const { provider } = target;
	const { counter, transport } = provider;
	if (!counter) return undefined;
	try {
		const asked = (of: Call) => counter.request(provider.encode(of, target, NO_INPUTS));
		// A server that counts chats alone is asked for the same as a chat.
		const question = asked(call) ?? (call.responses ? asked({ ...call, responses: undefined }) : undefined);
		if (!question) return undefined;
		const answer = await transport.send(question, AbortSignal.timeout(COUNT_MS));
		const text = await readText(answer, MAX_COUNT);
		return isOk(answer) ? counter.read(parseBounded(text)) : undefined;
	} catch {
		// A call says what is wrong there.
		return undefined;
	}
}
