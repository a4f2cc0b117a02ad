/** A vLLM of the smallest kind: a list of models, chat, and streams; it remembers what it was asked. */
import { DONE, finishEvent, textEvent, usageEvent } from "./events.ts";
import type { Json } from "./exchange.ts";
import type { Received } from "./replay.ts";

/** The server. */
export interface FakeVllm {
	/** `http://127.0.0.1:<port>`. */
	readonly origin: string;
	/** Calls so far, lists of models left out. */
	readonly received: readonly Received[];
	stop(): Promise<void>;
}

/** Starts one that serves these models, and answers 404 in vLLM's words to others. With a key it asks for that. */
export function startVllm(models: readonly string[], key?: string): FakeVllm {
	const received: Received[] = [];
	const refuse = (status: number, message: string) =>
		Response.json({ error: { message, type: "NotFoundError", param: "model", code: status } }, { status });
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const { pathname: path } = new URL(request.url);
			if (key && request.headers.get("authorization") !== `Bearer ${key}`) {
				return Response.json({ error: "Unauthorized" }, { status: 401 });
			}
			if (path === "/v1/models") {
				const data = models.map((id) => ({ id, object: "model", created: 1_760_000_000, owned_by: "vllm" }));
				return Response.json({ object: "list", data });
			}
			if (request.method === "GET") return refuse(404, "Not Found");
			const body = await request.text();
			received.push({ method: request.method, path, headers: request.headers, body });
			const { model, stream } = JSON.parse(body) as { model: string; stream?: boolean };
			if (!models.includes(model)) return refuse(404, `The model \`${model}\` does not exist.`);
			if (stream) {
				const events = [textEvent("Hi "), textEvent("there"), finishEvent(), usageEvent(), DONE];
				return new Response(events.join(""), { headers: { "content-type": "text/event-stream" } });
			}
			const message = { role: "assistant", content: "Hi there" };
			const answer: Json = {
				id: "chatcmpl-vllm",
				object: "chat.completion",
				created: 1_760_000_000,
				model,
				choices: [{ index: 0, message, finish_reason: "stop" }],
				usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 },
			};
			return Response.json(answer);
		},
	});
	return { origin: `http://127.0.0.1:${server.port}`, received, stop: () => server.stop(true) };
}
