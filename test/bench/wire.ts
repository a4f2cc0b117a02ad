/** What the bench sends and what its upstream answers: OpenAI's wires, and Claude's and Gemini's. */

/**
 * How the upstream answers, chosen by the first part of the path. `whole`: 1 KB of JSON at once. `burst`: 200 events at
 * once, in one write. `paced`: 200 events 5 ms apart, as a model emits tokens. `slow`: four events a second until the
 * client leaves. `hold`: one a second. `flood`: 400 MB as fast as it is taken.
 */
export const MODES = ["whole", "burst", "paced", "slow", "hold", "flood"] as const;
/** One of `MODES`. */
export type Mode = (typeof MODES)[number];

/** The wires an upstream may speak. */
export type Wire = "openai" | "claude" | "gemini" | "responses";

/** Events in a `paced` or `burst` stream that carry a token; what opens and closes it comes on top. */
export const TOKENS = 197;
/** ms between two events of one stream, where there is a pause. */
export const PAUSE_MS: Partial<Record<Mode, number>> = { paced: 5, slow: 250, hold: 1000 };
/** Bytes a `flood` holds. */
export const FLOOD_BYTES = 400e6;
/** Digits of a stamp: µs since the epoch. Every token's text is a blank and a stamp, so that all events are of one size. */
export const STAMP_DIGITS = 16;
/** What stands where an upstream without a clock (`burst`, `flood`) has no stamp to give. */
export const NO_STAMP = "0".repeat(STAMP_DIGITS);

/** The text that every `whole` answer holds, in either wire. */
export const CONTENT = "The quick brown fox jumps over the lazy dog. ".repeat(16).slice(0, 700);

const SIZE = 1024;
const ID = { id: "chatcmpl-bench", created: 1_760_000_000, model: "bench" };
const CLAUDE = { id: "msg_bench", type: "message", role: "assistant", model: "claude-bench" };
/** Its models count with every event. */
const GEMINI = {
	usageMetadata: { promptTokenCount: 200, candidatesTokenCount: 198, totalTokenCount: 398 },
	modelVersion: "gemini-bench",
};
const RESPONSE = { id: "resp_bench", object: "response", created_at: 1_760_000_000, model: "bench" };
const USAGE = { prompt_tokens: 200, completion_tokens: 198, total_tokens: 398 };

/** `value` as JSON of exactly 1,024 bytes: `make` gets the filler that brings it there. */
function kilobyte(make: (filler: string) => object): string {
	const empty = JSON.stringify(make("")).length;
	return JSON.stringify(make("x".repeat(SIZE - empty)));
}

const RESPONSE_USAGE = {
	input_tokens: 200,
	input_tokens_details: { cached_tokens: 0 },
	output_tokens: 198,
	output_tokens_details: { reasoning_tokens: 0 },
	total_tokens: 398,
};
const responseMessage = (text: string, status = "completed") => ({
	id: "msg_bench",
	type: "message",
	status,
	role: "assistant",
	content: status === "completed" ? [{ type: "output_text", text, annotations: [], logprobs: [] }] : [],
});

/** The whole answer, 1 KB in each wire. */
export const ANSWER: Record<Wire, string> = {
	openai: kilobyte((filler) => ({
		...ID,
		object: "chat.completion",
		choices: [{ index: 0, message: { role: "assistant", content: CONTENT }, finish_reason: "stop" }],
		usage: USAGE,
		system_fingerprint: filler,
	})),
	claude: kilobyte((filler) => ({
		...CLAUDE,
		id: `msg_${filler}`,
		content: [{ type: "text", text: CONTENT }],
		stop_reason: "end_turn",
		stop_sequence: null,
		usage: { input_tokens: 200, output_tokens: 198 },
	})),
	gemini: kilobyte((filler) => ({
		candidates: [{ content: { parts: [{ text: CONTENT }], role: "model" }, finishReason: "STOP", index: 0 }],
		...GEMINI,
		responseId: filler,
	})),
	// Its least form is a little more.
	responses: JSON.stringify({
		...RESPONSE,
		status: "completed",
		output: [responseMessage(CONTENT)],
		usage: RESPONSE_USAGE,
	}),
};

const chunk = (choices: unknown[], rest: object = {}) =>
	`data: ${JSON.stringify({ ...ID, object: "chat.completion.chunk", choices, ...rest })}\n\n`;
const claude = (type: string, rest: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;

const response = (type: string, rest: object) =>
	`event: response.${type}\ndata: ${JSON.stringify({ type: `response.${type}`, sequence_number: 1000, ...rest })}\n\n`;
const PART = { item_id: "msg_bench", output_index: 0, content_index: 0 };
const SAID = ` ${NO_STAMP}`.repeat(TOKENS);

const gemini = (text: string, end: object = {}) => {
	const candidate = { content: { parts: [{ text }], role: "model" }, ...end, index: 0 };
	return `data: ${JSON.stringify({ candidates: [candidate], ...GEMINI, responseId: "bench" })}\r\n\r\n`;
};

/** A stream's events: those before its tokens, one that carries a token, those behind. */
export interface Events {
	readonly head: readonly string[];
	readonly token: string;
	readonly tail: readonly string[];
}

/** The events of a stream in each wire. */
export const STREAM: Record<Wire, Events> = {
	openai: {
		head: [],
		token: chunk([{ index: 0, delta: { content: ` ${NO_STAMP}` }, finish_reason: null }]),
		tail: [chunk([{ index: 0, delta: {}, finish_reason: "stop" }]), chunk([], { usage: USAGE }), "data: [DONE]\n\n"],
	},
	claude: {
		head: [
			claude("message_start", {
				message: {
					...CLAUDE,
					content: [],
					stop_reason: null,
					stop_sequence: null,
					usage: { input_tokens: 200, output_tokens: 1 },
				},
			}),
			claude("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
		],
		token: claude("content_block_delta", { index: 0, delta: { type: "text_delta", text: ` ${NO_STAMP}` } }),
		tail: [
			claude("content_block_stop", { index: 0 }),
			claude("message_delta", {
				delta: { stop_reason: "end_turn", stop_sequence: null },
				usage: { input_tokens: 200, output_tokens: 198 },
			}),
			claude("message_stop", {}),
		],
	},
	gemini: { head: [], token: gemini(` ${NO_STAMP}`), tail: [gemini("", { finishReason: "STOP" })] },
	responses: {
		head: [
			response("created", { response: { ...RESPONSE, status: "in_progress", output: [] } }),
			response("in_progress", { response: { ...RESPONSE, status: "in_progress", output: [] } }),
			response("output_item.added", { output_index: 0, item: responseMessage("", "in_progress") }),
			response("content_part.added", {
				...PART,
				part: { type: "output_text", text: "", annotations: [], logprobs: [] },
			}),
		],
		token: response("output_text.delta", { ...PART, delta: ` ${NO_STAMP}`, logprobs: [] }),
		tail: [
			response("output_text.done", { ...PART, text: SAID, logprobs: [] }),
			response("output_item.done", { output_index: 0, item: responseMessage(SAID) }),
			response("completed", {
				response: { ...RESPONSE, status: "completed", output: [responseMessage(SAID)], usage: RESPONSE_USAGE },
			}),
		],
	},
};

/** What a client asks for. */
export interface RequestOptions {
	/** As the process under test knows it. */
	readonly model: string;
	readonly stream?: boolean;
	/** Of the body, exactly; 1,024 unless said. */
	readonly bytes?: number;
	/** `temperature: 0`: the router answers a repeat from its cache. */
	readonly cached?: boolean;
	readonly text?: keyof typeof TEXT;
}

/** What a turn of a chat says, again and again: as prose is, or `escaped`, half of it what JSON escapes or what is not ASCII. */
const TEXT = {
	prose: "Then the old man said that we should see, and so we did, at five o'clock, in the house by the river.\n",
	escaped: '"\t\\"été\n"→"日本"\r\n"ü"\t"ç"\n\\\\""—"ß"\n' + "x = y[0].of(z) and so on. ",
};

/** The request's JSON: a chat of about a kilobyte a turn, filled up to the size that is asked for. */
export function request({ model, stream = false, bytes = SIZE, cached, text = "prose" }: RequestOptions): string {
	const turn = TEXT[text].repeat(Math.floor(SIZE / Buffer.byteLength(JSON.stringify(TEXT[text]))));
	const one = Buffer.byteLength(JSON.stringify({ role: "assistant", content: turn })) + 1;
	const messages = Array.from({ length: Math.floor((bytes - SIZE / 2) / one) }, (_, at) => ({
		role: at % 2 === 0 ? "user" : "assistant",
		content: turn,
	}));
	const make = (filler: string) =>
		JSON.stringify({
			model,
			stream,
			...(cached ? { temperature: 0 } : {}),
			messages: [...messages, { role: "user", content: filler }],
		});
	return make("x".repeat(bytes - Buffer.byteLength(make(""))));
}
