/** Clients that leave, stop reading, or come in numbers. Seen from the upstream's sockets and the router's memory. */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { DONE, finishEvent, goodStream, textEvent } from "./kit/events.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, floods, neverAnswers, stallsAfter, streams } from "./kit/faults.ts";
import { postBytes, rawClient } from "./kit/raw-client.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const faults = startFaultUpstream();
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({ env: { LOCAL_AGENT_URL: faults.origin } });
});
afterAll(async () => {
	await router.stop();
	faults.stop();
});
afterEach(() => expect(faults.errors).toEqual([]));

const CHAT = "/v1/chat/completions";
const body = (stream: boolean) =>
	JSON.stringify({ model: "local/m", messages: [{ role: "user", content: "hi" }], stream });
const MB = 1 << 20;
const ANSWER =
	'{"id":"chatcmpl-kit","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}';

test.each([true, false])(
	"a client that leaves before the first byte ends the upstream's work (streamed: %p)",
	async (streamed) => {
		faults.run(neverAnswers);
		const arrived = faults.next();
		const client = await rawClient(router.url, postBytes(CHAT, body(streamed)));
		const { closed } = await arrived;
		client.leave();
		await closed;
		await router.idle();
	},
);

test("a client that leaves inside a stream ends the upstream's work", async () => {
	faults.run(stallsAfter(2));
	const arrived = faults.next();
	const client = await rawClient(router.url, postBytes(CHAT, body(true)));
	await client.until(/word1/);
	client.leave();
	await (await arrived).closed;
	await router.idle();
});

test("trap: a client that stalls, then leaves, does not take the process down", async () => {
	const crashes = await router.metric("router_crashes_total");
	for (let round = 0; round < 5; round++) {
		faults.run(floods(64 * MB));
		const arrived = faults.next();
		const client = await rawClient(router.url, postBytes(CHAT, body(true)));
		await client.until(/yyyy/);
		client.pause();
		await stillness(() => faults.sentBytes);
		client.leave();
		await (await arrived).closed;
	}
	await router.idle();
	expect(await router.metric("router_crashes_total")).toBe(crashes);
	faults.run(streams(goodStream()));
	expect((await post(router.url + CHAT, body(true))).status).toBe(200);
}, 60_000);

test("trap: a reader that stops holds the upstream back, in bytes and in memory", async () => {
	faults.run(floods(400 * MB));
	const before = await router.rss();
	const client = await rawClient(router.url, postBytes(CHAT, body(true)));
	await client.until(/yyyy/);
	client.pause();
	await stillness(() => faults.sentBytes);
	expect(faults.sentBytes).toBeLessThan(40 * MB);
	// 20 MB is the promise; the rest is what a warm-up of the heap costs.
	expect((await router.rss()) - before).toBeLessThan(40 * MB);
	client.leave();
	await router.idle();
}, 30_000);

test("trap: more than 256 streams at once, and a call beside them, from a plain start", async () => {
	const STREAMS = 300;
	const open: Connection[] = [];
	const allOpen = Promise.withResolvers<void>();
	faults.run(async (connection) => {
		if (connection.request.body.includes('"stream":false')) return await answers("200 OK", ANSWER)(connection);
		await begins([textEvent("open")])(connection);
		if (open.push(connection) === STREAMS) allOpen.resolve();
	});
	// On raw sockets: this process's own fetch has the limit, too.
	const clients = await Promise.all(
		Array.from({ length: STREAMS }, () => rawClient(router.url, postBytes(CHAT, body(true)))),
	);
	await allOpen.promise;
	expect((await post(router.url + CHAT, body(false))).status).toBe(200);
	for (const connection of open) {
		await connection.write(finishEvent() + DONE);
		connection.end();
	}
	for (const client of clients) expect(await client.until(/\[DONE\]/)).toStartWith("HTTP/1.1 200");
	for (const client of clients) client.leave();
}, 30_000);

test("a stream whose end came with its beginning is sent whole", async () => {
	const events = goodStream();
	faults.run(answers("200 OK", events.join(""), { "content-type": "text/event-stream" }));
	const { headers, text } = await post(router.url + CHAT, body(true));
	// The client has not asked for the usage.
	const shown = events.filter((event) => !event.includes('"usage":{'));
	expect(text.replace(/^: router .*\n\n/m, "")).toBe(shown.join(""));
	expect(headers.get("content-type")).toStartWith("text/event-stream");
});

test("a stream that came at once and is broken ends with an error", async () => {
	faults.run(answers("200 OK", textEvent("cut"), { "content-type": "text/event-stream" }));
	const answer = await post(router.url + CHAT, body(true));
	expect(answer.text).toContain("upstream_truncated");
	expect(answer.text).not.toContain(DONE);
});

/** Resolves once a count has not moved for half a second: what can flow has flowed. */
async function stillness(count: () => number): Promise<void> {
	for (let last = -1, still = 0; still < 5; ) {
		still = count() === last ? still + 1 : 0;
		last = count();
		await Bun.sleep(100);
	}
}
