/** What an upstream sends before its first event, or instead of one. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import type { Failure } from "../src/providers/failure.ts";
import { Attempt } from "../src/proxy/attempt.ts";
import { CallRecord } from "../src/proxy/call-record.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";
import { clientError } from "./kit/contract.ts";
import { choiceEvent, goodStream, textEvent } from "./kit/events.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, neverAnswers, shortBody, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
const COMMENT = ": OPENROUTER PROCESSING\n\n";
let router: Pipeline;
beforeEach(() => {
	second.run(streams(goodStream(2)));
	router = pipeline({
		config: {
			timeouts: { total: "400ms", first_token: "400ms", stall: "10s" },
			providers: {
				one: { type: "vllm", base_url: first.origin },
				two: { type: "vllm", base_url: second.origin },
			},
			// No second target is asked beside the first: what is told here is the first one's own end.
			models: [{ name: "fast", targets: ["one/a", "two/b"], policy: "order", hedge: false }],
		},
	});
});
afterAll(() => {
	first.stop();
	second.stop();
});
const call = { model: "fast", stream: true, messages: [{ role: "user", content: "hi" }] };

test("a comment does not fix the status: what fails after it fails over", async () => {
	first.run(streams([COMMENT, 'data: {"error":{"message":"no provider","code":503}}\n\n']));
	const answer = await router.send(call);
	expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "two"]);
	expect(await answer.text()).not.toContain("PROCESSING");
});

test("comments before the first event are passed on with it", async () => {
	first.run(streams([COMMENT, COMMENT, ...goodStream(2)]));
	const text = await (await router.send(call)).text();
	expect(text.startsWith(COMMENT + COMMENT)).toBe(true);
});

test("comments alone do not hold off the deadline of the first token", async () => {
	first.run(begins([COMMENT]));
	const answer = await router.send(call);
	expect(answer.headers.get("x-router-provider")).toBe("two");
	expect(router.attempts[0]).toMatchObject({ target: "one/a", failure: "timeout" });
});

test("a streamed call answered with an error in a 200 fails as that error does", async () => {
	first.run(answers("200 OK", '{"error":{"message":"busy","code":503}}', { "content-type": "application/json" }));
	await router.send(call);
	expect(router.attempts[0]?.failure).toBe("overloaded");
});

test("a streamed call answered with JSON that breaks off is the upstream's failure, not the router's", async () => {
	first.run(shortBody);
	expect((await router.send(call)).headers.get("x-router-provider")).toBe("two");
	expect(router.attempts[0]?.failure).toBe("truncated");
	expect(router.faults).toEqual([]);
});

test("who speaks may be told long before the first piece of text; from then on silence is borne for less long", async () => {
	const [target] = router.snapshot.catalog.resolve("one/a").targets;
	const failures: Failure[] = [];
	async function read(thinkMs: number) {
		const body = { ...call, model: "one/a" };
		const attempt = new Attempt({
			call: {
				...parseRequest("chat", JSON.stringify(body)),
				id: "req",
				operation: "chat",
				headers: new Headers(),
				hops: "",
				client: new AbortController(),
				startedAt: performance.now(),
			},
			target: target!,
			limits: { connectMs: 5_000, firstTokenMs: 5_000, thinkMs, stallMs: 60, totalMs: 5_000 },
			client: { hasSent: false, comments: () => undefined },
			index: 0,
			record: new CallRecord("req_1", "chat", performance.now(), []),
			targets: new LocalRoutingState(),
			owner: {
				failed(_, failure) {
					failures.push(failure);
					return { failure: failure.kind };
				},
				keyAccepted: () => undefined,
				late: () => undefined,
			},
		});
		const opened = await attempt.open();
		const reader = "reader" in opened ? opened.reader! : undefined;
		while (reader && !reader.isOver) {
			try {
				const chunk = await reader.read();
				if (chunk) reader.take(chunk);
				else reader.finish();
			} catch (cause) {
				reader.broken(cause);
			}
		}
		return failures.pop()?.message;
	}
	const says = choiceEvent({ role: "assistant", content: "" });
	const thinks: Script = async (connection) => {
		await begins([says, says])(connection);
		await Bun.sleep(300);
		await connection.write(textEvent("a"));
		await connection.closed;
	};
	first.run(thinks);
	expect(await read(5_000)).toBe("sent no byte for 0.1 s");
	expect(first.received).toHaveLength(1);
	first.run(async (connection) => {
		await begins([says, says])(connection);
		await connection.closed;
	});
	expect(await read(150)).toBe("sent no byte for 0.2 s");
});

test("the media type of a stream may be written in any case", async () => {
	const stream = goodStream(1).join("");
	first.run(answers("200 OK", stream, { "content-type": "Text/Event-Stream; charset=UTF-8" }));
	expect((await router.send(call)).headers.get("x-router-provider")).toBe("one");
});

test("an answer that breaks off before anything has left goes elsewhere", async () => {
	first.run(shortBody);
	second.run(
		answers("200 OK", '{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'),
	);
	const answer = await router.send({ ...call, stream: false });
	expect([answer.status, answer.headers.get("x-router-provider")]).toEqual([200, "two"]);
});

test("waiting for an upstream that gives nothing is not counted as the router's own time", async () => {
	first.run(neverAnswers);
	const startedAt = performance.now();
	const answer = await router.send(call);
	expect(answer.headers.get("x-router-provider")).toBe("two");
	// Of all that it took at least the first target's 400 ms are none of the router's, however busy the machine. 5: timers are rounded.
	const wholeMs = performance.now() - startedAt;
	expect(Number(answer.headers.get("x-router-overhead-ms"))).toBeLessThan(wholeMs - 400 + 5);
});

test("a broken stream is told in words of ours", async () => {
	first.run(async (connection) => {
		await begins(goodStream(3).slice(0, 2))(connection);
		await Bun.sleep(20);
		connection.destroy();
	});
	const text = await (await router.send({ ...call, model: "one/a" })).text();
	const last = text.split("\n\n").filter(Boolean).at(-1)!;
	expect(clientError(last.slice(6)).message).toBe("one broke off before the answer was complete");
});

test("a key that an upstream echoes reaches nobody", async () => {
	const secret = "sk-upstream-secret";
	router = pipeline({ config: { providers: { one: { type: "vllm", base_url: first.origin, api_key: secret } } } });
	for (const status of ["400 Bad Request", "429 Too Many Requests", "500 Internal Server Error", "200 OK"]) {
		const body = JSON.stringify({ error: { message: `bad key: Bearer ${secret}` } });
		first.run(answers(status, body, { "x-echo": `Bearer ${secret}` }));
		const answer = await router.send({ ...call, model: "one/a", stream: false });
		expect(await answer.text()).not.toContain(secret);
		expect(JSON.stringify([...answer.headers])).not.toContain(secret);
	}
});

test.each([
	["a choice that never began, of two asked for", { n: 2 }],
	["the answer to one of two prompts", { prompt: ["a", "b"] }],
])("a stream that ends without [DONE] and lacks %s is broken", async (_, more) => {
	first.run(streams(goodStream(2).slice(0, -1)));
	const { messages: _messages, ...rest } = call;
	const body = "prompt" in more ? { ...rest, model: "one/a", ...more } : { ...call, model: "one/a", ...more };
	const answer = await router.send(body, { operation: "prompt" in more ? "completions" : "chat" });
	expect(await answer.text()).not.toContain("[DONE]");
});

test("an answer that is a list is none", async () => {
	first.run(answers("200 OK", "[]"));
	expect((await router.send({ ...call, model: "one/a", stream: false })).status).toBe(502);
});

test("headers that the upstream's connection names, and those that speak of its account or the page, stay behind", async () => {
	second.run(
		answers(
			"200 OK",
			'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
			{
				connection: "x-hop, close",
				"x-hop": "1",
				"clear-site-data": '"*"',
				"openai-organization": "org-1",
				"x-kept": "1",
			},
		),
	);
	const answer = await router.send({ ...call, model: "two/b", stream: false });
	expect(answer.headers.get("x-kept")).toBe("1");
	for (const name of ["x-hop", "clear-site-data", "openai-organization"]) expect(answer.headers.get(name)).toBeNull();
});

test("a failed call counts under its model where the configuration names it, under `unknown` where the client made it up", async () => {
	first.run(answers("500 Internal Server Error", "{}"));
	second.run(answers("500 Internal Server Error", "{}"));
	await router.send(call);
	await router.send({ ...call, model: "two/made-up" });
	expect(router.settled.map(({ model }) => model)).toEqual(["fast", "unknown"]);
});
