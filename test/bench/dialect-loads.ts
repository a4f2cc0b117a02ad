/** Loads of every wire that clients speak, before upstreams of the same wire and of others, and how their answers are judged. */
import type { Scenario } from "./loads.ts";
import { judgeStream, judgeTokens, judgeWhole } from "./sample.ts";
import { ANSWER, CONTENT, request, STREAM, TOKENS, type Wire } from "./wire.ts";

/** Bytes of each request. */
const BYTES = 1024;

/** What clients speak. */
type ClientWire = "chat" | "messages" | "responses" | "gemini";

/** Models of the upstreams by their wire. */
const MODELS = {
	openai: "chats/bench",
	claude: "anthropic/claude-bench",
	gemini: "gemini/gemini-bench",
	responses: "openai/bench",
} as const;
type UpstreamWire = keyof typeof MODELS;

/** Settings of a router before an upstream (a URL that ends with a mode), which besides OpenAI's own wires is one that has chats alone. */
export const dialectSettings = (upstream: string): object => ({
	providers: {
		chats: { type: "openai", base_url: `${upstream}/v1`, api_key: "bench-key-of-chats", responses: "chat" },
	},
});

/** How a wire is asked and answers. */
interface Client {
	/** Its name among upstreams. */
	readonly wire: Wire;
	path(model: string, stream: boolean): string;
	/** A request that is as long as the text in it makes it. */
	asked(model: string, stream: boolean, text: string): object;
	/** What is wrong with a whole answer; undefined where nothing is. */
	judgeWhole(text: string): string | undefined;
	judgeStream(text: string): string | undefined;
}

/** What a whole answer must say, in each wire. */
const isAnswer = (said: { content: unknown; end: unknown; tokens: unknown }, end: string): string | undefined => {
	if (said.content !== CONTENT) return "its content is another";
	if (said.end !== end) return `its end is ${said.end}`;
	return said.tokens === 398 ? undefined : `it counts ${said.tokens} tokens`;
};

interface Event {
	readonly type?: string;
	readonly delta?: unknown;
	readonly candidates?: readonly { content?: { parts?: readonly { text?: string }[] }; finishReason?: string }[];
}

/** The events' data but for what no JSON is. */
const eventsIn = (text: string): Event[] =>
	(text.match(/(?<=^data: )\{.*$/gm) ?? []).map((data) => JSON.parse(data) as Event);

/** What is wrong with a stream of named events, of which one kind brings text and one is the last. */
const judgeEvents = (text: string, textOf: (event: Event) => string, last: (event: Event) => boolean) => {
	const events = eventsIn(text);
	const wrong = judgeTokens(events.map(textOf).join(""));
	return wrong ?? (events.some(last) ? undefined : "it has no end");
};

const CLIENTS: Readonly<Record<ClientWire, Client>> = {
	chat: {
		wire: "openai",
		path: () => "/v1/chat/completions",
		asked: (model, stream, text) => ({ model, stream, messages: [{ role: "user", content: text }] }),
		judgeWhole,
		judgeStream,
	},
	messages: {
		wire: "claude",
		path: () => "/v1/messages",
		asked: (model, stream, text) => ({ model, max_tokens: 1000, stream, messages: [{ role: "user", content: text }] }),
		judgeWhole(text) {
			const { content, stop_reason: end, usage } = JSON.parse(text);
			return isAnswer(
				{ content: content?.[0]?.text, end, tokens: usage?.input_tokens + usage?.output_tokens },
				"end_turn",
			);
		},
		judgeStream: (text) =>
			judgeEvents(
				text,
				({ type, delta }) => (type === "content_block_delta" ? (delta as { text: string }).text : ""),
				({ type }) => type === "message_stop",
			),
	},
	responses: {
		wire: "responses",
		path: () => "/v1/responses",
		asked: (model, stream, text) => ({ model, stream, store: false, input: [{ role: "user", content: text }] }),
		judgeWhole(text) {
			const { output, status, usage } = JSON.parse(text);
			const content = output?.at(-1)?.content?.[0]?.text;
			return isAnswer({ content, end: status, tokens: usage?.total_tokens }, "completed");
		},
		judgeStream: (text) =>
			judgeEvents(
				text,
				({ type, delta }) => (type === "response.output_text.delta" ? (delta as string) : ""),
				({ type }) => type === "response.completed",
			),
	},
	gemini: {
		wire: "gemini",
		path: (model, stream) => `/v1beta/models/${model}:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`,
		asked: (_, __, text) => ({ contents: [{ role: "user", parts: [{ text }] }] }),
		judgeWhole(text) {
			const { candidates, usageMetadata } = JSON.parse(text);
			const [first] = candidates ?? [];
			const said = { content: first?.content?.parts?.[0]?.text, end: first?.finishReason };
			return isAnswer({ ...said, tokens: usageMetadata?.totalTokenCount }, "STOP");
		},
		judgeStream: (text) =>
			judgeEvents(
				text,
				({ candidates }) => candidates?.[0]?.content?.parts?.map((part) => part.text ?? "").join("") ?? "",
				({ candidates }) => candidates?.[0]?.finishReason === "STOP",
			),
	},
};

/** A wire before another, what it is compared with, and the most it may cost then. */
export interface DialectLoad {
	readonly scenario: Scenario;
	/** Names of loads of the same mode; absent for the one that all are compared with. */
	readonly against?: string;
	readonly aim?: number;
	/** What the upstream answers with, where the client speaks its wire: it goes on as it came, and a relay that reads none of it has these bytes to pay for, too. */
	readonly answer?: AnswerSize;
}

/** How long an answer is: bytes, and of a stream its events. */
interface AnswerSize {
	readonly bytes: number;
	readonly events?: number;
}

function answerSize(wire: Wire, isStream: boolean): AnswerSize {
	if (!isStream) return { bytes: ANSWER[wire].length };
	const { head, token, tail } = STREAM[wire];
	const around = [...head, ...tail];
	return { bytes: around.join("").length + TOKENS * token.length, events: around.length + TOKENS };
}

/** Whole answers and streams of which all comes at once. */
const MODES = [
	{ mode: "whole", connections: 32, said: "whole 1 KB" },
	{ mode: "burst", connections: 64, said: "200 events at once" },
] as const;

/** Clients before upstreams; `over` names the load that a pair is held against. */
const PAIRS: readonly {
	client: ClientWire;
	upstream: UpstreamWire;
	over?: string;
	aims?: readonly [whole: number, stream: number];
}[] = [
	{ client: "chat", upstream: "openai" },
	{ client: "messages", upstream: "claude", over: "chat → openai", aims: [1.1, 1.1] },
	{ client: "gemini", upstream: "gemini", over: "chat → openai", aims: [1.1, 1.1] },
	{ client: "responses", upstream: "responses", over: "chat → openai", aims: [1.1, 1.1] },
	{ client: "messages", upstream: "openai", over: "messages → claude", aims: [1.4, 1.6] },
	{ client: "gemini", upstream: "openai", over: "gemini → gemini", aims: [1.4, 1.6] },
	{ client: "responses", upstream: "openai", over: "responses → responses", aims: [1.4, 1.6] },
	{ client: "responses", upstream: "claude", over: "responses → responses", aims: [1.4, 1.6] },
	{ client: "chat", upstream: "claude", over: "chat → openai", aims: [1.4, 1.6] },
];

function scenario(
	client: ClientWire,
	upstream: UpstreamWire,
	{ mode, connections, said }: (typeof MODES)[number],
): Scenario {
	const { path, asked, ...judges } = CLIENTS[client];
	const model = MODELS[upstream];
	const stream = mode === "burst";
	const size = JSON.stringify(asked(model, stream, "")).length;
	return {
		name: `${said}: ${client} → ${upstream}`,
		mode,
		variant: "plain",
		connections,
		cached: false,
		stream,
		path: path(model, stream),
		faultIn: stream ? judges.judgeStream : judges.judgeWhole,
		body:
			client === "chat" ? request({ model, stream }) : JSON.stringify(asked(model, stream, "x".repeat(BYTES - size))),
		eventsPerCall: 1,
	};
}

/** The loads of one mode after those of the other; of these the ones whose name holds `only`. */
export const dialectLoads = (only = ""): DialectLoad[] =>
	MODES.flatMap((mode, at) =>
		PAIRS.map(({ client, upstream, over, aims }) => ({
			scenario: scenario(client, upstream, mode),
			...(over ? { against: `${mode.said}: ${over}` } : {}),
			...(aims ? { aim: aims[at]! } : {}),
			...(CLIENTS[client].wire === upstream ? { answer: answerSize(upstream, mode.mode === "burst") } : {}),
		})),
	).filter((load) => load.scenario.name.includes(only));
