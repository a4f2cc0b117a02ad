/** Asking the look-alike of vLLM, and reading what it says. */
import type { Json } from "./exchange.ts";
import { type Sim, type SimOptions, startSim } from "./vllm-sim-process.ts";

/** The model it serves in tests. */
export const MODEL = "Qwen/Qwen3-0.6B";
/** A call of one message. */
export const hi = (content = "hi") => ({ model: MODEL, messages: [{ role: "user", content }] });

/** One request and its answer, read whole. */
export async function post(sim: Sim, path: string, body: unknown, headers: Record<string, string> = {}) {
	const answer = await fetch(`${sim.origin}${path}`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: typeof body === "string" ? body : JSON.stringify(body),
	});
	const text = await answer.text();
	const isJson = answer.headers.get("content-type")?.includes("json");
	return { status: answer.status, text, json: (isJson ? JSON.parse(text) : {}) as Json, headers: answer.headers };
}
/** A chat completion. */
export const chat = (sim: Sim, body: Json, headers?: Record<string, string>) =>
	post(sim, "/v1/chat/completions", body, headers);

/** A stream's events without the mark of the end, and whether that came. */
export async function stream(sim: Sim, body: Json, path = "/v1/chat/completions") {
	const { text, status, headers } = await post(sim, path, { ...body, stream: true });
	const events = text.split("\n\n").filter(Boolean);
	const done = events.at(-1) === "data: [DONE]";
	return {
		status,
		headers,
		done,
		chunks: (done ? events.slice(0, -1) : events).map((event) => JSON.parse(event.slice("data: ".length)) as Json),
	};
}
/** A choice, of a whole answer or a chunk. */
export interface Choice {
	readonly index: number;
	readonly finish_reason: string | null;
	readonly delta: { content?: string; reasoning?: string; role?: string; tool_calls?: readonly ToolCall[] };
	readonly message: { content: string | null; reasoning: string | null; tool_calls: readonly ToolCall[] };
	readonly text: string;
}
/** A tool call, or a piece of one. */
export interface ToolCall {
	readonly id?: string;
	readonly function: { readonly name?: string; readonly arguments: string };
}
/** Those of an answer or a chunk. */
export const choices = (json: Json) => json["choices"] as readonly Choice[];
/** The text that chunks bring. */
export const textOf = (chunks: readonly Json[]) =>
	chunks
		.flatMap(choices)
		.map(({ delta, text }) => delta?.content ?? text ?? "")
		.join("");
/** The error in a refusal. */
export const error = (json: Json) =>
	json["error"] as { message: string; type: string; param: string | null; code: number };

/** Starts one that isn't expected to serve, and waits for its end. */
export async function ends(options: SimOptions) {
	await using sim = await startSim({ ...options, ready: false });
	const code = await sim.exited;
	// Its pipes end with it; their last lines come a moment later.
	for (let look = 0; look < 1_000 && sim.output() === ""; look++) await Bun.sleep(10);
	return { code, output: sim.output() };
}
