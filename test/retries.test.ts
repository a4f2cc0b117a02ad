/** Attempts before the first byte: who is asked again, who is waited for, and what the client and the metrics see of it. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { goodStream } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, neverAnswers, resetsBeforeHeaders, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

const ANSWER =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}';
const ok = answers("200 OK", ANSWER);
const error = (status: string, headers: Record<string, string> = {}, body = '{"error":{"message":"no"}}') =>
	answers(status, body, { "content-type": "application/json", ...headers });
/** The nth request gets the nth script; the last one for ever. */
const inTurn =
	(...scripts: Script[]): Script =>
	(connection) =>
		scripts[Math.min(connection.nth, scripts.length - 1)]!(connection);
const call = { model: "fast", messages: [{ role: "user", content: "hi" }] };
const alone = { ...call, model: "one/a" };
const config = {
	providers: {
		one: { type: "vllm", base_url: first.origin },
		two: { type: "vllm", base_url: second.origin },
	},
	models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"] }],
};
let router: Pipeline;
beforeEach(() => {
	router = pipeline({ config });
	first.run(ok);
	second.run(ok);
});
const kinds = () => router.attempts.map(({ target, failure }) => `${target} ${failure ?? "ok"}`);

describe("the same target", () => {
	test.each([
		["retry-after", { "retry-after": "0" }],
		["retry-after-ms", { "retry-after-ms": "30" }],
	])("is asked again after a 429 with a short %s, though another is left", async (_, headers) => {
		first.run(inTurn(error("429 Too Many Requests", headers), ok));
		const answer = await router.send(call);
		expect([answer.status, answer.headers.get("x-router-attempts")]).toEqual([200, "2"]);
		expect(kinds()).toEqual(["one/a rate", "one/a ok"]);
	});

	test("is asked again when Gemini's RetryInfo is short", async () => {
		const details = [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "0.03s" }];
		const body = JSON.stringify([{ error: { code: 429, message: "quota", status: "RESOURCE_EXHAUSTED", details } }]);
		first.run(inTurn(error("429 Too Many Requests", {}, body), ok));
		expect((await router.send(call)).status).toBe(200);
		expect(kinds()).toEqual(["one/a rate", "one/a ok"]);
	});

	test("is asked three times at most", async () => {
		first.run(error("429 Too Many Requests", { "retry-after": "0" }));
		expect((await router.send(call)).headers.get("x-router-provider")).toBe("two");
		expect(kinds()).toEqual(["one/a rate", "one/a rate", "one/a rate", "two/b ok"]);
	});

	test.each(["429 Too Many Requests", "503 Service Unavailable", "529 Overloaded", "504 Gateway Timeout"])(
		"is asked again after a pause where it is the only one: %s",
		async (status) => {
			first.run(inTurn(error(status), ok));
			expect((await router.send(alone)).status).toBe(200);
			expect(first.received.length).toBe(2);
		},
	);

	test("is asked again once after a 500, and then another is", async () => {
		first.run(error("500 Internal Server Error"));
		expect((await router.send(call)).headers.get("x-router-provider")).toBe("two");
		expect(kinds()).toEqual(["one/a transport", "one/a transport", "two/b ok"]);
	});

	test("is waited for no longer than the call has: the client gets the 429 at once", async () => {
		first.run(error("429 Too Many Requests", { "retry-after": "3" }));
		const answer = await router.send(alone, { headers: { "x-router-timeout-ms": "1000" } });
		expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "3"]);
		expect(first.received.length).toBe(1);
	});

	test("is not waited for longer than 5 s: the client is told when to come back", async () => {
		first.run(error("503 Service Unavailable", { "retry-after": "6" }));
		const answer = await router.send(alone);
		expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "6"]);
	});

	test.each(["400 Bad Request", "404 Not Found", "409 Conflict", "422 Unprocessable Entity"])(
		"is never asked again after a %s",
		async (status) => {
			first.run(error(status));
			await router.send(alone);
			expect(first.received.length).toBe(1);
		},
	);

	test("is not asked again once the client has left the pause", async () => {
		first.run(error("429 Too Many Requests", { "retry-after": "4" }));
		const client = new AbortController();
		const arrived = first.next();
		const answer = router.send(alone, { signal: client.signal });
		await arrived;
		await Bun.sleep(30);
		client.abort();
		expect((await answer).status).toBe(499);
		expect(first.received.length).toBe(1);
		expect(router.settled.map(({ status }) => status)).toEqual([499]);
	});
});

test("when every target has failed, those that may be tried again are", async () => {
	first.run(inTurn(error("503 Service Unavailable"), ok));
	second.run(resetsBeforeHeaders);
	expect((await router.send(call)).status).toBe(200);
	expect(kinds()).toEqual(["one/a overloaded", "two/b transport", "two/b transport", "one/a ok"]);
});

test("a target that was too slow while another was left is given its time when that one fails", async () => {
	const slow: Script = async (connection) => {
		await Bun.sleep(1_500);
		await streams(goodStream(2))(connection);
	};
	first.run(slow);
	second.run(error("404 Not Found"));
	const patient = pipeline({
		config: { ...config, models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"], hedge: false }] },
	});
	// 20 calls of a few ms are known: three times that is under the least there is, so the limit is set by hand.
	const answer = await patient.send({ ...call, stream: true }, { headers: { "x-router-first-token-ms": "500" } });
	expect(answer.status).toBe(504);
	expect(patient.attempts.map(({ failure }) => failure)).toEqual(["timeout", "not_found", "timeout"]);
});

test("the retry budget keeps the same target from being asked again, and sends the call elsewhere", async () => {
	first.run(resetsBeforeHeaders);
	const { state } = router.context;
	for (let spent = 0; spent < 200; spent++) state.retries.spend(performance.now());
	const steps: string[] = [];
	const sink = router.context.sinks[0]!;
	Object.assign(sink, {
		attemptFollowed: ({ how, provider }: { how: string; provider: string }) => steps.push(`${how} ${provider}`),
	});
	// The second may turn over in between, and ten more are then allowed: what is refused is told.
	expect((await router.send(call)).headers.get("x-router-provider")).toBe("two");
	expect(steps.at(-1)).toBe("failover one");
	expect(steps[0]).toMatch(/^(refused|retry) one$/);
});

test("a prompt too long for one goes to the next", async () => {
	first.run(
		error(
			"400 Bad Request",
			{},
			'{"error":{"message":"maximum context length is 8192 tokens","code":"context_length_exceeded"}}',
		),
	);
	expect((await router.send(call)).headers.get("x-router-provider")).toBe("two");
});

test("a prompt that was filtered goes nowhere else", async () => {
	first.run(error("400 Bad Request", {}, '{"error":{"message":"no","code":"content_filter"}}'));
	const answer = await router.send(call);
	expect(clientError(await answer.text()).code).toBe("content_filter");
	expect(second.received).toBeEmpty();
});

describe("deadlines of the call's own", () => {
	test("x-router-first-token-ms makes a silent target one to leave", async () => {
		first.run(neverAnswers);
		second.run(streams(goodStream(1)));
		const answer = await router.send({ ...call, stream: true }, { headers: { "x-router-first-token-ms": "500" } });
		expect(answer.headers.get("x-router-provider")).toBe("two");
		await answer.text();
	});

	test("x-router-stall-ms ends a stream that falls silent", async () => {
		first.run(begins(goodStream(2).slice(0, 2)));
		const answer = await router.send({ ...alone, stream: true }, { headers: { "x-router-stall-ms": "80" } });
		expect(clientError(eventData(await answer.text()).at(-1)!).message).toContain("no byte for 0.1 s");
	});

	test.each(["x-router-first-token-ms", "x-router-stall-ms", "x-router-priority"])(
		"%s that is none is a 400",
		async (name) => {
			const answer = await router.send(call, { headers: { [name]: "soon" } });
			expect(answer.status).toBe(400);
			expect(clientError(await answer.text()).param).toBe(name);
		},
	);

	test("an alias's timeouts hold for its calls", async () => {
		first.run(neverAnswers);
		const quick = pipeline({
			config: {
				...config,
				models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"], timeouts: { total: "500ms" } }],
			},
		});
		expect((await quick.send(call)).headers.get("x-router-provider")).toBe("two");
	});
});

test("a client that is to come back is told when the first of all its targets may take it", async () => {
	first.run(error("429 Too Many Requests", { "retry-after": "30" }));
	second.run(error("429 Too Many Requests", { "retry-after": "999999999" }));
	const answer = await router.send(call);
	expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "30"]);
});

describe("a model that is being loaded", () => {
	const agent = (script: Script) => {
		first.run(script);
		return pipeline({
			config: { timeouts: { first_token: "500ms" } },
			env: { LOCAL_AGENT_URL: first.origin },
		});
	};
	const loads =
		(comment: string): Script =>
		async (connection) => {
			await begins([])(connection);
			for (let step = 0; step < 15; step++) {
				await connection.write(comment);
				await Bun.sleep(60);
			}
			await connection.write(goodStream(1).join(""));
			connection.end();
		};

	test("is not a slow one: its agent's comments give it time", async () => {
		const local = agent(loads(": qwen: starting, loading weights 40 %\n\n"));
		const text = await (await local.send({ ...call, model: "local/qwen", stream: true })).text();
		expect(eventData(text).at(-1)).toBe("[DONE]");
		expect(local.attempts.map(({ failure }) => failure)).toEqual([undefined]);
		// What it took to load says nothing of the next call.
		expect(local.context.state.targets.of("local/qwen").firstToken.count).toBe(0);
	});

	test("is a slow one when its agent only says that the connection is open", async () => {
		const local = agent(loads(": keep-alive\n\n"));
		expect((await local.send({ ...call, model: "local/qwen", stream: true })).status).toBe(504);
	});
});
