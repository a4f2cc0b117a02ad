/** A call and where it may run → the client's answer. */
import { RouterError } from "../errors.ts";
import type { Call } from "../openai/call.ts";
import { withCost, withCounts } from "../openai/usage-edits.ts";
import { headerText } from "../providers/header-text.ts";
import { answerHeaders } from "./answer-headers.ts";
import type { StartedAnswer } from "./attempt.ts";
import { Attempts, type CallPlan } from "./call-attempts.ts";
import type { CallRecord } from "./call-record.ts";
import { ClientStream } from "./client-stream.ts";
import type { ProxyState } from "./proxy-state.ts";
import { wholeAnswer } from "./response-headers.ts";

/** What a server gives its calls. */
export interface RelayOptions {
	readonly state: ProxyState;
	/** A stream's client hears something at least so often, ms; 0: no matter. */
	readonly keepAliveMs: number;
}

/** Of an answer whose tokens nobody has counted. */
const CHARACTERS_A_TOKEN = 4;

/** Nobody waits for the pieces of a whole answer. */
const UNHEARD = { hasLeft: false, comments: () => undefined };

/**
 * Tries targets until one answers. Throws the RouterError of the last failure; the caller settles that. A returned Response has
 * settled, or does so when its stream ends.
 */
export async function relay(
	call: Call,
	plan: CallPlan,
	settlement: CallRecord,
	{ state, keepAliveMs }: RelayOptions,
): Promise<Response> {
	if (plan.targets.length === 0) throw new RouterError("upstream_unreachable", "No upstream serves this model.");
	if (call.stream) {
		const client = new ClientStream(settlement, keepAliveMs);
		const { opened, body } = await client.begin(new Attempts(call, plan, settlement, state, client));
		return new Response(body, { headers: streamHeaders(opened, settlement) });
	}
	const opened = await new Attempts(call, plan, settlement, state, UNHEARD).open();
	const { body: sent, tokens, cost } = opened.answer!;
	settlement.billFor(opened.target, tokens, cost, () => Math.ceil(answerCharacters(sent) / CHARACTERS_A_TOKEN));
	const body = settlement.isEstimated ? withCounts(sent, settlement.tokens!, true) : sent;
	settlement.audience?.whole(body);
	const usd = settlement.costUsd;
	const told = usd !== undefined && settlement.tellsCost ? withCost(body, usd) : body;
	const answer = wholeAnswer(told, opened, settlement);
	settlement.settle(200);
	return answer;
}

/** A stream whose client could not wait has no upstream to speak of yet: the comment at its end tells. */
function streamHeaders(opened: StartedAnswer | undefined, settlement: CallRecord): Record<string, string> {
	const headers: Record<string, string> = opened
		? clientHeaders(opened, settlement)
		: { "x-request-id": settlement.id, ...settlement.headers };
	headers["content-type"] = "text/event-stream; charset=utf-8";
	if (settlement.cache) headers["x-router-cache"] = settlement.cache;
	headers["cache-control"] = "no-cache";
	// nginx holds streams back unless told not to.
	headers["x-accel-buffering"] = "no";
	return headers;
}

function clientHeaders({ head, target }: StartedAnswer, settlement: CallRecord): Record<string, string> {
	const headers = answerHeaders(head.headers, target.provider.secret);
	headers["x-request-id"] = settlement.id;
	headers["x-router-provider"] = target.provider.name;
	headers["x-router-model"] = headerText(target.model);
	if (target.agent !== undefined) headers["x-router-agent"] = target.agent;
	headers["x-router-attempts"] = String(settlement.attempts);
	headers["x-router-overhead-ms"] = settlement.overheadText;
	// In the place of the upstream's own limits, which are not the caller's.
	return Object.assign(headers, settlement.headers);
}

/** What of a message no model has written. */
const FRAME = new Set(["role", "type", "id"]);

/** What a picture or a sound counts for, whose bytes stand in the answer: some 500 tokens. */
const MEDIA_CHARACTERS = 2000;

/** Characters of all that an answer says, as far as it can be read. */
function answerCharacters(json: string): number {
	let characters = 0;
	const add = (value: unknown): void => {
		if (typeof value === "string") characters += value.startsWith("data:") ? MEDIA_CHARACTERS : value.length;
		else if (typeof value === "object" && value !== null) {
			for (const [name, part] of Object.entries(value)) if (!FRAME.has(name)) add(part);
		}
	};
	try {
		const { choices } = JSON.parse(json) as { choices?: unknown };
		for (const choice of Array.isArray(choices) ? choices : []) {
			const { message, text } = (choice ?? {}) as { message?: unknown; text?: unknown };
			add(message ?? text);
		}
	} catch {
		return 0;
	}
	return characters;
}
