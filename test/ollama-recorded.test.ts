/** What Ollama's Python client was recorded to send is answered in the form that it reads. */
import { expect } from "bun:test";
import { type ClientRequest, clientRequests } from "./kit/client-recordings.ts";
import type { Loose } from "./kit/exchange.ts";
import { type FaultUpstream, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { hello } from "./kit/messages.ts";
import { needing } from "./kit/needing.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const { afterAll, beforeAll, test } = needing("recordings");

let box: FaultUpstream;
let router: RunningRouter;
beforeAll(async () => {
	box = startFaultUpstream();
	router = await startRouter({
		config: {
			providers: { box: { type: "vllm", base_url: box.origin } },
			models: [
				{ name: "coder", targets: ["box/m"] },
				{ name: "text-embedding-3-small", targets: ["box/e"] },
			],
		},
	});
});
afterAll(async () => {
	await router.stop();
	box.stop();
});

const EMBEDDED = JSON.stringify({
	...{ object: "list", model: "e", usage: { prompt_tokens: 1, total_tokens: 1 } },
	data: [{ object: "embedding", index: 0, embedding: [0.5, 0.25] }],
});

/** Fields without which that client's types throw, by path. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
	"/api/chat": ["model", "created_at", "message", "done"],
	"/api/generate": ["model", "created_at", "response", "done"],
	"/api/embed": ["model", "embeddings"],
	"/api/show": ["details", "model_info", "capabilities", "modified_at"],
	"/api/pull": ["status"],
};

const named = (request: ClientRequest) => [`${request.path}, stream: ${request.body["stream"]}`, request] as const;

test.each(clientRequests("ollama-py").map(named))("%s", async (_, { path, body, headers }) => {
	box.run(path === "/api/embed" ? answers("200 OK", EMBEDDED) : hello);
	const answer = await fetch(router.url + path, {
		method: "POST",
		headers: { "content-type": headers["content-type"]!, accept: headers["accept"]! },
		body: JSON.stringify(body),
	});
	const text = await answer.text();
	expect([answer.status, answer.status === 200 ? "" : text]).toEqual([200, ""]);
	const objects = text
		.split("\n")
		.filter((line) => line !== "")
		.map((line) => JSON.parse(line) as Loose);
	expect(objects.length > 1).toBe(body["stream"] === true);
	for (const object of objects) for (const name of NEEDED[path]!) expect(object).toHaveProperty(name);
	if (path === "/api/chat") expect(objects.map(({ message }) => message.content).join("")).toBe("Hello");
});
