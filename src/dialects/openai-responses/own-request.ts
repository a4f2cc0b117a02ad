/**
 * A request as its client has sent it, for a server that speaks Responses itself. What it refers to stands in it, since the server stores nothing for
 * the router; what another vendor has signed, and what the router has put into answers of others, is left out.
 */
import type { OwnRequest, ResponsesForm } from "../../openai/call.ts";
import { addField, type Edit, type Field, fieldNamed, fieldsOf, splice } from "../../openai/json.ts";
import { objectIn } from "../../openai/usage.ts";
import { utf8Text } from "../../openai/validation.ts";
import type { ResponsesSupport } from "../../vendors.ts";
import type { ResponsesRequest } from "./request.ts";
import type { ResponsesBody } from "./request-schema.ts";
import { responseOfItem } from "./stored-response.ts";
import { summaryMessage } from "./summary.ts";
import { thoughtIn } from "./thought-item.ts";

type Item = Readonly<Record<string, unknown>>;

/** What is asked for so that a conversation can go on from an answer that its vendor does not store. */
const ENCRYPTED = "reasoning.encrypted_content";

/** Fields of a WebSocket's frame that are none of a request's. */
const OF_FRAMES = ["type", "generate", "stream_id"];
/** The same, and what refers to a response of the router's. */
const REFERRING = [...OF_FRAMES, "previous_response_id"];

/** Fields of chats for which Responses have none: the router takes them here, too. OpenRouter has the last ones. */
const OF_CHATS = (
	"presence_penalty frequency_penalty seed stop logit_bias top_k min_p top_a typical_p repetition_penalty length_penalty min_tokens ignore_eos " +
	"stop_token_ids skip_special_tokens chat_template_kwargs structured_outputs guided_json guided_regex guided_choice guided_grammar thinking " +
	"thinking_token_budget cache_salt priority mm_processor_kwargs venice_parameters fallbacks anthropic gemini"
).split(" ");

/** @param sent the client's bytes */
export function ownForm(request: ResponsesRequest, sent: Buffer): ResponsesForm {
	return {
		asksForTools: request.tools.leftOut.size > 0,
		own(model, support, asksReasoning, withoutThoughts) {
			const { body } = request;
			if (OF_CHATS.some((name) => body[name] != null) || !knowsTools(body, support)) return undefined;
			const input = inputFor(request, withoutThoughts ? { ...support, encrypts: undefined } : support);
			return input && ownText(request, sent, input, model, asksReasoning);
		},
	};
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
function inputFor({ body, earlier }: ResponsesRequest, support: WantedSupport): OwnInput | undefined {
	const { input } = body;
	const before = (earlier?.conversation ?? []) as readonly Item[];
	if (typeof input === "string" && before.length === 0) return { hasThoughts: false };
	const sent: readonly Item[] =
		typeof input === "string" ? [{ role: "user", content: input }] : ((input ?? []) as Item[]);
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

function ownText(
	{ body }: ResponsesRequest,
	sent: Buffer,
	{ json, hasThoughts }: OwnInput,
	model: string,
	asksReasoning: boolean,
): OwnRequest {
	const text = withoutFields(utf8Text(sent), body.previous_response_id == null ? OF_FRAMES : REFERRING);
	const fields = fieldsOf(text);
	const edits: Edit[] = [];
	const set = (name: string, json: string) => edits.push(setField(text, fields, name, json));
	if (model !== body.model) set("model", JSON.stringify(model));
	if (body.store !== false) set("store", "false");
	if (json !== undefined) set("input", json);
	const include = body.include ?? [];
	// Who has nothing stored takes what it has asked for.
	const hasAddedReasoning = asksReasoning && body.store !== false && !include.includes(ENCRYPTED);
	if (hasAddedReasoning) set("include", JSON.stringify([...include, ENCRYPTED]));
	return { text: splice(text, edits), hasThoughts, hasAddedReasoning };
}

function withoutFields(text: string, names: readonly string[]): string {
	const fields = fieldsOf(text);
	const left = fields.filter(({ key }) => !names.includes(key));
	if (left.length === fields.length) return text;
	return `{${left.map(({ keyStart, end }) => text.slice(keyStart, end)).join(",")}}`;
}

function setField(text: string, fields: readonly Field[], name: string, json: string): Edit {
	const field = fieldNamed(fields, name);
	return field ? { start: field.start, end: field.end, insert: json } : addField(text.indexOf("{"), false, name, json);
}
