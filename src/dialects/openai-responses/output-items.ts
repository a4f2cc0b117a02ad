/** What a model said, as items of a response: one for what it thought, one for its words, one a call. */
import { objectText } from "../../openai/json.ts";
import { carriedDetails } from "../../openai/thought-details.ts";
import { objectIn } from "../../openai/usage.ts";
import type { ResponsesRequest } from "./request.ts";
import { customInput } from "./tools.ts";

/** How far an item is. */
export type ItemStatus = "in_progress" | "completed" | "incomplete";

/** Kinds of items, each with the beginning of its ids. */
const PREFIXES = { reasoning: "rs", message: "msg", call: "fc", image: "ig", compaction: "cmp" } as const;

/** Ids of one response: the same call has the same, so that nothing has to be remembered. */
export class ResponseIds {
	readonly response: string;
	readonly #call: string;
	#items = 0;

	/** @param callId `req_…` */
	constructor(callId: string) {
		this.#call = callId.slice(callId.indexOf("_") + 1);
		this.response = `resp_${this.#call}`;
	}

	/** When its call began: a version 7 UUID begins with that (RFC 9562). Unix time, s; 0 where the id is none. */
	get createdAt(): number {
		const ms = /^([0-9a-f]{8})-([0-9a-f]{4})-7/.exec(this.#call);
		return ms ? Math.floor(Number.parseInt(ms[1]! + ms[2]!, 16) / 1000) : 0;
	}

	/** The id of the next item. */
	item(kind: keyof typeof PREFIXES): string {
		return `${PREFIXES[kind]}_${this.#call}_${this.#items++}`;
	}

	/** The id of a call to which its upstream gave none. */
	callId(): string {
		return `call_${this.#call}${this.#items}`;
	}
}

/**
 * What the model thought.
 * @param details what its vendor signed of it, which a client may send back
 * @param carried of these, what the item carries as `encrypted_content`, where the client has asked for that: of clients with types of their own it alone comes back
 */
export function reasoningItem(
	id: string,
	text: string,
	details: readonly unknown[],
	carried: readonly unknown[],
): object {
	return {
		id,
		type: "reasoning",
		summary: text === "" ? [] : [{ type: "summary_text", text }],
		...(details.length > 0 ? { reasoning_details: details } : {}),
		...(carried.length > 0 ? { encrypted_content: carriedDetails(carried) } : {}),
	};
}

/** `include` of what a vendor has encrypted. */
const ENCRYPTED = "reasoning.encrypted_content";

/** Whether the client of a request has asked for that. */
export const asksEncrypted = ({ body }: Pick<ResponsesRequest, "body">): boolean =>
	body.include?.includes(ENCRYPTED) === true;

/** A message of the assistant's. `extra`: what its vendor wants back with it. */
export function messageItem(id: string, content: readonly object[], status: ItemStatus, extra?: unknown): object {
	return {
		id,
		type: "message",
		status,
		role: "assistant",
		content,
		...(objectIn(extra) ? { extra_content: extra } : {}),
	};
}

/** The same, JSON. @param content its parts, each as JSON */
export function messageText(id: string, content: readonly string[], status: ItemStatus, extra?: unknown): string {
	return objectText({
		id: JSON.stringify(id),
		type: '"message"',
		status: `"${status}"`,
		role: '"assistant"',
		content: `[${content.join(",")}]`,
		extra_content: objectIn(extra) && JSON.stringify(extra),
	});
}

/** Words. */
export function textPart(text: string, annotations: readonly object[] = [], logprobs: readonly unknown[] = []): object {
	return { type: "output_text", text, annotations, logprobs };
}

/** The same, JSON. @param json the words, as JSON without its quotes */
export const textPartText = (json: string, annotations = "[]", logprobs = "[]"): string =>
	`{"type":"output_text","text":"${json}","annotations":${annotations},"logprobs":${logprobs}}`;

/** Words by which the model refuses. */
export const refusalPart = (refusal: string): object => ({ type: "refusal", refusal });

/** A call, as the upstream has told of it so far. */
export interface ToolCallSoFar {
	readonly callId: string;
	/** The name of the function that was sent. */
	readonly name: string;
	readonly args: string;
	/** What its vendor wants back with it. */
	readonly extra?: unknown;
}

/** A call, under the name by which the client knows the tool. */
export function callItem(
	id: string,
	call: ToolCallSoFar,
	{ tools }: Pick<ResponsesRequest, "tools">,
	status: ItemStatus,
): object {
	const { name, namespace, isCustom } = tools.identityOf(call.name) ?? { name: call.name, isCustom: false };
	const shared = { id, status, call_id: call.callId, name, ...(namespace === undefined ? {} : { namespace }) };
	const extra = objectIn(call.extra) ? { extra_content: call.extra } : {};
	if (isCustom) {
		const input = status === "in_progress" ? "" : customInput(call.args);
		return { type: "custom_tool_call", ...shared, input, ...extra };
	}
	return { type: "function_call", ...shared, arguments: call.args, ...extra };
}

/** A picture that the model made; undefined where its bytes are not there. */
export function imageItem(id: string, image: unknown): object | undefined {
	const url = objectIn(objectIn(image)?.["image_url"])?.["url"];
	const [head, format] = typeof url === "string" ? (IMAGE_DATA.exec(url.slice(0, 200)) ?? []) : [];
	if (head === undefined) return undefined;
	const result = (url as string).slice(head.length);
	return { id, type: "image_generation_call", status: "completed", output_format: format, result };
}

/** The picture of such an item, as a chat has it. */
export function imageUrl({ output_format, result }: Readonly<Record<string, unknown>>): string {
	return `data:image/${output_format};base64,${result}`;
}

const IMAGE_DATA = /^data:image\/([\w.+-]+)(?:;[^,]*)?;base64,/;

/** A chat's annotations in this wire's form, which has no level for each kind; what is none is left out. */
export function annotationsIn(sent: unknown): object[] {
	if (!Array.isArray(sent)) return [];
	return sent.flatMap((each) => {
		const annotation = objectIn(each);
		const type = annotation?.["type"];
		if (typeof type !== "string") return [];
		const inner = objectIn(annotation![type]);
		const cited = inner ? { type, ...inner } : annotation!;
		return type === "url_citation" ? citations(cited) : [cited];
	});
}

/** A source with all that the wire asks of one, which servers leave out; none without its address. */
function citations(cited: Readonly<Record<string, unknown>>): object[] {
	if (typeof cited["url"] !== "string") return [];
	const { title, start_index: start, end_index: end } = cited;
	const whole = { title: typeof title === "string" ? title : "", start_index: indexIn(start), end_index: indexIn(end) };
	return [{ ...cited, ...whole }];
}

const indexIn = (value: unknown): number => (Number.isSafeInteger(value) ? (value as number) : 0);

/** The probabilities of a chat's tokens, with all that the wire asks of them, which servers leave out; what is none is left out. */
export function logprobsIn(sent: unknown): object[] {
	return tokensIn(sent).map((token) => ({ ...token, top_logprobs: tokensIn(token["top_logprobs"]) }));
}

function tokensIn(sent: unknown): Readonly<Record<string, unknown>>[] {
	if (!Array.isArray(sent)) return [];
	return sent.flatMap((each) => {
		const token = objectIn(each);
		if (typeof token?.["token"] !== "string" || typeof token["logprob"] !== "number") return [];
		return Array.isArray(token["bytes"]) ? [token] : [{ ...token, bytes: [...Buffer.from(token["token"])] }];
	});
}
