/**
 * OpenAI as it answers calls of Responses: what it refuses (openai-python 2.x's types, its reference, and errors that people have reported) this
 * one does, and it answers as a model would, with the events of its streams.
 */
import type { Json, Loose } from "./exchange.ts";

/** A call that it took, or refused. */
export interface AskedResponse {
	readonly path: string;
	readonly body: Loose;
	readonly text: string;
	readonly headers: Headers;
}

/** Items of an answer, without their ids. */
export type Reply = (body: Loose) => readonly Json[];

/** The server. */
export interface StrictResponses {
	readonly origin: string;
	readonly asked: AskedResponse[];
	/** Refuses calls of Responses by this, where set: a status and an error. */
	refuse: ((body: Loose) => [number, unknown] | undefined) | undefined;
	/** Breaks a stream behind so many events. */
	breakAfter: number | undefined;
	/** Tokens that it counts of requests, and vLLM of chats. */
	count: number;
	/** Answers by this. */
	reply: Reply;
	stop(): Promise<void>;
}

const FIELDS = new Set(
	(
		"model input instructions stream stream_options tools tool_choice parallel_tool_calls max_tool_calls max_output_tokens temperature top_p " +
		"top_logprobs reasoning text include truncation store background previous_response_id conversation prompt metadata client_metadata " +
		"service_tier user safety_identifier prompt_cache_key prompt_cache_retention prompt_cache_options context_management"
	).split(" "),
);
const ITEM_FIELDS: Readonly<Record<string, readonly string[]>> = {
	message: ["type", "id", "role", "content", "status", "phase"],
	function_call: ["type", "id", "call_id", "name", "namespace", "arguments", "status"],
	function_call_output: ["type", "id", "call_id", "output", "status"],
	custom_tool_call: ["type", "id", "call_id", "name", "namespace", "input", "status"],
	custom_tool_call_output: ["type", "id", "call_id", "output", "status"],
	reasoning: ["type", "id", "summary", "content", "encrypted_content", "status"],
	web_search_call: ["type", "id", "status", "action"],
	compaction: ["type", "id", "encrypted_content"],
	compaction_trigger: ["type"],
};
/** Of every item of Codex's, where it calls OpenAI as its own provider. */
const CODEX_FIELD = "internal_chat_message_metadata_passthrough";
const PREFIXES: Readonly<Record<string, string>> = {
	message: "msg",
	function_call: "fc",
	reasoning: "rs",
	web_search_call: "ws",
};

const error = (message: string, param: string | null = null, code: string | null = null) => ({
	error: { message, type: "invalid_request_error", param, code },
});

/** Why a call is refused. */
function refusalOf(body: Loose): [number, unknown] | undefined {
	for (const name of Object.keys(body))
		if (!FIELDS.has(name)) return [400, error(`Unknown parameter: '${name}'.`, name, "unknown_parameter")];
	if (body["store"] !== false) return [400, error("This test stores nothing.", "store")];
	const previous = body["previous_response_id"];
	if (previous)
		return [
			400,
			error(
				`Previous response with id '${previous}' not found.`,
				"previous_response_id",
				"previous_response_not_found",
			),
		];
	if (/^gpt-4/.test(body["model"]) && body["include"]?.includes("reasoning.encrypted_content"))
		return [400, error("Encrypted content is not supported with this model.", "include")];
	const items = typeof body["input"] === "string" ? [] : body["input"];
	for (const [at, item] of items.entries()) {
		const refusal = itemRefusal(item, `input[${at}]`);
		if (refusal) return refusal;
	}
	return undefined;
}

function itemRefusal(item: Loose, path: string): [number, unknown] | undefined {
	const type = item["type"] ?? "message";
	const fields = ITEM_FIELDS[type];
	if (!fields) return [400, error(`Invalid value: '${type}'.`, path, "invalid_value")];
	const odd = Object.keys(item).find((name) => !fields.includes(name) && name !== CODEX_FIELD);
	if (odd) return [400, error(`Unknown parameter: '${path}.${odd}'.`, `${path}.${odd}`, "unknown_parameter")];
	const { id, encrypted_content: encrypted } = item;
	const prefix = PREFIXES[type];
	if (id && prefix && !id.startsWith(prefix))
		return [400, error(`Invalid '${path}.id': '${id}'. Expected an ID that begins with '${prefix}'.`, `${path}.id`)];
	if (type === "reasoning" && !encrypted)
		return [
			404,
			error(`Item with id '${id}' not found. Items are not persisted when \`store\` is set to false.`, "input"),
		];
	if (encrypted && !String(encrypted).startsWith("gAAAA"))
		return [
			400,
			error(`The encrypted content for item ${id} could not be verified.`, null, "invalid_encrypted_content"),
		];
	return undefined;
}

/** Chats that it refuses, since they belong to Responses. */
function chatRefusal({ model, tools, reasoning_effort: effort }: Loose): [number, unknown] | undefined {
	if (/codex|-pro/.test(model))
		return [404, error("This model is only supported in v1/responses and not in v1/chat/completions.", "model")];
	if (/^gpt-5\.[456]/.test(model) && tools?.length && effort !== "none") {
		const message = `Function tools with reasoning_effort are not supported for ${model} in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.`;
		return [400, error(message, "reasoning_effort")];
	}
	return undefined;
}

const USAGE = {
	input_tokens: 11,
	input_tokens_details: { cached_tokens: 4 },
	output_tokens: 7,
	output_tokens_details: { reasoning_tokens: 3 },
	total_tokens: 18,
};
/** What it says of a call whatever that is. */
const shell = (body: Loose, id: string) => ({
	id,
	object: "response",
	created_at: 1_800_000_000,
	status: "in_progress",
	error: null,
	incomplete_details: null,
	instructions: body["instructions"] ?? null,
	max_output_tokens: body["max_output_tokens"] ?? null,
	max_tool_calls: null,
	model: `${body["model"]}-2026-10-01`,
	output: [] as Json[],
	parallel_tool_calls: true,
	previous_response_id: null,
	reasoning: { effort: "medium", summary: null },
	service_tier: "default",
	store: false,
	temperature: 1,
	text: { format: { type: "text" } },
	tool_choice: "auto",
	tools: [],
	top_p: 1,
	truncation: "disabled",
	usage: null as unknown,
	user: null,
	metadata: {},
	background: false,
	top_logprobs: 0,
	presence_penalty: 0,
	frequency_penalty: 0,
	completed_at: null,
	safety_identifier: null,
	prompt_cache_key: null,
});

const textOf = (item: Loose): string => item["content"][0].text;

/** The events of an answer, without numbers. */
function eventsOf(body: Loose, id: string, items: readonly Loose[]): Json[] {
	const response = shell(body, id);
	const events: Json[] = [
		{ type: "response.created", response },
		{ type: "response.in_progress", response },
	];
	for (const [at, item] of items.entries()) {
		const place = { item_id: item["id"], output_index: at };
		const { type } = item;
		const empty =
			type === "message"
				? { ...item, status: "in_progress", content: [] }
				: type === "function_call"
					? { ...item, status: "in_progress", arguments: "" }
					: type === "reasoning"
						? { ...item, summary: [] }
						: item;
		events.push({ type: "response.output_item.added", output_index: at, item: empty });
		if (type === "message") {
			const part = { type: "output_text", annotations: [], logprobs: [], text: textOf(item) };
			const where = { content_index: 0, ...place };
			events.push({ type: "response.content_part.added", ...where, part: { ...part, text: "" } });
			for (const delta of textOf(item).match(/\s*\S+/g) ?? [])
				events.push({ type: "response.output_text.delta", ...where, delta, logprobs: [], obfuscation: "x".repeat(3) });
			events.push({ type: "response.output_text.done", ...where, text: textOf(item), logprobs: [] });
			events.push({ type: "response.content_part.done", ...where, part });
		}
		for (const [nth, summary] of (item["summary"] ?? []).entries()) {
			const where = { ...place, summary_index: nth };
			events.push({
				type: "response.reasoning_summary_part.added",
				...where,
				part: { type: "summary_text", text: "" },
			});
			events.push({ type: "response.reasoning_summary_text.delta", ...where, delta: summary.text });
			events.push({ type: "response.reasoning_summary_text.done", ...where, text: summary.text });
			events.push({ type: "response.reasoning_summary_part.done", ...where, part: summary });
		}
		if (type === "function_call") {
			for (const delta of item["arguments"].match(/.{1,6}/g) ?? [])
				events.push({ type: "response.function_call_arguments.delta", ...place, delta });
			events.push({
				type: "response.function_call_arguments.done",
				...place,
				name: item["name"],
				arguments: item["arguments"],
			});
		}
		events.push({ type: "response.output_item.done", output_index: at, item });
	}
	events.push({ type: "response.completed", response: whole(body, id, items) });
	return events;
}

const whole = (body: Loose, id: string, output: readonly Json[]) => ({
	...shell(body, id),
	status: "completed",
	completed_at: 1_800_000_001,
	output,
	usage: USAGE,
});

/** A message of these words. */
export const says = (text: string): Json => ({
	type: "message",
	status: "completed",
	role: "assistant",
	content: [{ type: "output_text", annotations: [], logprobs: [], text }],
});
/** A call of a function. */
export const callsFunction = (call_id: string, name: string, args: string): Json => ({
	type: "function_call",
	status: "completed",
	call_id,
	name,
	arguments: args,
});
/** A thought. */
export const thinks = (data: string, ...summary: string[]): Json => ({
	type: "reasoning",
	summary: summary.map((text) => ({ type: "summary_text", text })),
	encrypted_content: `gAAAA${data}`,
});

let ids = 0;
const OWN_PREFIXES: Readonly<Record<string, string>> = { ...PREFIXES, custom_tool_call: "ctc", compaction: "cmp" };

/** Starts it. */
export function startStrictResponses(reply: Reply): StrictResponses {
	const made: StrictResponses = {
		get origin() {
			return `http://127.0.0.1:${server.port}`;
		},
		asked: [],
		refuse: undefined,
		breakAfter: undefined,
		count: 0,
		reply,
		stop: () => server.stop(true),
	};
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const path = new URL(request.url).pathname;
			const text = await request.text();
			const body = JSON.parse(text || "{}") as Loose;
			made.asked.push({ path, body, text, headers: request.headers });
			if (path.endsWith("/chat/completions")) return chat(body);
			if (path.endsWith("/responses/input_tokens"))
				return Response.json({ object: "response.input_tokens", input_tokens: made.count });
			if (path === "/tokenize") return Response.json({ count: made.count, tokens: [] });
			if (!path.endsWith("/responses")) return Response.json(error(`Invalid URL (POST ${path})`), { status: 404 });
			const refused = made.refuse?.(body) ?? refusalOf(body);
			if (refused) return Response.json(refused[1], { status: refused[0] });
			const id = `resp_0${(++ids).toString(16).padStart(8, "0")}`;
			const wantsThoughts = body["include"]?.includes("reasoning.encrypted_content");
			const items = made.reply(body).map((item, at) => {
				const { encrypted_content, ...rest } = item as Loose;
				const shown = item["type"] === "reasoning" && !wantsThoughts ? rest : item;
				return { id: `${OWN_PREFIXES[String(item["type"])]}_0${ids.toString(16)}${at}`, ...shown };
			});
			if (!body["stream"]) return Response.json(whole(body, id, items));
			return stream(eventsOf(body, id, items), made.breakAfter);
		},
	});
	return made;
}

function stream(events: readonly Json[], breakAfter: number | undefined): Response {
	const texts = events.map(
		(event, sequence_number) => `event: ${event["type"]}\ndata: ${JSON.stringify({ ...event, sequence_number })}\n\n`,
	);
	const sent = texts.slice(0, breakAfter).join("");
	const body = new ReadableStream({
		async start(controller) {
			controller.enqueue(Buffer.from(sent));
			// What came is to be read before the connection ends.
			if (breakAfter !== undefined) await Bun.sleep(20);
			controller.close();
		},
	});
	return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

/** A chat's answer: what it was asked last. */
function chat(body: Loose): Response {
	const refused = chatRefusal(body);
	if (refused) return Response.json(refused[1], { status: refused[0] });
	const head = { id: "chatcmpl-1", created: 1, model: body["model"] };
	const usage = { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 };
	if (!body["stream"]) {
		const message = { role: "assistant", content: "by chat", refusal: null };
		const choices = [{ index: 0, message, finish_reason: "stop" }];
		return Response.json({ ...head, object: "chat.completion", choices, usage });
	}
	const chunk = (delta: Json, finish_reason: string | null = null) =>
		`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
	const last = `data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices: [], usage })}\n\ndata: [DONE]\n\n`;
	// vLLM goes on with the last message where it is asked to.
	const begun = body["continue_final_message"] ? "" : "by";
	const text = chunk({ role: "assistant", content: begun }) + chunk({ content: " chat" }) + chunk({}, "stop") + last;
	return new Response(text, { headers: { "content-type": "text/event-stream" } });
}
