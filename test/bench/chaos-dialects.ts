/** The calls of `make chaos` as clients of each dialect make them, and what their answers say: written for these tests, by no code of the router's. */
import { chunksOf, eventData, type Json, type Loose, namedEvents } from "../kit/exchange.ts";
import { responseEvents } from "../kit/response-events.ts";
import { responseFaults } from "../kit/response-schema.ts";

/** What calls are made in. */
export type ChaosDialect = "chat" | "completions" | "messages" | "responses";

/** What an answer says. */
export interface Saying {
	readonly reasoning: string;
	readonly content: string;
	/** The tool and its arguments. */
	readonly call: string;
	/** As a chat has it. */
	readonly finish: string;
	/** As the usage has them; undefined where none was told. */
	readonly promptTokens: number | undefined;
	readonly completionTokens: number | undefined;
}

/** An answer, read. */
export interface ChaosAnswer {
	readonly said: Saying;
	/** What it failed with. */
	readonly error?: unknown;
	/** It ends as no answer does that is whole. */
	readonly isCut: boolean;
	/** Its stream is none of its dialect's. */
	readonly fault?: string | undefined;
	/** What a client sends back of it, with what its tool gave. */
	readonly echo: readonly Json[];
	/** Of the call of a tool. */
	readonly callId?: string | undefined;
	/** Where it is stored: its client goes on from it by this id, and sends nothing of it back. */
	readonly storedId?: string | undefined;
	/** Events of a chat. */
	readonly chunks?: readonly ChatChunk[];
}

/** One dialect. */
export interface ChaosWire {
	readonly path: string;
	/** The request that has to become this chat. @param answer what its model has said */
	request(chat: Json, answer?: ChaosAnswer): Json;
	/** Throws where a stream is none of this dialect's. */
	read(text: string, isStream: boolean): ChaosAnswer;
}

interface Message {
	content?: string | null;
	reasoning_content?: string | null;
	tool_calls?: { id?: string; function?: { name?: string; arguments?: string } }[];
}

/** An event of a chat, or all of one that is no stream. */
export interface ChatChunk {
	id?: string;
	error?: { code?: string };
	choices?: { delta?: Message; message?: Message; text?: string; finish_reason?: string | null }[];
	usage?: { prompt_tokens: number; completion_tokens: number } | null;
}

function readChat(text: string, isStream: boolean): ChaosAnswer {
	const chunks = (isStream ? chunksOf(text) : [JSON.parse(text)]) as ChatChunk[];
	const choices = chunks.flatMap((chunk) => chunk.choices ?? []);
	const messages: Message[] = choices.map(
		({ delta, message, text: said }) => delta ?? message ?? { content: said ?? "" },
	);
	const calls = messages.flatMap((each) => each.tool_calls ?? []);
	const joined = (pieces: readonly (string | null | undefined)[]) => pieces.map((piece) => piece ?? "").join("");
	const name = joined(calls.map((each) => each.function?.name));
	const args = joined(calls.map((each) => each.function?.arguments));
	const usage = chunks.findLast((chunk) => chunk.usage)?.usage;
	const callId = joined(calls.map(({ id }) => id));
	return {
		said: {
			reasoning: joined(messages.map((each) => each.reasoning_content)),
			content: joined(messages.map(({ content }) => content)),
			call: name + args,
			finish: joined(choices.map(({ finish_reason: reason }) => reason)),
			promptTokens: usage?.prompt_tokens,
			completionTokens: usage?.completion_tokens,
		},
		error: chunks.find((chunk) => chunk.error)?.error,
		isCut: isStream && eventData(text).filter((data) => data === "[DONE]").length !== 1,
		fault: new Set(chunks.map(({ id }) => id)).size === 1 ? undefined : "several ids",
		echo: [
			{
				role: "assistant",
				content: null,
				tool_calls: [{ id: callId, type: "function", function: { name, arguments: args } }],
			},
		],
		callId,
		chunks,
	};
}

const thinks = (chat: Json): boolean =>
	(chat["chat_template_kwargs"] as Loose | undefined)?.["enable_thinking"] !== false;
const schemaOf = (chat: Json): unknown => (chat["response_format"] as Loose | undefined)?.["json_schema"].schema;
const messagesOf = (chat: Json): readonly Loose[] => chat["messages"] as readonly Loose[];
const toolsOf = (chat: Json): readonly Loose[] | undefined => chat["tools"] as readonly Loose[] | undefined;

/** Where nothing is said, so many tokens: Anthropic's clients have to say. */
const MOST = 4000;

function messagesRequest(chat: Json, answer?: ChaosAnswer): Json {
	const schema = schemaOf(chat);
	const [system, ...turns] = messagesOf(chat);
	return {
		model: chat["model"],
		stream: chat["stream"],
		max_tokens: chat["max_tokens"] ?? MOST,
		system: [{ type: "text", text: system!["content"] }],
		messages: turns.map(({ role, content, tool_call_id }) => {
			if (role === "tool")
				return { role: "user", content: [{ type: "tool_result", tool_use_id: tool_call_id, content }] };
			return { role, content: content ?? answer?.echo };
		}),
		thinking: { type: thinks(chat) ? "adaptive" : "disabled" },
		stop_sequences: chat["stop"],
		tools: toolsOf(chat)?.map(({ function: { name, parameters } }) => ({ name, input_schema: parameters })),
		tool_choice: chat["tool_choice"] && { type: chat["tool_choice"] === "required" ? "any" : "none" },
		...(schema !== undefined && { output_config: { format: { type: "json_schema", schema } } }),
	};
}

const STOPS: Readonly<Record<string, string>> = {
	end_turn: "stop",
	stop_sequence: "stop",
	max_tokens: "length",
	tool_use: "tool_calls",
};

function readMessages(text: string, isStream: boolean): ChaosAnswer {
	const events = isStream ? namedEvents(text).filter(({ type }) => type !== "ping") : [];
	const message = isStream ? messageOf(events) : (JSON.parse(text) as Loose);
	const { content, stop_reason, usage } = message;
	const blocks = content as readonly Loose[];
	const call = blocks.find(({ type }) => type === "tool_use");
	const all = (type: string, field: string) =>
		blocks.map((block) => (block["type"] === type ? (block[field] as string) : "")).join("");
	return {
		said: {
			reasoning: all("thinking", "thinking"),
			content: all("text", "text"),
			call: call ? call["name"] + JSON.stringify(call["input"]) : "",
			finish: STOPS[stop_reason] ?? String(stop_reason),
			promptTokens: usage && usage.input_tokens + (usage.cache_read_input_tokens ?? 0),
			completionTokens: usage?.output_tokens,
		},
		error: events.find(({ type }) => type === "error") ?? (message["type"] === "error" ? message : undefined),
		isCut: isStream && events.at(-1)?.["type"] !== "message_stop",
		fault: usage?.estimated ? "its usage is a guess" : undefined,
		echo: blocks,
		callId: call?.["id"],
	};
}

/** What a stream's events come to, each where it may stand. Throws for one that is elsewhere; a stream may break off. */
function messageOf(events: readonly Loose[]): Loose {
	const [start, ...rest] = events;
	if (start?.["type"] !== "message_start") throw new Error(`begins with ${start?.["type"]}`);
	const blocks: Loose[] = [];
	let open: { readonly block: Loose; json: string } | undefined;
	let end: Loose | undefined;
	for (const [at, { type, index, content_block, delta, usage }] of rest.entries()) {
		const isOpen = open !== undefined && index === blocks.length - 1;
		if (type === "error") break;
		if (type === "content_block_start" && !open && !end && index === blocks.length) {
			open = { block: { ...content_block }, json: "" };
			blocks.push(open.block);
		} else if (type === "content_block_delta" && isOpen) {
			if (delta.type === "input_json_delta") open!.json += delta.partial_json;
			else {
				const [[field, piece] = []] = Object.entries(delta as Json).filter(([name]) => name !== "type");
				if (delta.type !== `${open!.block["type"]}_delta` && delta.type !== "signature_delta") {
					throw new Error(`${delta.type} in a block of ${open!.block["type"]}`);
				}
				open!.block[field!] += piece;
			}
		} else if (type === "content_block_stop" && isOpen) {
			if (open!.json !== "") open!.block["input"] = JSON.parse(open!.json);
			open = undefined;
		} else if (type === "message_delta" && !open && !end) end = { ...delta, usage };
		else if (type !== "message_stop" || !end || at !== rest.length - 1) throw new Error(`${type} stands at ${at}`);
	}
	return { ...start["message"], content: blocks, ...end };
}

function responsesRequest(chat: Json, answer?: ChaosAnswer): Json {
	const schema = schemaOf(chat);
	const [system, ...turns] = messagesOf(chat);
	const news =
		answer?.storedId === undefined ? turns : turns.slice(turns.findLastIndex(({ role }) => role === "assistant") + 1);
	return {
		model: chat["model"],
		stream: chat["stream"],
		previous_response_id: answer?.storedId,
		max_output_tokens: chat["max_tokens"],
		instructions: system!["content"],
		input: news.flatMap(({ role, content, tool_call_id: call_id }) => {
			if (role === "tool") return [{ type: "function_call_output", call_id, output: content }];
			return content === null ? answer!.echo : [{ role, content: [{ type: "input_text", text: content }] }];
		}),
		tools: toolsOf(chat)?.map(({ function: { name, parameters } }) => ({
			type: "function",
			name,
			parameters,
			strict: null,
		})),
		tool_choice: chat["tool_choice"],
		...(schema !== undefined && { text: { format: { type: "json_schema", name: "s", schema } } }),
		stop: chat["stop"],
		ignore_eos: chat["ignore_eos"],
		chat_template_kwargs: chat["chat_template_kwargs"],
	};
}

const ENDS = /^event: response\.(?:completed|incomplete|failed)$/m;

function readResponses(text: string, isStream: boolean): ChaosAnswer {
	if (isStream && !ENDS.test(text)) return { said: NOTHING, isCut: true, echo: [] };
	const response = isStream ? responseEvents(text).response : (JSON.parse(text) as Loose);
	const { output, status, usage, incomplete_details } = response;
	const items = output as readonly Loose[];
	const call = items.find(({ type }) => type === "function_call");
	const all = (type: string, field: string) =>
		items
			.filter((item) => item["type"] === type)
			.flatMap((item) => (item[field] as readonly Loose[]).map((part) => part["text"]))
			.join("");
	const [fault] = responseFaults(response);
	return {
		said: {
			reasoning: all("reasoning", "summary"),
			content: all("message", "content"),
			call: call ? call["name"] + call["arguments"] : "",
			finish: status === "incomplete" ? finishOf(incomplete_details?.reason) : call ? "tool_calls" : "stop",
			promptTokens: usage?.input_tokens,
			completionTokens: usage?.output_tokens,
		},
		error: status === "failed" ? response["error"] : undefined,
		isCut: false,
		fault: fault ?? (usage?.estimated ? "its usage is a guess" : undefined),
		echo: items,
		callId: call?.["call_id"],
		storedId: response["store"] === true ? response["id"] : undefined,
	};
}

const finishOf = (reason: unknown): string => (reason === "max_output_tokens" ? "length" : String(reason));
const NOTHING: Saying = {
	...{ reasoning: "", content: "", call: "", finish: "" },
	...{ promptTokens: undefined, completionTokens: undefined },
};

/** A chat with what its model has said where that is missing. */
const chatRequest = (chat: Json, answer?: ChaosAnswer): Json => ({
	...chat,
	messages: messagesOf(chat).flatMap((message) => (message["content"] === null ? answer!.echo : [message])),
});

/** All of them. */
export const WIRES: Readonly<Record<ChaosDialect, ChaosWire>> = {
	chat: { path: "/v1/chat/completions", request: chatRequest, read: readChat },
	completions: { path: "/v1/completions", request: (body) => body, read: readChat },
	messages: { path: "/v1/messages", request: messagesRequest, read: readMessages },
	responses: { path: "/v1/responses", request: responsesRequest, read: readResponses },
};
