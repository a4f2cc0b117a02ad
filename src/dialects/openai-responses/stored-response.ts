/**
 * Responses as they are stored: each with the items that were sent for it, and the id of the one that it goes on from. What a request refers to
 * of them, and what clients are told of their items.
 */
import { parseBounded } from "../../openai/json.ts";
import { objectIn } from "../../openai/usage.ts";
import type { AnswerReferences } from "../dialect.ts";
import { invalidField } from "./field-checks.ts";
import { ResponseIds } from "./output-items.ts";
import { type ResponsesRequest, refersToNothing } from "./request.ts";

/** An item. */
export type StoredItem = Readonly<Record<string, unknown>>;

/** A response, with what it answers. */
export interface StoredResponse {
	/** The stored response that it goes on from. */
	readonly previous?: string | undefined;
	/** The items that were sent for it, without those of the responses before. */
	readonly input: readonly StoredItem[];
	/** As the client got it. */
	readonly response: { readonly output: readonly StoredItem[] } & StoredItem;
}

/** What a request refers to. What is wrong with it is said when it is parsed. */
export function referencesIn(sent: Buffer): AnswerReferences | undefined {
	if (refersToNothing(sent)) return undefined;
	if (!sent.includes('"previous_response_id"') && !sent.includes('"item_reference"')) return undefined;
	let body: StoredItem | undefined;
	try {
		body = objectIn(parseBounded(sent.toString()));
	} catch {
		return undefined;
	}
	const previous = textIn(body?.["previous_response_id"]);
	const input = Array.isArray(body?.["input"]) ? body["input"] : [];
	const items = input.flatMap((sentItem: unknown) => {
		const item = objectIn(sentItem);
		const id = item?.["type"] === "item_reference" ? textIn(item["id"]) : "";
		return id === "" ? [] : [id];
	});
	if (previous === "" && items.length === 0) return undefined;
	return { previous: previous === "" ? undefined : previous, items };
}

/** The id of the response of a call. @param callId `req_…` */
export const responseIdOf = (callId: string): string => new ResponseIds(callId).response;

const RESPONSE_ID = /^resp_[\w-]{1,128}$/;
/** Whether a text may be the id of a response of this router's. */
export const isResponseId = (id: string): boolean => RESPONSE_ID.test(id);

const FOREIGN_ITEM_ID = /^(?!resp_)[a-z]{1,8}_[\w-]{1,128}$/;
/** Whether a text may be the id of an item, whoever gave it. */
export const isItemId = (id: string): boolean => FOREIGN_ITEM_ID.test(id);

const ITEM_ID = /^[a-z]+_([\w-]{1,120})_(?:in)?\d{1,6}$/;
/** The response that an item of this id belongs to, whose id it holds; undefined where this router gave it no id. */
export function responseOfItem(itemId: string): string | undefined {
	const call = ITEM_ID.exec(itemId)?.[1];
	return call === undefined ? undefined : `resp_${call}`;
}

/** How the ids of items begin that come without one. */
const PREFIXES: Readonly<Record<string, string>> = {
	message: "msg",
	function_call: "fc",
	function_call_output: "fco",
	custom_tool_call: "ctc",
	custom_tool_call_output: "ctco",
	reasoning: "rs",
	compaction: "cmp",
};

/** The items that a request was sent with, each with an id, and with what references in it lead to in their place. */
export function inputItems(
	{ input, earlier }: Pick<ResponsesRequest, "input" | "earlier">,
	callId: string,
): StoredItem[] {
	const sent: readonly StoredItem[] =
		typeof input === "string" ? [{ role: "user", content: input }] : (input as readonly StoredItem[]);
	const call = responseIdOf(callId).slice("resp_".length);
	return sent.flatMap((item, index) => {
		const found = (item["type"] === "item_reference" ? earlier?.items?.get(textIn(item["id"])) : item) as
			| StoredItem
			| undefined;
		if (!found || found["type"] === "compaction_trigger") return [];
		const type = textIn(found["type"]) || "message";
		const prefix = Object.hasOwn(PREFIXES, type) ? PREFIXES[type] : "item";
		const id = textIn(found["id"]) || `${prefix}_${call}_in${index}`;
		return [{ ...found, ...(type === "message" ? { content: parts(found) } : {}), id, type }];
	});
}

/** Content as parts: what clients read has no other form. */
function parts({ role, content }: StoredItem): unknown {
	if (typeof content !== "string") return content;
	return role === "assistant"
		? [{ type: "output_text", text: content, annotations: [] }]
		: [{ type: "input_text", text: content }];
}

/**
 * The text of a stored response.
 * @param input as JSON
 * @param response as JSON
 */
export function storedText(previous: string | undefined, input: string, response: string): string {
	const head = previous === undefined ? "" : `"previous":${JSON.stringify(previous)},`;
	return `{${head}"input":${input},"response":${response}}`;
}

/** The response of such a text. */
export const storedResponseIn = (text: string): StoredResponse => JSON.parse(text) as StoredResponse;

/** All that was said up to the last of these responses, in order. */
export function conversationIn(chain: readonly StoredResponse[]): StoredItem[] {
	const last = chain.findLastIndex(isCompacted);
	const start = last === -1 ? [] : conversationWith([], chain[last]!.response.output);
	return [...start, ...chain.slice(last + 1).flatMap(({ input, response }) => [...input, ...response.output])];
}

/** Whether it answers with a compaction, which stands for all before it. */
export const isCompacted = ({ response }: StoredResponse): boolean => compactionAt(response.output) !== -1;

/**
 * What is gone on from behind an answer. A compaction in it stands for all that was said before; one that a client sends does not, since
 * clients send what they would not lose beside it (Codex: its user's words).
 */
export function conversationWith(before: readonly StoredItem[], output: readonly StoredItem[]): StoredItem[] {
	const last = compactionAt(output);
	return last === -1 ? [...before, ...output] : output.slice(last);
}

const compactionAt = (output: readonly StoredItem[]): number =>
	output.findLastIndex(({ type }) => type === "compaction");

/** Items on a page. */
const MOST_ITEMS = 100;
const DEFAULT_ITEMS = 20;

/** A page of items as clients ask for it: `limit`, `order`, `after`. Throws `invalid_value`. @param items the first one first */
export function itemsPage(items: readonly StoredItem[], query: URLSearchParams): object {
	const asked = query.get("limit");
	const limit = asked === null ? DEFAULT_ITEMS : /^\d{1,3}$/.test(asked) ? Number(asked) : 0;
	if (limit < 1 || limit > MOST_ITEMS) throw invalidField("limit", `must be a whole number, 1 to ${MOST_ITEMS}`);
	const order = query.get("order") ?? "desc";
	if (order !== "asc" && order !== "desc") throw invalidField("order", "must be asc or desc");
	const named = namedApart(items);
	const ordered = order === "asc" ? named : named.toReversed();
	const after = query.get("after");
	const at = after === null ? 0 : ordered.findIndex(({ id }) => id === after) + 1;
	if (after !== null && at === 0) throw invalidField("after", "is the id of none of these items");
	const data = ordered.slice(at, at + limit);
	return {
		object: "list",
		data,
		first_id: data[0]?.["id"] ?? null,
		last_id: data.at(-1)?.["id"] ?? null,
		has_more: at + limit < ordered.length,
	};
}

/** The items with ids of their own: clients may have sent one several times, and would read the pages behind it for ever. */
function namedApart(items: readonly StoredItem[]): readonly StoredItem[] {
	const counts = new Map<unknown, number>();
	const taken = new Set(items.map(({ id }) => id));
	if (taken.size === items.length) return items;
	return items.map((item) => {
		const { id } = item;
		let count = counts.get(id) ?? 0;
		let own = id;
		while (count > 0 && taken.has(own)) own = `${id}_${++count}`;
		counts.set(id, Math.max(count, 1));
		taken.add(own);
		return own === id ? item : { ...item, id: own };
	});
}

const textIn = (value: unknown): string => (typeof value === "string" ? value : "");
