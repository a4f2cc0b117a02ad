/** What the official Python library sends to the routes beside chat, as it was recorded. */
import { expect } from "bun:test";
import { serveApi } from "./kit/api-server.ts";
import { clientRequests } from "./kit/client-recordings.ts";
import { needing } from "./kit/needing.ts";
import { startPassingUpstream } from "./kit/passing-upstream.ts";
import { pipeline } from "./kit/pipeline.ts";

const { test, afterAll } = needing("recordings");

const upstream = startPassingUpstream();
const router = pipeline({ config: { providers: { openai: { base_url: upstream.origin, api_key: "k" } } } });
const server = serveApi(router);
afterAll(() => Promise.all([server.stop(), upstream.stop()]));

const OTHERS = /^\/v1\/(?:images|audio|moderations)/;
const RECORDED = clientRequests("openai-py-other-routes")
	.filter(({ path, body }) => OTHERS.test(path) && !("(not json)" in body))
	.map((request) => [request.path, request] as const);
const NOT_SENT = new Set(["accept-encoding", "content-length", "authorization"]);

test("there are some", () => {
	expect(RECORDED.map(([path]) => path)).toEqual(["/v1/images/generations", "/v1/audio/speech", "/v1/moderations"]);
});

test.each(RECORDED)("%s reaches OpenAI as it was sent, and its answer comes back", async (path, { headers, body }) => {
	const made = Buffer.from([0, 1, 2, 255]);
	upstream.answer(() => new Response(made, { headers: { "content-type": "application/octet-stream" } }));
	const sent = Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_SENT.has(name)));
	const text = JSON.stringify(body);
	const answer = await fetch(server.url + path, { method: "POST", headers: sent, body: text });
	expect(answer.status).toBe(200);
	expect(Buffer.from(await answer.arrayBuffer()).equals(made)).toBe(true);
	const [got] = upstream.received;
	expect([got!.path, got!.body.toString(), got!.headers.get("authorization")]).toEqual([path, text, "Bearer k"]);
	expect(got!.headers.get("accept")).toBe(headers["accept"]!);
});
