/** A stream that has nothing to say yet gives a sign of life, and is none the less free to fail over, to fail, and to be left. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { goodStream, textEvent } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { eventData } from "./kit/exchange.ts";
import { type Connection, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, neverAnswers, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";
import { post } from "./kit/rig.ts";
import { startRouter } from "./kit/router.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

const SIGN = ": keep-alive\n\n";
const call = { model: "fast", stream: true, messages: [{ role: "user", content: "hi" }] };
const config = (more: Json = {}) => ({
	server: { keep_alive: "60ms" },
	timeouts: { first_token: "20s", stall: "20s" },
	providers: {
		one: { type: "vllm", base_url: first.origin },
		two: { type: "vllm", base_url: second.origin },
	},
	models: [{ name: "fast", policy: "order", resume: "off", targets: ["one/a", "two/b"] }],
	...more,
});
let router: Pipeline;
beforeEach(() => {
	router = pipeline({ config: config() });
	second.run(streams(goodStream(2)));
});
const count = (text: string) => text.split(SIGN).length - 1;
const later =
	(ms: number, script: (connection: Connection) => unknown) =>
	async (connection: Connection): Promise<void> => {
		await Bun.sleep(ms);
		await script(connection);
	};

describe("before the first token", () => {
	test("a byte order mark is no part of the first event that follows a comment", async () => {
		first.run(later(120, streams([`\ufeff${textEvent("Hello")}`, ...goodStream(1).slice(1)])));
		const bytes = Buffer.from(await (await router.send(call)).arrayBuffer()).toString();
		expect(bytes.startsWith(SIGN)).toBe(true);
		expect(bytes).not.toContain("\ufeff");
		expect(eventData(bytes)[0]).toContain("Hello");
	});

	test("a silent upstream's client gets a 200 and comments, then the answer", async () => {
		first.run(later(220, streams(goodStream(2))));
		const answer = await router.send(call);
		expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "text/event-stream; charset=utf-8"]);
		expect(answer.headers.get("x-request-id")).toMatch(/^req_/);
		expect(answer.headers.get("x-router-provider")).toBeNull();
		const text = await answer.text();
		expect(text.startsWith(SIGN)).toBe(true);
		expect(count(text)).toBeGreaterThanOrEqual(2);
		expect(eventData(text)).toEqual(
			eventData(
				goodStream(2)
					.filter((event) => !event.includes("usage"))
					.join(""),
			),
		);
		expect(text).toContain('"provider":"one"');
		expect((await router.settledCalls(1))[0]).toMatchObject({ status: 200, provider: "one", tokens: { input: 5 } });
	});

	test("what fails after comments went out still goes elsewhere", async () => {
		first.run(later(150, answers("503 Service Unavailable", "{}")));
		const answer = await router.send(call);
		expect(answer.status).toBe(200);
		const text = await answer.text();
		expect(eventData(text).at(-1)).toBe("[DONE]");
		expect(router.attempts.map(({ target, failure }) => [target, failure])).toEqual([
			["one/a", "overloaded"],
			["two/b", undefined],
		]);
	});

	test("when nothing answers, an error event ends it, and the call has the status it would have had", async () => {
		first.run(later(150, answers("404 Not Found", "{}")));
		second.run(answers("404 Not Found", "{}"));
		const text = await (await router.send(call)).text();
		const seen = eventData(text);
		expect(seen).toHaveLength(1);
		expect(clientError(seen[0]!).code).toBe("model_not_found");
		expect(router.settled.map(({ status, error }) => [status, error])).toEqual([[404, "model_not_found"]]);
	});

	test("a fault of the router's own is told to its log, and nothing of it to the client", async () => {
		const bug = new TypeError("a secret prompt");
		first.run(later(150, streams(goodStream(2))));
		const faulty = pipeline({
			config: config(),
			change: (provider) => ({
				...provider,
				decoder: () => {
					throw bug;
				},
			}),
		});
		const text = await (await faulty.send(call)).text();
		expect(clientError(eventData(text)[0]!).code).toBe("internal_error");
		expect(text).not.toContain("secret");
		expect(faulty.faults).toEqual([bug]);
		expect(faulty.settled.map(({ status }) => status)).toEqual([500]);
	});

	test("a client that leaves then ends the attempt, and the call is settled as left", async () => {
		first.run(neverAnswers);
		const arrived = first.next();
		const answer = await router.send(call);
		const reader = answer.body!.getReader();
		await reader.read();
		await reader.cancel();
		await (await arrived).closed;
		await router.settledCalls(1);
		expect(router.settled.map(({ status, error, attempts }) => [status, error, attempts])).toEqual([
			[499, "cancelled", 1],
		]);
		expect(router.attempts.map(({ failure }) => failure)).toEqual(["cancelled"]);
	});

	test("a whole answer gets none", async () => {
		first.run(
			later(
				150,
				answers(
					"200 OK",
					'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}',
				),
			),
		);
		const answer = await router.send({ ...call, stream: false });
		expect(await answer.text()).toBe(
			'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}',
		);
	});

	test("an answer that comes in time brings none, and its upstream's name is in the headers", async () => {
		first.run(streams(goodStream(2)));
		const answer = await pipeline({ config: config({ server: { keep_alive: "30s" } }) }).send(call);
		expect(answer.headers.get("x-router-provider")).toBe("one");
		expect(count(await answer.text())).toBe(0);
	});
});

describe("after the first token", () => {
	const pauses = async (connection: Connection) => {
		await begins([textEvent("a")])(connection);
		await Bun.sleep(200);
		await connection.write(goodStream(1).slice(1).join(""));
		connection.end();
	};

	test("silence brings comments between events", async () => {
		first.run(pauses);
		const text = await (await router.send(call)).text();
		expect(text).toMatch(/"a"[^\n]*\n\n(?:: keep-alive\n\n)+data: .*word0/);
		expect(eventData(text).at(-1)).toBe("[DONE]");
	});

	test("0s never sends one", async () => {
		first.run(pauses);
		const silent = pipeline({ config: config({ server: { keep_alive: "0s" } }) });
		expect(count(await (await silent.send(call)).text())).toBe(0);
	});

	test("comments of the upstream's own are no sign of its answer: a stall is seen through them", async () => {
		first.run(async (connection) => {
			await begins([textEvent("a")])(connection);
			while (await connection.write(": keep-alive\n\n")) await Bun.sleep(20);
		});
		const impatient = pipeline({ config: config({ timeouts: { stall: "300ms" } }) });
		const text = await (await impatient.send({ ...call, model: "one/a" })).text();
		expect(clientError(eventData(text).at(-1)!).message).toContain("no byte for 0.3 s");
	});

	test("a client that doesn't read gets none: it is not the upstream that is silent", async () => {
		const piece = textEvent("y".repeat(60_000));
		first.run(streams([...Array.from({ length: 60 }, () => piece), ...goodStream(1)]));
		const patient = pipeline({ config: config({ server: { keep_alive: "500ms" } }) });
		const answer = await patient.send(call);
		const reader = answer.body!.getReader();
		await reader.read();
		await Bun.sleep(1_500);
		const decoder = new TextDecoder();
		let text = "";
		for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
			text += decoder.decode(value, { stream: true });
		}
		expect(count(text)).toBe(0);
	});
});

test("over a real connection the comments leave at once", async () => {
	const seen = Promise.withResolvers<void>();
	first.run(
		later(0, async (connection) => {
			// Nothing comes until the client has seen two signs of life.
			await seen.promise;
			await begins([textEvent("a")])(connection);
			await connection.write(goodStream(1).slice(1).join(""));
			connection.end();
		}),
	);
	const server = await startRouter({ config: config() });
	try {
		const { status, text } = await post(`${server.url}/v1/chat/completions`, call, {}, (sofar) => {
			if (count(sofar) >= 2) seen.resolve();
		});
		expect(status).toBe(200);
		expect(eventData(text).at(-1)).toBe("[DONE]");
	} finally {
		await server.stop();
	}
});
