/** Calls of `/v1/responses` in this process: requests read, and chats written as their streams. */
import type { StreamEnd } from "../../src/dialects/dialect.ts";
import { openAiResponses } from "../../src/dialects/openai-responses/index.ts";
import { RouterError } from "../../src/errors.ts";
import type { Json, Loose } from "./exchange.ts";
import { responseEvents } from "./response-events.ts";

/** What the dialect reads of a body. Throws as it does. */
export const readResponses = (body: Json | string) =>
	openAiResponses.parse("chat", Buffer.from(typeof body === "string" ? body : JSON.stringify(body)));

/** The chat that a request for the model `m` becomes, without the model. Input is `hi` where there is none. */
export function chatOf(body: Json): Loose {
	const { model, ...rest } = JSON.parse(readResponses({ model: "m", input: "hi", ...body }).body().raw);
	if (model !== "m") throw new Error(`the chat is for ${model}`);
	return rest;
}

/** Items and tools. */
export const user = (content: unknown) => ({ role: "user", content });
export const called = (call_id: string, more: Json = {}) => ({
	type: "function_call",
	call_id,
	name: "f",
	arguments: "{}",
	...more,
});
export const output = (call_id: string, text: unknown = "done") => ({
	type: "function_call_output",
	call_id,
	output: text,
});
export const fn = (name: string, more: Json = {}) => ({ type: "function", name, ...more });

/** How the streams of these tests end. */
const END: StreamEnd = {
	provider: "box",
	model: "m",
	attempts: 1,
	tokens: { input: 9, output: 4, cached: 3, reasoning: 1 },
};
/** A chunk of a chat. */
export const chunk = (delta: Json, finish_reason: string | null = null, more: Json = {}) =>
	`data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 7, model: "m-1", choices: [{ index: 0, delta, finish_reason, ...more }] })}\n\n`;
/** The first one. */
export const ROLE = chunk({ role: "assistant", content: "" });

/** A call with this body. */
export function callOf(body: Json = {}) {
	const { facts, body: chat } = readResponses({ model: "m", input: "hi", stream: true, ...body });
	return { id: "req_1a2b", operation: "chat", stream: true, facts, body: chat } as const;
}
/** The stream that a client gets of these pieces of a chat. */
export function written(
	pieces: readonly (string | Uint8Array)[],
	body: Json = {},
	end: StreamEnd | RouterError = END,
): string {
	const writer = openAiResponses.stream(callOf(body));
	const sent = pieces.map((piece) => writer.push(piece)).join("");
	return sent + (end instanceof RouterError ? writer.error(end) : writer.end(end));
}
/** The same, read. */
export const readStream = (...args: Parameters<typeof written>) => responseEvents(written(...args));
/** A whole chat. */
export const saying = (pieces: readonly string[], finish = "stop") => [ROLE, ...pieces, chunk({}, finish)];
/** A piece of a call in it. */
export const callChunk = (index: number, id: string | undefined, name: string | undefined, args?: string) =>
	chunk({
		tool_calls: [
			{
				index,
				...(id ? { id, type: "function" } : {}),
				function: { ...(name ? { name } : {}), ...(args === undefined ? {} : { arguments: args }) },
			},
		],
	});
