/**
 * The model `dummy`: answers "Hello world" from inside this process, so that a new router can be tried, and a client's
 * wiring tested, with no upstream and no key. It is a transport; everything around it is the real pipeline.
 */
import { DONE, sseData } from "../openai/sse.ts";
import type { Transport, UpstreamAnswer, UpstreamRequest } from "./provider.ts";
import type { Upstream } from "./registry.ts";

const WORDS = ["Hello", " world"];
const TEXT = WORDS.join("");

interface DummyRequest {
	stream?: boolean;
	prompt?: unknown;
	messages?: unknown;
	input?: unknown;
	dimensions?: number | null;
	encoding_format?: string | null;
}

/** Stands in for an address; nothing is ever sent to it. */
export const DUMMY_UPSTREAM: Omit<Upstream, "timeouts"> = {
	name: "dummy",
	type: "openai-compatible",
	row: {
		title: "dummy",
		wire: "openai",
		site: "process",
		version: "",
		needsKey: false,
		keyVariables: [],
		aliases: [],
		prefixes: [],
	},
	baseUrl: "dummy:",
	variable: "",
	keySetting: "",
	state: "ready",
	headers: {},
	routesModels: false,
	keepsSystemPrompt: false,
};

/** Answers a request as an OpenAI upstream would. */
export const dummyTransport: Transport = {
	send: async (request) => answer(request),
};

function answer({ url, body }: UpstreamRequest): UpstreamAnswer {
	const request = JSON.parse(
		typeof body === "object" ? Buffer.concat(body as readonly Buffer[]).toString() : (body ?? "{}"),
	) as DummyRequest;
	if (url.endsWith("/embeddings")) return embeddings(request);
	const isChat = url.endsWith("/chat/completions");
	const head = {
		id: `cmpl-${crypto.randomUUID().replaceAll("-", "")}`,
		created: Math.floor(Date.now() / 1000),
		model: "dummy",
	};
	const usage = usageOf(isChat ? request.messages : request.prompt);
	if (request.stream) {
		const events = isChat ? chatEvents(head, usage) : textEvents(head, usage);
		const text = events.map((event) => sseData(JSON.stringify(event))).join("") + DONE;
		return answerOf(text, { type: "text/event-stream" });
	}
	const choice = isChat
		? { index: 0, message: { role: "assistant", content: TEXT }, finish_reason: "stop" }
		: { index: 0, text: TEXT, logprobs: null, finish_reason: "stop" };
	const object = isChat ? "chat.completion" : "text_completion";
	return jsonAnswer({ id: head.id, object, created: head.created, model: head.model, choices: [choice], usage });
}

type Head = { id: string; created: number; model: string };

function chatEvents(head: Head, usage: object): object[] {
	const chunk = (choices: object[]) => ({ ...head, object: "chat.completion.chunk", choices });
	const first = { role: "assistant", content: "" };
	return [
		...[first, ...WORDS.map((content) => ({ content }))].map((delta) =>
			chunk([{ index: 0, delta, finish_reason: null }]),
		),
		chunk([{ index: 0, delta: {}, finish_reason: "stop" }]),
		{ ...chunk([]), usage },
	];
}

function textEvents(head: Head, usage: object): object[] {
	const chunk = (choices: object[]) => ({ ...head, object: "text_completion", choices });
	return [
		...WORDS.map((text) => chunk([{ index: 0, text, logprobs: null, finish_reason: null }])),
		chunk([{ index: 0, text: "", logprobs: null, finish_reason: "stop" }]),
		{ ...chunk([]), usage },
	];
}

/** About four characters a token, as English runs. */
function usageOf(input: unknown) {
	const prompt_tokens = Math.max(1, Math.ceil(JSON.stringify(input ?? "").length / 4));
	return { prompt_tokens, completion_tokens: WORDS.length, total_tokens: prompt_tokens + WORDS.length };
}

/** Inputs of one call, as OpenAI bounds them, and the longest vector made: `dummy` computes inside this process. */
const MAX_INPUTS = 2048;
const MAX_DIMENSIONS = 256;

/** Unit vectors that differ with the text; as base64 of 32-bit floats where asked (the official client always does). */
function embeddings(request: DummyRequest): UpstreamAnswer {
	const isOneTokenList = Array.isArray(request.input) && typeof request.input[0] === "number";
	const inputs = Array.isArray(request.input) && !isOneTokenList ? request.input : [request.input];
	const dimensions = request.dimensions ?? 8;
	if (inputs.length > MAX_INPUTS) return refusal("input", `dummy takes at most ${MAX_INPUTS} inputs.`);
	if (dimensions < 1 || dimensions > MAX_DIMENSIONS) {
		return refusal("dimensions", `dummy makes vectors of 1 to ${MAX_DIMENSIONS} dimensions.`);
	}
	const data = inputs.map((input, index) => {
		const vector = vectorOf(JSON.stringify(input), dimensions);
		const embedding =
			request.encoding_format === "base64" ? Buffer.from(vector.buffer).toString("base64") : Array.from(vector);
		return { object: "embedding", index, embedding };
	});
	const { prompt_tokens } = usageOf(request.input);
	return jsonAnswer({ object: "list", data, model: "dummy", usage: { prompt_tokens, total_tokens: prompt_tokens } });
}

function refusal(param: string, message: string): UpstreamAnswer {
	return jsonAnswer({ error: { message, type: "invalid_request_error", param, code: "invalid_value" } }, 400);
}

function jsonAnswer(value: object, status = 200): UpstreamAnswer {
	return answerOf(JSON.stringify(value), { type: "application/json", status });
}

function answerOf(text: string, { type, status = 200 }: { type: string; status?: number }): UpstreamAnswer {
	let unread: Uint8Array | undefined = Buffer.from(text);
	const read = async () => {
		const bytes = unread;
		unread = undefined;
		return bytes;
	};
	return { status, headers: new Headers({ "content-type": type }), body: { read } };
}

/** Numbers from a linear congruential generator (Numerical Recipes' constants) seeded by the text's hash. */
function vectorOf(text: string, dimensions: number): Float32Array<ArrayBuffer> {
	let state = Bun.hash.crc32(text);
	const vector = Float32Array.from({ length: dimensions }, () => {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		return state / 2 ** 31 - 1;
	});
	const length = Math.hypot(...vector) || 1;
	return vector.map((value) => value / length);
}
