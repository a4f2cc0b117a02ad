/** An upstream that is cut, stalls or talks nonsense never looks like success. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { clientError, expectBroken } from "./kit/contract.ts";
import { DONE, finishEvent, goodStream, textEvent, usageEvent } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import {
	answers,
	begins,
	cutsAfter,
	cutsInHeaders,
	endlessLine,
	garbageInTheMiddle,
	neverAnswers,
	resetsBeforeHeaders,
	shortBody,
	splitAtEveryByte,
	stallsAfter,
	stopsInHeaders,
	streams,
	trickles,
} from "./kit/faults.ts";
import { type ClientAnswer, post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";

const faults = startFaultUpstream();
let router: RunningRouter;
beforeAll(async () => {
	router = await startRouter({
		config: {
			providers: {
				box: { type: "openai-compatible", base_url: faults.origin },
				// To read 32 MB takes a busy machine longer than the others are given.
				patient: { type: "openai-compatible", base_url: faults.origin, timeouts: { first_token: "30s", stall: "30s" } },
			},
			timeouts: { first_token: "400ms", stall: "400ms", total: "400ms" },
			usage: { cost_in_answers: false },
		},
	});
});
afterAll(async () => {
	await router.stop();
	faults.stop();
});
beforeEach(() => expect(faults.errors).toEqual([]));

const ask = (more: object): Promise<ClientAnswer> =>
	post(`${router.url}/v1/chat/completions`, {
		model: "box/kit-model",
		messages: [{ role: "user", content: "hi" }],
		...more,
	});
const stream = (usage = false) => ask({ stream: true, stream_options: { include_usage: usage } });
const whole = () => ask({});
/** What a good stream of n words shows before its end. */
const words = (n: number) =>
	eventData(
		goodStream(n)
			.slice(0, n + 1)
			.join(""),
	);

describe.each([
	["streamed", () => stream()],
	["whole", whole],
] as const)("before the first byte, %s", (_, call) => {
	const rows = [
		["a reset before the headers", resetsBeforeHeaders, 502, ["upstream_unreachable", "upstream_error"]],
		["half a header and a closed socket", cutsInHeaders, 502, ["upstream_unreachable", "upstream_error"]],
		["no answer at all", neverAnswers, 504, ["upstream_timeout"]],
		["half a header and silence", stopsInHeaders, 504, ["upstream_timeout"]],
		[
			"a 503",
			answers("503 Service Unavailable", "busy", { "content-type": "text/plain" }),
			503,
			["upstream_overloaded"],
		],
		["a 500", answers("500 Internal Server Error", "<html>", { "content-type": "text/html" }), 502, ["upstream_error"]],
	] as const;
	test.each(rows)("%s is an error with a status", async (_, script, status, codes) => {
		faults.run(script);
		const answer = await call();
		expect(answer.status).toBe(status);
		expect(codes as readonly string[]).toContain(clientError(answer.text).code ?? "");
	});

	test("a 429 keeps its Retry-After", async () => {
		const headers = { "content-type": "application/json", "retry-after": "17" };
		faults.run(answers("429 Too Many Requests", '{"error":{"message":"slow down"}}', headers));
		const answer = await call();
		expect(answer.status).toBe(429);
		expect(answer.headers.get("retry-after")).toBe("17");
		expect(faults.received.length).toBe(1);
	});

	test("nothing listens: the error says so", async () => {
		const gone = startFaultUpstream();
		gone.stop();
		const lonely = await startRouter({ env: { LOCAL_AGENT_URL: gone.origin } });
		try {
			const answer = await post(`${lonely.url}/v1/chat/completions`, {
				model: "local/x",
				messages: [{ role: "user", content: "hi" }],
			});
			expect(answer.status).toBe(502);
			expect(clientError(answer.text)).toMatchObject({ code: "upstream_unreachable" });
		} finally {
			await lonely.stop();
		}
	});
});

test.each([
	["a body shorter than it said", shortBody, 502, "upstream_truncated"],
	["a whole answer that is half a JSON", answers("200 OK", '{"id":"chatcmpl-kit","choi'), 502, "upstream_truncated"],
] as const)("%s is no answer", async (_, script, status, code) => {
	faults.run(script);
	const answer = await whole();
	expect(answer.status).toBe(status);
	expect(clientError(answer.text).code).toBe(code);
});

const HTML = { "content-type": "text/html" };
const CHOICE = "without a choice";
test.each([
	["a web page", answers("200 OK", "<html>hello</html>", HTML), "does its base URL lead to the API?"],
	["an empty body", answers("200 OK", ""), /empty answer|without a choice/],
	["no content", answers("204 No Content", ""), /empty answer|without a choice/],
	["no choice", answers("200 OK", '{"choices":[]}'), CHOICE],
	["a message that is null", answers("200 OK", '{"choices":[{"index":0,"message":null}]}'), CHOICE],
] as const)("what is whole and no answer did not break off, streamed or not: %s", async (_, script, said) => {
	faults.run(script);
	for (const answer of [await whole(), await stream()]) {
		expect(answer.status).toBe(502);
		const { code, message } = clientError(answer.text);
		expect(code).toBe("upstream_error");
		if (typeof said === "string") expect(message).toContain(said);
		else expect(message).toMatch(said);
	}
});

test("half a JSON in a stream's place broke off", async () => {
	faults.run(answers("200 OK", '{"id":"chatcmpl-kit","choi'));
	expect(clientError((await stream()).text)).toMatchObject({ code: "upstream_truncated" });
});

test.each([
	["[DONE] alone", [DONE]],
	["no choice before [DONE]", ['data: {"id":"x","choices":[]}\n\n', DONE]],
	["nothing", []],
] as const)("a stream that ends well without a choice did not break off: %s", async (_, events) => {
	faults.run(streams([...events]));
	const answer = await stream();
	expect(answer.status).toBe(502);
	expect(clientError(answer.text)).toMatchObject({ code: "upstream_error", message: expect.stringContaining(CHOICE) });
});

test.each(["chunked", "until-close"] as const)(
	"cut inside the stream (%s): an error event, no [DONE]",
	async (framing) => {
		faults.run(cutsAfter(2, framing));
		const answer = await stream();
		expect(answer.status).toBe(200);
		expect(expectBroken(answer.text, words(2)).code).toBe("upstream_truncated");
	},
);

test("cut after the finish reason: the answer is complete", async () => {
	faults.run(async (connection) => {
		const text = textEvent("all of it") + finishEvent();
		await streams([text], "until-close")(connection);
	});
	const answer = await stream();
	expect(eventData(answer.text)).toEqual(eventData(textEvent("all of it") + finishEvent() + DONE));
});

test("stalled inside the stream: an error event, and the upstream is let go", async () => {
	faults.run(stallsAfter(2));
	const arrived = faults.next();
	const answer = await stream();
	expect(expectBroken(answer.text, words(2)).code).toBe("upstream_timeout");
	await (await arrived).closed;
});

test("slow but alive: a stream longer than the stall limit is not cut", async () => {
	faults.run(trickles(goodStream(8), 80));
	const answer = await stream(true);
	expect(eventData(answer.text)).toEqual(eventData(goodStream(8).join("")));
});

test("[DONE] behind text without a finish reason is no success: vLLM ends so what it breaks off", async () => {
	faults.run(trickles([...goodStream(2).slice(0, 3), DONE], 20));
	expect(expectBroken((await stream()).text, words(2)).code).toBe("upstream_truncated");
});

test("an answer that vLLM calls aborted is no success, streamed or whole", async () => {
	faults.run(trickles([...goodStream(2).slice(0, 3), finishEvent("abort"), DONE], 20));
	expect(expectBroken((await stream()).text, words(2)).code).toBe("upstream_truncated");
	const message = { role: "assistant", content: "half" };
	faults.run(answers("200 OK", JSON.stringify({ choices: [{ index: 0, message, finish_reason: "abort" }] })));
	expect(clientError((await whole()).text).code).toBe("upstream_truncated");
});

test("an empty stream is no success", async () => {
	faults.run(streams([]));
	const answer = await stream();
	expect(answer.status).toBe(502);
});

test("an event that is no JSON is dropped, counted and logged, and the stream goes on", async () => {
	faults.run(garbageInTheMiddle);
	const before = await router.metric("router_dropped_events_total");
	const answer = await stream();
	expect(eventData(answer.text)).toEqual(eventData(textEvent("before ") + textEvent("after") + finishEvent() + DONE));
	await router.idle();
	expect(await router.metric("router_dropped_events_total")).toBe(before + 1);
	await router.printed(/"dropped":1\b/);
});

test("events split at every byte, characters and all, arrive whole", async () => {
	const pieces = [textEvent("Grüße 你好 🙂"), finishEvent(), usageEvent(), DONE];
	faults.run(splitAtEveryByte(pieces));
	const answer = await stream(true);
	expect(eventData(answer.text)).toEqual(eventData(pieces.join("")));
});

test("usage that is split across chunks is found and kept from a client that did not ask", async () => {
	faults.run(splitAtEveryByte([textEvent("x"), finishEvent(), usageEvent(), DONE]));
	const before = await router.metric("router_tokens_total", { direction: "input" });
	const answer = await stream();
	expect(answer.text).not.toContain('"usage":{"prompt');
	await router.idle();
	expect(await router.metric("router_tokens_total", { direction: "input" })).toBe(before + 5);
});

test("a line that never ends is given up, and memory with it", async () => {
	faults.run(endlessLine(256 << 20));
	const before = await router.rss();
	const answer = await ask({ model: "patient/kit-model", stream: true });
	expect(answer.status).toBe(502);
	expect(eventData(answer.text.startsWith("data") ? answer.text : "")).not.toContain("[DONE]");
	expect(faults.sentBytes).toBeLessThan(128 << 20);
	expect(await router.rss()).toBeLessThan(before + (300 << 20));
});

test("the first event is forwarded before the second exists", async () => {
	const seen = Promise.withResolvers<void>();
	faults.run(async (connection) => {
		await begins([textEvent("first")])(connection);
		await seen.promise;
		await connection.write(finishEvent() + DONE);
		connection.end();
	});
	const call = { model: "box/m", messages: [{ role: "user", content: "hi" }], stream: true };
	const { text } = await post(
		`${router.url}/v1/chat/completions`,
		call,
		{},
		(sofar) => sofar.includes("first") && seen.resolve(),
	);
	expect(eventData(text)).toEqual(eventData(textEvent("first") + finishEvent() + DONE));
});

test("JSON in the place of a stream, malformed behind its head, is told as what the upstream sent, not as unreachable", async () => {
	faults.run(async (connection) => {
		await connection.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
		await Bun.sleep(50);
		await connection.write('zz\r\n{"a"\r\n');
	});
	const answer = await stream();
	expect([answer.status, clientError(answer.text).code]).toEqual([502, "upstream_error"]);
});
