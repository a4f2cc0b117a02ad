/** One short answer of an upstream that speaks OpenAI, whole and in the events of a stream: for tests of what stands between it and a client. */
import type { Json } from "./exchange.ts";

const USAGE = { prompt_tokens: 1000, completion_tokens: 500, total_tokens: 1500 };
const eventOf = (rest: Json) =>
	`data: ${JSON.stringify({ id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m", ...rest })}\n\n`;

/** An event of its stream. */
export const helloChunk = (delta: Json, finish_reason: string | null = null): string =>
	eventOf({ choices: [{ index: 0, delta, finish_reason }] });

/** The event that says its tokens. */
export const HELLO_USAGE = eventOf({ choices: [], usage: USAGE });

/** The whole answer of a model, with these tokens. */
export const hello = (prompt_tokens: number, completion_tokens: number, model = "m"): Json => ({
	id: "chatcmpl-1",
	object: "chat.completion",
	created: 1,
	model,
	choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
	usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
});

/** The same with as many tokens as its stream says. */
export const HELLO = JSON.stringify(hello(USAGE.prompt_tokens, USAGE.completion_tokens));

/** An upstream that answers each call with it and the same tokens. Its caller stops it. */
export const startHelloUpstream = (prompt: number, completion: number): Bun.Server<undefined> =>
	Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => Response.json(hello(prompt, completion)) });
