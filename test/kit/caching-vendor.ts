/**
 * A vendor with a prompt cache for each of its keys, of which its answers count the tokens. It speaks OpenAI's chat, and Anthropic's messages,
 * where only what is marked is cached.
 */
import type { Json, Loose } from "./exchange.ts";

/** A call that it has answered, or refused. */
export interface VendorCall {
	readonly key: string;
	/** Messages of its prompt, and how many of those the key's cache had. */
	readonly messages: number;
	readonly cached: number;
}

/** The server. */
export interface CachingVendor {
	readonly origin: string;
	readonly calls: VendorCall[];
	/** Answers that a key gets instead; undefined: it is good again. */
	refuse(key: string, answer: (() => Response) | undefined): void;
	stop(): void;
}

/** About so many characters a token. */
const PER_TOKEN = 4;

/** Starts it on a free loopback port. */
export function startCachingVendor(): CachingVendor {
	const calls: VendorCall[] = [];
	const caches = new Map<string, string[][]>();
	const refusals = new Map<string, () => Response>();
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const key = request.headers.get("x-api-key") ?? request.headers.get("authorization")!.replace("Bearer ", "");
			const refused = refusals.get(key);
			if (refused) return refused();
			const isClaude = new URL(request.url).pathname.endsWith("/messages");
			const text = await request.text();
			const { messages, model } = JSON.parse(text) as { messages: Loose[]; model: string };
			const prompt = messages.map(plain);
			const known = caches.get(key) ?? [];
			const isPrefix = (earlier: string[]) => earlier.every((message, at) => message === prompt[at]);
			const cached = Math.max(0, ...known.filter(isPrefix).map(({ length }) => length));
			if (!isClaude || text.includes('"cache_control"')) caches.set(key, [...known, prompt]);
			calls.push({ key, messages: prompt.length, cached });
			const tokensOf = (count: number) => Math.ceil(prompt.slice(0, count).join("").length / PER_TOKEN);
			const [input, read] = [tokensOf(prompt.length), tokensOf(cached)];
			return Response.json(isClaude ? claudes(model, input, read) : openAis(model, input, read));
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		calls,
		refuse(key, answer) {
			if (answer) refusals.set(key, answer);
			else refusals.delete(key);
		},
		stop: () => void server.stop(true),
	};
}

/** A message without marks; a text as the one block that it is. */
function plain({ role, content }: Loose): string {
	const blocks: Loose[] = typeof content === "string" ? [{ type: "text", text: content }] : content;
	return JSON.stringify([role, blocks.map(({ cache_control: _, ...block }) => block)]);
}

const claudes = (model: string, input: number, cached: number): Json => ({
	id: "msg_1",
	type: "message",
	role: "assistant",
	model,
	content: [{ type: "text", text: "I see." }],
	stop_reason: "end_turn",
	stop_sequence: null,
	usage: { input_tokens: input - cached, output_tokens: 3, cache_read_input_tokens: cached },
});

const openAis = (model: string, input: number, cached: number): Json => ({
	id: "chatcmpl-1",
	object: "chat.completion",
	created: 1,
	model,
	choices: [{ index: 0, message: { role: "assistant", content: "I see." }, finish_reason: "stop" }],
	usage: {
		prompt_tokens: input,
		completion_tokens: 3,
		total_tokens: input + 3,
		prompt_tokens_details: { cached_tokens: cached },
	},
});

/** A conversation as a client keeps it, whose last message alone is marked. */
export class MarkedConversation {
	readonly #messages: Json[] = [];

	/**
	 * @param text what its first message says again and again
	 * @param mark of what is to be cached; null: nothing is marked
	 */
	constructor(
		private readonly model: string,
		private readonly text: string,
		private readonly mark: Json | null = { type: "ephemeral" },
		private readonly settings: Json = {},
	) {}

	/** The next call, once the last one was answered. */
	next(): Json {
		const { model, text, mark, settings } = this;
		const turn = this.#messages.length / 2;
		const content = turn === 0 ? `${text}. `.repeat(1 + Math.ceil(8_000 / text.length)) : `And ${text}, ${turn}?`;
		const block = { type: "text", text: content, ...(mark && { cache_control: mark }) };
		const messages = [...this.#messages, { role: "user", content: mark ? [block] : content }];
		this.#messages.push({ role: "user", content }, { role: "assistant", content: "I see." });
		return { model, messages, max_tokens: 20, ...settings };
	}
}

/** Of the calls that go on with a conversation, the share whose key had all that was said before. */
export function shareCached(calls: readonly VendorCall[]): number {
	const later = calls.filter(({ messages }) => messages > 1);
	return later.filter(({ messages, cached }) => cached === messages - 2).length / later.length;
}
