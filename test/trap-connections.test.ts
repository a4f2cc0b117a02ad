/**
 * Trap: Bun.serve closes a connection on which a second request comes before the first is answered, and one whose client has closed
 * its own side; nothing keeps either (Bun 1.4.5; its `node:http` answers
 * pipelined requests, yet not clients that closed their side).
 * What must hold is that nothing is done twice or left behind: the first call is ended like any whose client left, and of the second
 * nothing is begun.
 */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { connect } from "node:net";
import { goodStream } from "./kit/events.ts";
import { type FaultUpstream, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, neverAnswers } from "./kit/faults.ts";
import { postBytes, rawClient } from "./kit/raw-client.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

let upstream: FaultUpstream;
let router: RunningRouter;
let left = 0;
beforeAll(async () => {
	upstream = startFaultUpstream();
	router = await startRouter({ env: { LOCAL_AGENT_URL: upstream.origin } });
});
afterAll(async () => {
	await router.stop();
	upstream.stop();
});
beforeEach(async () => {
	left = await router.metric("router_requests_total", { status: "499" });
});

const CHAT = "/v1/chat/completions";
/** A connection that stays. */
const kept = (body: string) => postBytes(CHAT, body).replace(/connection: close\r\n/i, "");
const call = (stream = false) =>
	kept(JSON.stringify({ model: "local/m", stream, messages: [{ role: "user", content: "hi" }] }));
const MODELS = "GET /v1/models/dummy HTTP/1.1\r\nhost: localhost\r\n\r\n";
const dummy = kept('{"model":"dummy","messages":[{"role":"user","content":"hi"}]}');

/** The call that was under way has ended as one whose client left, and the upstream was told. */
async function isSettled(): Promise<void> {
	await router.idle();
	await until(async () => (await router.metric("router_requests_total", { status: "499" })) === left + 1);
	// Where both came at once the first may not have been sent on yet.
	expect(upstream.received.length).toBeLessThanOrEqual(1);
}

test.each([
	["at once", ""],
	["later", "later"],
])("a second request that comes %s, before the answer to the first, ends both, and is not begun", async (_, how) => {
	upstream.run(neverAnswers);
	const asked = upstream.next();
	const client = await rawClient(router.url, how === "later" ? call() : call() + call());
	if (how === "later") {
		await asked;
		client.write(call());
	}
	expect(await client.closed).toBe("");
	await isSettled();
});

test("a second request inside a stream ends it without an end of the answer", async () => {
	upstream.run(begins(goodStream().slice(0, 2)));
	const client = await rawClient(router.url, call(true));
	await client.until(/data: /);
	client.write(MODELS);
	const text = await client.closed;
	expect(text).not.toContain("[DONE]");
	expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
	await isSettled();
});

test("a client that closes its side before the answer has left", async () => {
	upstream.run(neverAnswers);
	const asked = upstream.next();
	const { hostname, port } = new URL(router.url);
	const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
	const closed = Promise.withResolvers<string>();
	let text = "";
	socket.on("data", (bytes) => {
		text += bytes.toString();
	});
	socket.on("end", () => closed.resolve(text));
	socket.write(call());
	await asked;
	socket.end();
	expect(await closed.promise).toBe("");
	await isSettled();
});

test("one request after the other on one connection, each behind the answer before it, is what works", async () => {
	upstream.run(
		answers(
			"200 OK",
			'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
		),
	);
	const client = await rawClient(router.url, dummy);
	await client.until(/Hello world/);
	client.write(call());
	await client.until(/"content":"hi"/);
	client.write(MODELS);
	await client.until(/"id":"dummy"/);
	expect(client.text().match(/HTTP\/1\.1 200/g)).toHaveLength(3);
	client.leave();
});
