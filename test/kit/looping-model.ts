/** A model that always calls the same tool, as a loop of an agent has it, behind an API like OpenAI's. */
import type { Loose } from "./exchange.ts";

/** One that runs. */
export interface LoopingModel {
	readonly origin: string;
	/** Bodies of the calls so far. */
	readonly received: readonly Loose[];
	/** Settings of a router that has it as `box/m`. */
	readonly providers: { readonly box: { readonly type: "openai-compatible"; readonly base_url: string } };
	/** What it calls, by the number of calls so far, from 0: its name and its arguments, JSON; undefined: it says that it is done. */
	plan: (call: number) => readonly [name: string, args: string] | undefined;
	stop(): Promise<void>;
}

const USAGE = { prompt_tokens: 8, completion_tokens: 4, total_tokens: 12 };

/** Starts one that calls `look` with the same path again and again. */
export function startLoopingModel(): LoopingModel {
	const received: Loose[] = [];
	let answered = 0;
	const server = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		async fetch(request) {
			if (request.method !== "POST") return Response.json({ data: [{ id: "m" }] });
			const body = (await request.json()) as Loose;
			const called = model.plan(received.length);
			received.push(body);
			answered++;
			return body["stream"] === true ? streamed(answered, called) : Response.json(whole(answered, called));
		},
	});
	const origin = `http://127.0.0.1:${server.port}`;
	const model: LoopingModel = {
		origin,
		received,
		providers: { box: { type: "openai-compatible", base_url: `${origin}/v1` } },
		plan: () => ["look", '{"path":"/tmp/a"}'],
		stop: () => server.stop(true),
	};
	return model;
}

const calls = (number: number, [name, args]: readonly [string, string]) => [
	{ index: 0, id: `call_${number}`, type: "function", function: { name, arguments: args } },
];

function whole(number: number, called: readonly [string, string] | undefined) {
	const message = called
		? { role: "assistant", content: `Let me look, for the ${number}. time.`, tool_calls: calls(number, called) }
		: { role: "assistant", content: "Done." };
	const choice = { index: 0, message, finish_reason: called ? "tool_calls" : "stop" };
	return { id: `c${number}`, object: "chat.completion", created: 1, model: "m", choices: [choice], usage: USAGE };
}

function streamed(number: number, called: readonly [string, string] | undefined): Response {
	const chunk = (delta: object, finish: string | null = null) =>
		`data: ${JSON.stringify({ id: `c${number}`, object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }], usage: finish ? USAGE : null })}\n\n`;
	const said = called
		? chunk({ role: "assistant", tool_calls: calls(number, called) })
		: chunk({ role: "assistant", content: "Done." });
	const text = `${said}${chunk({}, called ? "tool_calls" : "stop")}data: [DONE]\n\n`;
	return new Response(text, { headers: { "content-type": "text/event-stream" } });
}
