/** A client of each wire for one tool loop: it asks, takes the answer's call into its history, and answers that with a result. */
import { foldStream } from "../../src/openai/answer-forms.ts";
import { type Json, type Loose, namedEvents } from "./exchange.ts";

/** What a client keeps of an answer: all of it, or words and calls alone. */
export type Keeping = "all" | "words and calls";

/** A client of one wire. */
export interface TurnClient {
	/** The wire: the name in tests. */
	readonly wire: string;
	path(model: string, isStream: boolean): string;
	/** @param history what `kept` and `result` gave, in their order */
	body(model: string, history: readonly Json[], isStream: boolean): Json;
	/** The answer as it goes into the history. */
	kept(answer: string, isStream: boolean, keeping: Keeping): Json[];
	/** The results of its calls. */
	results(kept: readonly Json[]): Json[];
}

const NAMES = ["weather", "get_weather", "generate_topic"];
const SCHEMA = { type: "object", properties: { location: { type: "string" } } };
const ASKED = "What's the weather in Florence, Italy?";
const RESULT = "40 C";
const asked = { role: "user", content: ASKED };
const only = (fields: readonly string[], from: Loose): Json =>
	Object.fromEntries(fields.flatMap((name) => (from[name] === undefined ? [] : [[name, from[name]]])));
const linesOf = (text: string): Loose[] =>
	text
		.split("\n")
		.filter((line) => line !== "")
		.map((line) => JSON.parse(line));
const dataOf = (text: string): Loose[] =>
	text
		.split("\n")
		.filter((line) => line.startsWith("data: ") && line !== "data: [DONE]")
		.map((line) => JSON.parse(line.slice(6)));

const chat: TurnClient = {
	wire: "chat",
	path: () => "/v1/chat/completions",
	body: (model, history, stream) => ({
		model,
		messages: [asked, ...history],
		tools: NAMES.map((name) => ({ type: "function", function: { name, parameters: SCHEMA } })),
		...(stream ? { stream } : {}),
	}),
	kept(answer, isStream, keeping) {
		const whole = isStream ? foldStream("chat", Buffer.from(answer))! : answer;
		const { message } = (JSON.parse(whole) as Loose)["choices"][0];
		if (keeping === "all") return [message];
		const calls = message.tool_calls?.map((call: Loose) => only(["id", "type", "function"], call));
		return [{ role: "assistant", content: message.content, ...(calls ? { tool_calls: calls } : {}) }];
	},
	results: ([message]) =>
		((message as Loose)["tool_calls"] ?? []).map(({ id }: Loose) => ({
			role: "tool",
			tool_call_id: id,
			content: RESULT,
		})),
};

/** A message, as the SDK sums it. */
function summedMessage(answer: string): Loose {
	const content: Loose[] = [];
	for (const event of namedEvents(answer)) {
		if (event["type"] === "content_block_start") content.push({ ...event["content_block"], json: "" });
		const { delta } = event;
		const block = content.at(-1)!;
		if (event["type"] !== "content_block_delta") continue;
		if (delta.type === "text_delta") block["text"] += delta.text;
		if (delta.type === "thinking_delta") block["thinking"] += delta.thinking;
		if (delta.type === "signature_delta") block["signature"] = delta.signature;
		if (delta.type === "input_json_delta") block["json"] += delta.partial_json;
	}
	return {
		content: content.map(({ json, ...block }) =>
			block["type"] === "tool_use" ? { ...block, input: JSON.parse(json || "{}") } : block,
		),
	};
}

const messages: TurnClient = {
	wire: "messages",
	path: () => "/v1/messages",
	body: (model, history, stream) => ({
		model,
		max_tokens: 1000,
		messages: [asked, ...history],
		tools: NAMES.map((name) => ({ name, input_schema: SCHEMA })),
		...(stream ? { stream } : {}),
	}),
	kept(answer, isStream, keeping) {
		const { content } = isStream ? summedMessage(answer) : (JSON.parse(answer) as Loose);
		if (keeping === "all") return [{ role: "assistant", content }];
		return [{ role: "assistant", content: content.filter(({ type }: Loose) => !/thinking/.test(type)) }];
	},
	results: ([message]) => {
		const calls = (message as Loose)["content"].filter(({ type }: Loose) => type === "tool_use");
		if (calls.length === 0) return [];
		const content = calls.map(({ id }: Loose) => ({ type: "tool_result", tool_use_id: id, content: RESULT }));
		return [{ role: "user", content }];
	},
};

const responses: TurnClient = {
	wire: "responses",
	path: () => "/v1/responses",
	body: (model, history, stream) => ({
		model,
		store: false,
		include: ["reasoning.encrypted_content"],
		input: [asked, ...history],
		tools: NAMES.map((name) => ({ type: "function", name, parameters: SCHEMA })),
		...(stream ? { stream } : {}),
	}),
	kept(answer, isStream, keeping) {
		const { output } = isStream ? dataOf(answer).at(-1)!["response"] : (JSON.parse(answer) as Loose);
		// Fields that are not OpenAI's are dropped by clients with types of their own, as Codex is.
		const known = output.map((item: Loose) =>
			only("type id call_id name arguments role content summary encrypted_content".split(" "), item),
		);
		return keeping === "all" ? known : known.filter(({ type }: Loose) => type !== "reasoning");
	},
	results: (items) =>
		(items as Loose[])
			.filter(({ type }) => type === "function_call")
			.map(({ call_id }) => ({ type: "function_call_output", call_id, output: RESULT })),
};

const gemini: TurnClient = {
	wire: "gemini",
	path: (model, isStream) =>
		`/v1beta/models/${model}:${isStream ? "streamGenerateContent?alt=sse" : "generateContent"}`,
	body: (_, history) => ({
		contents: [{ role: "user", parts: [{ text: ASKED }] }, ...history],
		tools: [{ functionDeclarations: NAMES.map((name) => ({ name, parametersJsonSchema: SCHEMA })) }],
		generationConfig: { thinkingConfig: { includeThoughts: true } },
	}),
	kept(answer, isStream, keeping) {
		const all = isStream ? dataOf(answer) : [JSON.parse(answer) as Loose];
		const parts = all.flatMap(({ candidates }) => candidates?.[0]?.content?.parts ?? []);
		if (keeping === "all") return [{ role: "model", parts }];
		const plain = parts.filter(({ thought }: Loose) => !thought);
		return [{ role: "model", parts: plain.map((part: Loose) => only(["text", "functionCall"], part)) }];
	},
	results: ([content]) => {
		const calls = (content as Loose)["parts"].filter(({ functionCall }: Loose) => functionCall);
		if (calls.length === 0) return [];
		const parts = calls.map(({ functionCall: { id, name } }: Loose) => ({
			functionResponse: { id, name, response: { output: RESULT } },
		}));
		return [{ role: "user", parts }];
	},
};

const ollama: TurnClient = {
	wire: "ollama",
	path: () => "/api/chat",
	body: (model, history, stream) => ({
		model,
		messages: [asked, ...history],
		tools: NAMES.map((name) => ({ type: "function", function: { name, parameters: SCHEMA } })),
		stream,
	}),
	kept(answer, _, keeping) {
		const said: Loose = { role: "assistant", content: "", thinking: "", tool_calls: [], reasoning_details: [] };
		for (const { message } of linesOf(answer)) {
			said["content"] += message?.content ?? "";
			said["thinking"] += message?.thinking ?? "";
			said["tool_calls"].push(...(message?.tool_calls ?? []));
			said["reasoning_details"].push(...(message?.reasoning_details ?? []));
		}
		return [keeping === "all" ? said : only(["role", "content", "tool_calls"], said)];
	},
	results: ([message]) =>
		(message as Loose)["tool_calls"].map(({ id, function: { name } }: Loose) => ({
			role: "tool",
			tool_name: name,
			tool_call_id: id,
			content: RESULT,
		})),
};

/** By wire. */
export const TURN_CLIENTS: readonly TurnClient[] = [chat, messages, responses, gemini, ollama];
