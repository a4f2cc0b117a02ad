/**
 * A request as its client has sent it, for a server that speaks Responses itself. What it refers to stands in it, since the server stores nothing for
 * the router; what another vendor has signed, and what the router has put into answers of others, is left out.
 */
import type { OwnRequest, ResponsesForm } from "../../openai/call.ts";
import { addField, type Edit } from "../../openai/json.ts";
import type { ParsedBody } from "../../openai/parsed-body.ts";
import { objectIn } from "../../openai/usage.ts";
import type { ResponsesSupport } from "../../vendors.ts";
import type { ResponsesRequest } from "./request.ts";
import type { ResponsesBody } from "./request-schema.ts";
import { responseOfItem } from "./stored-response.ts";
import { summaryMessage } from "./summary.ts";
import { thoughtIn } from "./thought-item.ts";

type Item = Readonly<Record<string, unknown>>;

const OPEN_BRACE = 123;

/** What is asked for so that a conversation can go on from an answer that its vendor does not store. */
const ENCRYPTED = "reasoning.encrypted_content";

/** Fields of a WebSocket's frame that are none of a request's. */
const OF_FRAMES = ["type", "generate", "stream_id"];
/** The same, and what refers to a response of the router's. */
const REFERRING = [...OF_FRAMES, "previous_response_id"];

/** Fields of chats for which Responses have none: the router takes them here, too. OpenRouter has the last ones. */
const OF_CHATS = (
	"seed stop logit_bias top_k min_p top_a typical_p repetition_penalty length_penalty min_tokens ignore_eos " +
	"stop_token_ids skip_special_tokens chat_template_kwargs structured_outputs guided_json guided_regex guided_choice guided_grammar thinking " +
	"thinking_token_budget cache_salt priority mm_processor_kwargs venice_parameters fallbacks anthropic gemini"
).split(" ");

/** The request in its client's words. */
export function ownForm(request: ResponsesRequest): ResponsesForm {
	return {
		asksForTools: request.tools.leftOut.size > 0,
		own(model, support, asksReasoning, withoutThoughts) {
			const { body } = request;
			if (hasFieldsOfChats(request) || !knowsTools(body, support)) return undefined;
			const input = inputFor(request, withoutThoughts ? { ...support, encrypts: undefined } : support);
			return input && ownRequest(request, input, model, asksReasoning);
		},
	};
}

/** Whether it has one of those. Two of them are known here as well. */
function hasFieldsOfChats({ body, hasChatFields }: ResponsesRequest): boolean {
	if (body.presence_penalty != null || body.frequency_penalty != null) return true;
	return hasChatFields && OF_CHATS.some((name) => body[name] != null);
}

/** Whether a server knows all tools of a request, or may: what it does not know it says itself. */
function knowsTools({ tools }: ResponsesBody, { isOpenAi, runsTools }: ResponsesSupport): boolean {
	if (isOpenAi) return true;
	return (tools ?? []).every(
		({ type }) => type === "function" || (runsTools && type !== "custom" && type !== "namespace"),
	);
}

/** The input of a request for one server. */
interface OwnInput {
	/** JSON; absent where it is as the client has sent it. */
	readonly json?: string;
	readonly hasThoughts: boolean;
}

/** Undefined where the server does not know some of it. */
function inputFor(request: ResponsesRequest, support: WantedSupport): OwnInput | undefined {
	if (request.plain?.isForAll) return { hasThoughts: false };
	const { input, earlier } = request;
	const before = (earlier?.conversation ?? []) as readonly Item[];
	if (typeof input === "string" && before.length === 0) return { hasThoughts: false };
	const sent: readonly Item[] =
		typeof input === "string" ? [{ role: "user", content: input }] : (input as readonly Item[]);
	const items: Item[] = [];
	let isChanged = before.length > 0;
	for (const item of [...before, ...sent]) {
		const referred = item["type"] === "item_reference" ? earlier?.items?.get(String(item["id"])) : undefined;
		const own = itemFor((referred as Item | undefined) ?? item, support);
		if (own === undefined) return undefined;
		if (own !== item) isChanged = true;
		if (own !== LEFT_OUT) items.push(own);
	}
	const hasThoughts = items.some(({ type }) => type === "reasoning");
	return isChanged ? { json: JSON.stringify(items), hasThoughts } : { hasThoughts };
}

type WantedSupport = { readonly [name in keyof ResponsesSupport]?: ResponsesSupport[name] | undefined };

const LEFT_OUT: Item = {};

/** Items that all servers know. */
const PLAIN: ReadonlySet<unknown> = new Set(["message", "function_call", "function_call_output"]);

/** An item for a server: `LEFT_OUT` where it says nothing to it; undefined where the server can't know it, and a chat says it. */
function itemFor(item: Item, { isOpenAi, runsTools, encrypts }: WantedSupport): Item | undefined {
	const type = item["type"] ?? (item["role"] === undefined ? undefined : "message");
	switch (type) {
		// One that was not found: others than thoughts were refused.
		case "item_reference":
			return LEFT_OUT;
		case "reasoning":
			return thoughtFor(item, isOpenAi === true, encrypts);
		case "compaction": {
			const content = summaryMessage(String(item["encrypted_content"]));
			if (content !== undefined) return { type: "message", role: "user", content };
			return isOpenAi ? item : undefined;
		}
		case "custom_tool_call":
		case "custom_tool_call_output":
			return isOpenAi ? withoutMarks(item) : undefined;
	}
	if (hasSound(item) || (!isOpenAi && item["namespace"])) return undefined;
	if (PLAIN.has(type)) return withoutMarks(item);
	// What a tool that the router's other upstreams lack has come to, or a picture that one of those has made.
	const isOwn = typeof item["id"] === "string" && responseOfItem(item["id"]) !== undefined;
	return (isOpenAi || runsTools) && !isOwn ? withoutMarks(item) : LEFT_OUT;
}

/** In Responses there is no sound. */
function hasSound({ content }: Item): boolean {
	return Array.isArray(content) && content.some((part) => objectIn(part)?.["type"] === "input_audio");
}

/** The item without the router's own id, which its server would look for, and without what other wires have put there. */
function withoutMarks(item: Item): Item {
	const { id, extra_content, ...rest } = item;
	const isOwn = typeof id === "string" && responseOfItem(id) !== undefined;
	if (!isOwn && extra_content === undefined) return item;
	return isOwn || id === undefined ? rest : { id, ...rest };
}

/** How what OpenAI has encrypted begins. */
const OPENAIS = /^gAAAA/;
/** What it is called among other vendors' signed thoughts, as OpenRouter has it. */
const FORMAT = "openai-responses-v1";

/** A thought: only whoever has encrypted it can read it. */
function thoughtFor(item: Item, isOpenAi: boolean, encrypts: ResponsesSupport["encrypts"]): Item | undefined {
	const { reasoning_details: sent, encrypted_content: own, ...rest } = item;
	if (!encrypts) return LEFT_OUT;
	const { details, isCarried } = thoughtIn(item);
	const all = details.map((detail) => objectIn(detail) ?? {});
	const signed = all.find(({ format, data }) => format === FORMAT && data);
	// What others have signed has a form in chats alone.
	if (encrypts === "any" && !signed && all.length > 0 && (isCarried || !own)) return undefined;
	const encrypted = isCarried ? signed?.["data"] : (own ?? signed?.["data"]);
	if (typeof encrypted !== "string") return LEFT_OUT;
	if (encrypts === "own" && OPENAIS.test(encrypted) !== isOpenAi) return LEFT_OUT;
	if (sent === undefined && !isCarried) return item;
	return { ...rest, id: signed?.["id"] ?? rest["id"], summary: [], encrypted_content: encrypted };
}

function ownRequest(
	{ sent, body }: ResponsesRequest,
	{ json, hasThoughts }: OwnInput,
	model: string,
	asksReasoning: boolean,
): OwnRequest {
	const edits: Edit[] = [];
	const set = (name: string, value: string) => edits.push(setField(sent, name, value));
	if (model !== body.model) set("model", JSON.stringify(model));
	if (body.store !== false) set("store", "false");
	if (json !== undefined) set("input", json);
	const include = body.include ?? [];
	// Who has nothing stored takes what it has asked for.
	const hasAddedReasoning = asksReasoning && body.store !== false && !include.includes(ENCRYPTED);
	if (hasAddedReasoning) set("include", JSON.stringify([...include, ENCRYPTED]));
	leaveOut(sent, body.previous_response_id == null ? OF_FRAMES : REFERRING, edits);
	return { body: sent.edited(edits), hasThoughts, hasAddedReasoning };
}

/** The edit that sets a field. */
function setField(sent: ParsedBody, name: string, json: string): Edit {
	const field = sent.field(name);
	if (field) return { start: field.start, end: field.end, insert: json };
	return addField(sent.bytes.indexOf(OPEN_BRACE), false, name, json);
}

/** Adds the edits that take fields of these names out: the first ones with the comma behind them, others with the one before. */
function leaveOut({ fields }: ParsedBody, names: readonly string[], edits: Edit[]): void {
	// Most have none of them.
	if (!fields.some(({ key }) => names.includes(key))) return;
	let isFirst = true;
	for (const [at, { key, keyStart, end }] of fields.entries()) {
		if (!names.includes(key)) {
			if (isFirst && at > 0) edits.push({ start: fields[0]!.keyStart, end: keyStart, insert: "" });
			isFirst = false;
		} else if (!isFirst) edits.push({ start: fields[at - 1]!.end, end, insert: "" });
	}
}
