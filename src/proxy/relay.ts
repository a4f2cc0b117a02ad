/** A call and where it may run → the client's answer. */
import type { ClientCall } from "../dialects/dialect.ts";
import { RouterError } from "../errors.ts";
import { withCost, withCounts } from "../openai/usage-edits.ts";
import { CallAttempts } from "./call-attempts.ts";
import type { CallPlan } from "./call-plan.ts";
import type { CallRecord } from "./call-record.ts";
import { ClientStream } from "./client-stream.ts";
import type { ProxyState } from "./proxy-state.ts";
import { streamHeaders, wholeAnswer } from "./response-headers.ts";
import { TriedTarget } from "./retry.ts";

/** What a server gives its calls. */
export interface RelayOptions {
	readonly state: ProxyState;
	/** A stream's client hears something at least so often, ms; 0: no matter. */
	readonly keepAliveMs: number;
	/** Called once where nothing reads any more what a stream's client sent: behind a good end of the only attempt. */
	readonly onUnread?: (() => void) | undefined;
}

/** Of an answer whose tokens nobody has counted. */
const CHARACTERS_A_TOKEN = 4;

/** Nobody waits for the pieces of a whole answer. */
const NO_STREAM = { hasSent: false, comments: () => undefined };

/**
 * Tries targets until one answers. Throws the RouterError of the last failure; the caller settles that. A returned Response has
 * settled, or does so when its stream ends.
 */
export async function relay(
	call: ClientCall,
	plan: CallPlan,
	record: CallRecord,
	{ state, keepAliveMs, onUnread }: RelayOptions,
): Promise<Response> {
	if (plan.targets.length === 0) throw new RouterError("upstream_unreachable", "No upstream serves this model.");
	state.retries.call(performance.now());
	const tried: TriedTarget[] = [];
	for (const target of plan.targets) tried.push(new TriedTarget(target, state.keys));
	if (call.stream) {
		const client = new ClientStream(call, record, keepAliveMs, onUnread);
		const { opened, body } = await client.begin(new CallAttempts(call, plan, tried, record, state, client));
		return new Response(body, { headers: streamHeaders(opened, record, call.dialect) });
	}
	const opened = await new CallAttempts(call, plan, tried, record, state, NO_STREAM).open();
	const given = opened.answer!;
	const { tokens, cost, own, ownSaysMore } = given;
	record.droppedFields = opened.dropped;
	record.bill(opened.target, tokens, cost, () => Math.ceil(answerCharacters(given.body) / CHARACTERS_A_TOKEN));
	// What is kept is read late, or never: its text is the least of it.
	if (record.kept) record.kept.whole = given.parsed ? { ...given, parsed: undefined } : given;
	// Of an answer in its client's own words another form is made where somebody else wants it.
	const { listener } = record;
	const isHeard = listener !== undefined && (!ownSaysMore || listener.hearsAll === true);
	const isWanted = own === undefined || isHeard;
	const body = isWanted ? given.body : "";
	const counted = record.isEstimated && isWanted ? withCounts(body, record.tokens!, true) : body;
	listener?.whole(isHeard ? counted : undefined, ownSaysMore);
	const told = record.tellsCost ? record.costUsd : undefined;
	const { dialect } = call;
	const parsed = counted === body ? given.parsed : undefined;
	const sent = own === undefined ? dialect.answer(counted, call, told, record, parsed) : nativeAnswer(own, call, told);
	const answer = wholeAnswer(sent, opened, record, dialect);
	record.settle(200);
	return answer;
}

/** An answer in its client's own words. */
function nativeAnswer(own: string, call: ClientCall, told: number | undefined): string {
	const { dialect } = call;
	if (dialect.nativeAnswer) return dialect.nativeAnswer(own, call, told);
	return told === undefined ? own : withCost(own, told);
}

/** What of a message no model has written. */
const FRAME = new Set(["role", "type", "id"]);

/** What a picture or a sound counts for, whose bytes are in the answer: some 500 tokens. */
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
