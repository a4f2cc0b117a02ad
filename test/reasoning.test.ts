/**
 * What a vendor signed of its thoughts goes back to it whole through every wire and any client, and to nobody else: each wire in front, each vendor that signs,
 * each that is asked next.
 */
import { afterAll, beforeEach, describe, expect } from "bun:test";
import { apiRoutes } from "../src/api/routes.ts";
import { replayEvents } from "../src/openai/answer-forms.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { answerText } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { hello } from "./kit/messages.ts";
import { needing } from "./kit/needing.ts";
import { pipeline } from "./kit/pipeline.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { type Keeping, TURN_CLIENTS, type TurnClient } from "./kit/turn-clients.ts";

const { test } = needing("recordings");
const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

let app: ReturnType<typeof apiRoutes>;
/** A router that remembers nothing. */
function restart(): void {
	const at = { api_key: "sk-of-the-router", base_url: upstream.origin };
	const box = { type: "vllm", base_url: upstream.origin };
	const gateway = { type: "openai-compatible", base_url: upstream.origin };
	const providers = { box, gateway, anthropic: at, gemini: at, openai: at, openrouter: at, xai: at };
	app = apiRoutes(pipeline({ config: { providers }, cached: true }).context);
}
beforeEach(restart);

/** Who is asked, as the client names the model. */
const MODELS = {
	claude: "claude-sonnet-4-5",
	gemini: "gemini-3-flash-preview",
	"claude at OpenRouter": "openrouter/anthropic/claude-haiku-4.5",
	"gemini at OpenRouter": "openrouter/google/gemini-3.1-flash-lite-preview",
	vllm: "box/zai/GLM-5.2",
	openai: "gpt-5-mini",
	xai: "grok-4",
} as const;
type Vendor = keyof typeof MODELS;
const VENDORS = Object.keys(MODELS) as Vendor[];

/** What one of them has said, as it was recorded. */
interface Said {
	readonly recording: string;
	/** What is signed of it, or, where nothing is, its words. */
	readonly thought: RegExp;
	/** Words beside what is signed. */
	readonly words?: RegExp;
	/** To whom it goes back. */
	readonly goesTo: readonly Vendor[];
}

const SIGNERS = {
	claude: {
		recording: "anthropic/claude-sonnet-4-thinking",
		thought: /"signature":\s*("[^"]+")/,
		words: /"thinking":\s*("(?:[^"\\]|\\.)+")/,
		goesTo: ["claude", "claude at OpenRouter"],
	},
	gemini: {
		recording: "gemini/gemini-2-5-pro-thinking-streaming",
		thought: /"thoughtSignature":\s*("[^"]+")/,
		words: /"text":\s*("(?:[^"\\]|\\.)+")/,
		goesTo: ["gemini"],
	},
	"claude at OpenRouter": {
		recording: "openrouter/anthropic-thinking",
		thought: /"signature":\s*("[^"]+")/,
		words: /"text":\s*("(?:[^"\\]|\\.)+")/,
		goesTo: ["claude", "claude at OpenRouter"],
	},
	"gemini at OpenRouter": {
		recording: "openrouter/gemini-tool-streaming",
		thought: /"data":\s*("[^"]+")/,
		goesTo: ["gemini at OpenRouter"],
	},
} as const satisfies Partial<Record<Vendor, Said>>;
const UNSIGNED: Said = {
	recording: "vllm/crusoe-tool-calling",
	thought: /"reasoning":\s*("(?:[^"\\]|\\.)+")/,
	goesTo: [],
};

const recorded = (id: string): Recording => recordings(id.split("/")[0]!).find((each) => each.id === id)!;
const found = (pattern: RegExp, text: string): string => JSON.parse(pattern.exec(text)![1]!);

const claudes = (type: string, more: Json = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`;
/** A message of Claude's as its stream. */
function claudeStream(answer: string): string {
	const { content, stop_reason, usage, ...head } = JSON.parse(answer) as Loose;
	let text = claudes("message_start", { message: { ...head, content: [], stop_reason: null, usage } });
	for (const [index, block] of content.entries()) {
		const delta = (more: Json) => claudes("content_block_delta", { index, delta: more });
		const isCall = block.type === "tool_use";
		const start = isCall ? { ...block, input: {} } : { type: "thinking", thinking: "", signature: "" };
		text += claudes("content_block_start", { index, content_block: start });
		if (isCall) text += delta({ type: "input_json_delta", partial_json: JSON.stringify(block.input) });
		else {
			text += delta({ type: "thinking_delta", thinking: block.thinking });
			text += delta({ type: "signature_delta", signature: block.signature });
		}
		text += claudes("content_block_stop", { index });
	}
	return text + claudes("message_delta", { delta: { stop_reason }, usage }) + claudes("message_stop");
}

/** The events of a recorded answer. */
function streamOf({ response, provider }: Recording): string {
	const text = answerText(response);
	if (response.sse !== undefined) return text;
	return provider === "anthropic" ? claudeStream(text) : `${replayEvents("chat", text, false)}data: [DONE]\n\n`;
}

async function send(client: TurnClient, model: string, history: readonly Json[], isStream: boolean): Promise<string> {
	const answer = await app.handle(
		new Request(`http://localhost${client.path(model, isStream)}`, {
			method: "POST",
			headers: { "content-type": "application/json", host: "localhost", "anthropic-version": "2023-06-01" },
			body: JSON.stringify(client.body(model, history, isStream)),
		}),
	);
	const text = await answer.text();
	expect([answer.status, answer.status === 200 ? "" : text]).toEqual([200, ""]);
	return text;
}

/** How a client goes on from an answer. */
interface Turn {
	readonly client: TurnClient;
	readonly said: Said;
	readonly by: string;
	readonly next: Vendor;
	readonly keeping: Keeping;
	/** The answer was a stream. */
	readonly isStream: boolean;
	readonly isRestarted?: boolean;
}

/** What the next turn's vendor is sent. */
async function nextTurn({ client, said, by, next, keeping, isStream, isRestarted }: Turn): Promise<string> {
	const recording = recorded(said.recording);
	const text = isStream ? streamOf(recording) : answerText(recording.response);
	upstream.run(isStream ? streams([text]) : answers("200 OK", text));
	const kept = client.kept(await send(client, by, [], isStream), isStream, keeping);
	upstream.run(hello);
	if (isRestarted) restart();
	await send(client, MODELS[next], [...kept, ...client.results(kept)], false);
	return upstream.received[0]!.body;
}

const isRecordedAs = ({ recording }: Said, isStream: boolean): boolean =>
	isStream || recorded(recording)?.response.sse === undefined;
const thoughtOf = ({ recording, thought }: Said): string => found(thought, answerText(recorded(recording).response));

/** Who speaks a wire: there its client is taken at its word. */
const SPEAKERS: Readonly<Record<string, readonly string[]>> = {
	messages: ["claude"],
	gemini: ["gemini"],
	responses: ["claude at OpenRouter", "gemini at OpenRouter"],
};

describe.each(TURN_CLIENTS.map((client) => [client.wire, client] as const))("a client of %s", (wire, client) => {
	describe.each(Object.entries(SIGNERS))("from an answer that %s signed", (signer, said: Said) => {
		const forms = [true, false].filter((isStream) => isRecordedAs(said, isStream));
		const turns = VENDORS.flatMap((next) => forms.map((isStream) => ({ next, isStream })));
		const by = MODELS[signer as Vendor];

		test.each(turns)("goes to $next with all that it got, streamed: $isStream", async ({ next, isStream }) => {
			const sent = await nextTurn({ client, said, by, next, keeping: "all", isStream });
			const isTaken = said.goesTo.includes(next);
			expect(sent.includes(JSON.stringify(thoughtOf(said)))).toBe(isTaken);
			const words = said.words && found(said.words, answerText(recorded(said.recording).response));
			if (words && !isTaken) expect(sent).not.toContain(JSON.stringify(words.slice(0, 60)).slice(1, -1));
		});

		test.each(turns)("goes to $next with words and calls alone, streamed: $isStream", async ({ next, isStream }) => {
			const sent = await nextTurn({ client, said, by, next, keeping: "words and calls", isStream });
			const isKept = next === signer && !SPEAKERS[wire]?.includes(signer);
			expect(sent.includes(JSON.stringify(thoughtOf(said)))).toBe(isKept);
		});

		test.each(forms)("all is with the client, whatever the router forgets, streamed: %p", async (isStream) => {
			const next = signer as Vendor;
			const sent = await nextTurn({ client, said, by, next, keeping: "all", isStream, isRestarted: true });
			expect(sent).toContain(JSON.stringify(thoughtOf(said)));
		});
	});

	const turns = VENDORS.flatMap((next) => [true, false].map((isStream) => ({ next, isStream })));
	test.each(turns)(
		"goes to $next with a thought that nobody signed, streamed: $isStream",
		async ({ next, isStream }) => {
			const sent = await nextTurn({ client, said: UNSIGNED, by: MODELS.vllm, next, keeping: "all", isStream });
			// What clients of OpenAI's own wire write goes to its servers as it is.
			const isAsSent = wire === "chat" && !["claude", "gemini"].includes(next);
			expect(sent.includes(JSON.stringify(thoughtOf(UNSIGNED)))).toBe(isAsSent);
		},
	);
});
