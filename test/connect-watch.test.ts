/** What `fetch` keeps to itself: that no connection comes about. And that an upstream which thinks is not taken for one. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { fullListener } from "./kit/full-listener.ts";
import { pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());
/** By way of a proxy, which is what `fetch` is left with. */
const through = (url: string) => httpTransport({ proxyFor: () => ({ url, variable: "HTTP_PROXY" }) });
let transport = through(upstream.origin);
beforeEach(() => {
	transport = through(upstream.origin);
});

const never = new AbortController().signal;
const slowly = (ms: number) =>
	upstream.run(async (connection) => {
		await Bun.sleep(ms);
		await answers("200 OK", "fine")(connection);
	});
const send = async (connectMs?: number) => {
	const answer = await transport.send({ url: "http://vendor.invalid/v1", headers: {}, body: "{}" }, never, connectMs);
	return answer.whole?.text();
};

test("a whole answer's connection that does not come about in time is ETIMEDOUT", async () => {
	await using full = await fullListener();
	const client = new AbortController();
	const sent = httpTransport().send({ url: full.url, headers: {}, body: "{}" }, client.signal, 300);
	expect(await sent.catch((error: { code?: string }) => error.code)).toBe("ETIMEDOUT");
	client.abort();
}, 60_000);

test("the call goes elsewhere, and its client is told nothing", async () => {
	await using full = await fullListener();
	upstream.run(
		answers("200 OK", '{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'),
	);
	const router = pipeline({
		config: {
			timeouts: { connect: "300ms" },
			providers: { one: { type: "vllm", base_url: full.url }, two: { type: "vllm", base_url: upstream.origin } },
			models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"] }],
		},
	});
	const answer = await router.send({ model: "fast", messages: [{ role: "user", content: "hi" }] });
	expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "two"]);
	expect(router.attempts.map(({ failure }) => failure)).toEqual(["transport", "transport", undefined]);
}, 60_000);

test("an upstream that thinks for longer than a connection may take is waited for", async () => {
	// Its own, to which no earlier request has left a connection: one carries the request, one knocks.
	const fresh = startFaultUpstream(async (connection) => {
		await Bun.sleep(1_500);
		await answers("200 OK", "fine")(connection);
	});
	const request = { url: "http://vendor.invalid/v1", headers: {}, body: "{}" };
	const answer = await through(fresh.origin).send(request, never, 1_000);
	expect([await answer.whole?.text(), fresh.accepted]).toEqual(["fine", 2]);
	fresh.stop();
});

test("one that answered of late is not knocked at, nor is one that nobody set a limit for", async () => {
	slowly(0);
	expect(await send(2_000)).toBe("fine");
	slowly(1_200);
	expect(await send(2_000)).toBe("fine");
	transport = through(upstream.origin);
	expect(await send()).toBe("fine");
	expect(upstream.received.length).toBe(2);
	expect(upstream.accepted).toBeLessThanOrEqual(1);
});
