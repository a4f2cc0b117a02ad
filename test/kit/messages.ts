/** Calls of Anthropic's Messages API through the pipeline, in this process, before upstreams of all three wires. */
import { apiRoutes } from "../../src/api/routes.ts";
import { type Json, type Loose, namedEvents } from "./exchange.ts";
import { type FaultUpstream, type Script, startFaultUpstream } from "./fault-upstream.ts";
import { answers, streams } from "./faults.ts";
import { type Pipeline, pipeline } from "./pipeline.ts";

/** A model of each wire. */
export const MODELS = { openai: "box/m", claude: "claude-opus-4-7", gemini: "gemini-2.5-flash" } as const;

/** A user's turn. */
export const user = (content: unknown) => ({ role: "user", content });
/** A request that says "hi". */
export const asking = (more: Json = {}, model: string = MODELS.openai) => ({
	model,
	max_tokens: 100,
	messages: [user("hi")],
	...more,
});

/** An answer, read to its end. */
export interface MessagesAnswer {
	readonly status: number;
	readonly headers: Headers;
	readonly text: string;
	/** Its JSON; throws where it is none. */
	readonly json: Loose;
	/** The events of a stream, their names among them. */
	readonly events: readonly Loose[];
}

/** The pipeline, and a way to call. */
export interface MessagesRig {
	readonly upstream: FaultUpstream;
	/** A new one: no call, no cached answer is left of the one before. */
	restart(config?: Json): Pipeline;
	/** The answer as soon as it begins; its body is the caller's to read. */
	open(body: Json | string, headers?: Record<string, string>, path?: string): Promise<Response>;
	send(body: Json | string, headers?: Record<string, string>, path?: string): Promise<MessagesAnswer>;
	/** A question that is no call. */
	get(path: string, headers?: Record<string, string>): Promise<Response>;
	/** What the upstream was asked last. */
	asked(nth?: number): Loose;
	stop(): void;
}

/** Whole answers of each wire that say "Hello". */
export const HELLO = {
	openai: JSON.stringify({
		id: "chatcmpl-1",
		object: "chat.completion",
		created: 1,
		model: "m",
		choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
		usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
	}),
	claude: JSON.stringify({
		id: "msg_1",
		type: "message",
		role: "assistant",
		model: "claude-opus-4-7",
		content: [{ type: "text", text: "Hello" }],
		stop_reason: "end_turn",
		stop_sequence: null,
		usage: { input_tokens: 3, output_tokens: 2 },
	}),
	gemini: JSON.stringify({
		candidates: [{ content: { role: "model", parts: [{ text: "Hello" }] }, finishReason: "STOP", index: 0 }],
		usageMetadata: { promptTokenCount: 3, candidatesTokenCount: 2, totalTokenCount: 5 },
		modelVersion: "gemini-2.5-flash",
		responseId: "g1",
	}),
} as const;

const chunk = (delta: Json, finish_reason: string | null = null) =>
	`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const claudes = (type: string, more: Json = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;

/** The same, streamed. */
const STREAMS: Readonly<Record<keyof typeof HELLO, readonly string[]>> = {
	openai: [
		chunk({ role: "assistant", content: "" }),
		chunk({ content: "Hel" }),
		chunk({ content: "lo" }),
		chunk({}, "stop"),
		`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", choices: [], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } })}\n\n`,
		"data: [DONE]\n\n",
	],
	claude: [
		claudes("message_start", { message: { ...JSON.parse(HELLO.claude), content: [], stop_reason: null } }),
		claudes("content_block_start", { index: 0, content_block: { type: "text", text: "" } }),
		claudes("content_block_delta", { index: 0, delta: { type: "text_delta", text: "Hello" } }),
		claudes("content_block_stop", { index: 0 }),
		claudes("message_delta", { delta: { stop_reason: "end_turn" }, usage: { output_tokens: 2 } }),
		claudes("message_stop"),
	],
	gemini: [`data: ${HELLO.gemini}\n\n`],
};

/** Answers each call in the words of the wire that its path is of, as a stream where it asks for one. */
export const hello: Script = (connection) => {
	const { path, body } = connection.request;
	const wire = path.includes("/messages") ? "claude" : /generateContent/i.test(path) ? "gemini" : "openai";
	const isStream = body.includes('"stream":true') || path.includes("streamGenerateContent");
	return isStream ? streams(STREAMS[wire])(connection) : answers("200 OK", HELLO[wire])(connection);
};

/** Starts it. */
export function messagesRig(): MessagesRig {
	const upstream = startFaultUpstream();
	const start = (config: Json = {}) =>
		pipeline({
			config: {
				providers: {
					box: { type: "vllm", base_url: upstream.origin },
					anthropic: { api_key: "sk-ant-of-the-router", base_url: upstream.origin },
					gemini: { api_key: "AIza-of-the-router", base_url: upstream.origin },
				},
				...config,
			},
			cached: true,
		});
	let app = apiRoutes(start().context);
	const open: MessagesRig["open"] = async (body, headers = {}, path = "/v1/messages") =>
		app.handle(
			new Request(`http://localhost${path}`, {
				method: "POST",
				headers: {
					"content-type": "application/json",
					host: "localhost",
					"anthropic-version": "2023-06-01",
					...headers,
				},
				body: typeof body === "string" ? body : JSON.stringify(body),
			}),
		);
	return {
		upstream,
		restart(config) {
			const made = start(config);
			app = apiRoutes(made.context);
			return made;
		},
		open,
		async send(body, headers, path) {
			const answer = await open(body, headers, path);
			const text = await answer.text();
			return {
				status: answer.status,
				headers: answer.headers,
				text,
				get json() {
					return JSON.parse(text) as Loose;
				},
				get events() {
					return namedEvents(text);
				},
			};
		},
		get: async (path, headers = {}) =>
			app.handle(new Request(`http://localhost${path}`, { headers: { host: "localhost", ...headers } })),
		asked: (nth = upstream.received.length - 1) => JSON.parse(upstream.received[nth]!.body) as Loose,
		stop: () => upstream.stop(),
	};
}
