/** A model with several targets: which failure goes on to the next, and what is told of it, exactly once. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { goodStream, textEvent } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, neverAnswers, resetsBeforeHeaders, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

const ANSWER =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}';
const ok = answers("200 OK", ANSWER);
const refuses = (status: string, message = "no", code = "c") =>
	answers(status, JSON.stringify({ error: { message, type: "t", param: "temperature", code } }));
const call = { model: "fast", messages: [{ role: "user", content: "hi" }] };
const config = {
	timeouts: { total: "300ms", first_token: "300ms", stall: "300ms" },
	providers: {
		one: { type: "vllm", base_url: first.origin },
		two: { type: "vllm", base_url: second.origin },
		keyless: { type: "openai" },
	},
	models: [
		{ name: "fast", targets: ["one/a"], fallback: [{ provider: "two", model: "b" }] },
		{ name: "half", targets: ["keyless/gpt-5-mini", "two/b"] },
		{ name: "lost", targets: ["keyless/gpt-5-mini"] },
		{ name: "last-resort", targets: ["one/a"], fallback: ["keyless/gpt-5-mini"] },
	],
};

let router: Pipeline;
beforeEach(() => {
	router = pipeline({ config });
	first.run(ok);
	second.run(ok);
});
const kinds = () => router.attempts.map(({ target, failure, status }) => [target, failure, status]);

describe("goes on to the next target", () => {
	const dead = "after a dead one, once that was tried twice";
	test(dead, async () => {
		first.run(resetsBeforeHeaders);
		const answer = await router.send(call);
		expect([answer.status, await answer.text()]).toEqual([200, ANSWER]);
		expect(answer.headers.get("x-router-provider")).toBe("two");
		expect(answer.headers.get("x-router-model")).toBe("b");
		expect(answer.headers.get("x-router-attempts")).toBe("3");
		expect(first.received.length).toBe(2);
		expect(kinds()).toEqual([
			["one/a", "transport", undefined],
			["one/a", "transport", undefined],
			["two/b", undefined, 200],
		]);
		expect(JSON.parse(second.received[0]!.body).model).toBe("b");
	});

	test.each([
		["401 Unauthorized", "auth"],
		["402 Payment Required", "quota"],
		["404 Not Found", "not_found"],
		["429 Too Many Requests", "rate"],
		["501 Not Implemented", "unsupported"],
		["503 Service Unavailable", "overloaded"],
	] as const)("after a %s, without asking the first again", async (status, kind) => {
		first.run(refuses(status));
		expect((await router.send(call)).status).toBe(200);
		expect(kinds()).toEqual([
			["one/a", kind, Number.parseInt(status, 10)],
			["two/b", undefined, 200],
		]);
	});

	test("after one that never answers", async () => {
		first.run(neverAnswers);
		const unhedged = pipeline({ config: { ...config, models: [{ ...config.models[0], hedge: false }] } });
		expect((await unhedged.send(call)).status).toBe(200);
		expect(unhedged.attempts.map(({ target, failure }) => [target, failure])).toEqual([
			["one/a", "timeout"],
			["two/b", undefined],
		]);
	});

	test("after one that a larger context would have served", async () => {
		first.run(refuses("400 Bad Request", "too long", "context_length_exceeded"));
		expect((await router.send(call)).status).toBe(200);
	});

	test("after one whose 400 says that it can't do what another could; where no other is left, its words come back", async () => {
		const words = "This model does not support assistant message prefill.";
		first.run(refuses("400 Bad Request", words));
		expect((await router.send(call)).status).toBe(200);
		expect(kinds()).toEqual([
			["one/a", "unsupported", 400],
			["two/b", undefined, 200],
		]);
		second.run(refuses("422 Unprocessable Entity", "x is not supported with this model"));
		const answer = await router.send(call);
		expect([answer.status, clientError(await answer.text())]).toEqual([
			422,
			{ message: "x is not supported with this model", type: "t", param: "temperature", code: "c" },
		]);
	});

	test("past one whose vendor is known to refuse it, which costs no attempt", async () => {
		const prefilled = [...call.messages, { role: "assistant", content: "The" }];
		const claude = { type: "anthropic", base_url: first.origin, api_key: "k" };
		const models = [{ name: "fast", targets: ["claude/claude-opus-5", "two/b"] }];
		router = pipeline({ config: { ...config, models, providers: { ...config.providers, claude } } });
		expect((await router.send({ model: "fast", messages: prefilled })).status).toBe(200);
		expect([kinds(), first.received.length]).toEqual([[["two/b", undefined, 200]], 0]);
	});

	test("past one whose key is missing, which costs no attempt", async () => {
		const answer = await router.send({ ...call, model: "half" });
		expect(answer.status).toBe(200);
		expect(answer.headers.get("x-router-attempts")).toBe("1");
		expect(kinds()).toEqual([["two/b", undefined, 200]]);
	});

	test("in a stream that failed before its first event", async () => {
		first.run(streams(['data: {"error":{"message":"boom","code":500}}\n\n']));
		second.run(streams(goodStream(2)));
		const answer = await router.send({ ...call, stream: true });
		expect(answer.headers.get("x-router-provider")).toBe("two");
		expect(eventData(await answer.text()).at(-1)).toBe("[DONE]");
	});
});

describe("does not go on", () => {
	test.each(["400 Bad Request", "409 Conflict", "413 Content Too Large", "422 Unprocessable Entity"])(
		"after a %s, which is the caller's own fault and comes back as it was",
		async (status) => {
			first.run(refuses(status, "temperature is too hot"));
			const answer = await router.send(call);
			expect(answer.status).toBe(Number.parseInt(status, 10));
			expect(clientError(await answer.text())).toEqual({
				message: "temperature is too hot",
				type: "t",
				param: "temperature",
				code: "c",
			});
			expect(second.received).toBeEmpty();
		},
	);

	test("after the first events of a stream have left", async () => {
		first.run(async (connection) => {
			await begins([textEvent("a")])(connection);
			await Bun.sleep(20); // else the end overtakes the first event
			connection.end();
		});
		const answer = await router.send({ ...call, stream: true });
		expect(clientError(eventData(await answer.text()).at(-1)!).code).toBe("upstream_truncated");
		expect(second.received).toBeEmpty();
	});

	test.each([false, true])("after the client has left (streamed: %p)", async (stream) => {
		first.run(neverAnswers);
		const arrived = first.next();
		const client = new AbortController();
		const answer = router.send({ ...call, stream }, { signal: client.signal });
		await arrived;
		client.abort();
		expect((await answer).status).toBe(499);
		expect(second.received).toBeEmpty();
		expect(kinds()).toEqual([["one/a", "cancelled", undefined]]);
		expect(router.settled.map(({ status, error, attempts }) => [status, error, attempts])).toEqual([
			[499, "cancelled", 1],
		]);
	});

	test("after the time the client gave for the whole call", async () => {
		first.run(neverAnswers);
		second.run(neverAnswers);
		const answer = await router.send(call, { headers: { "x-router-timeout-ms": "60" } });
		expect(answer.status).toBe(504);
		expect(second.received).toBeEmpty();
		expect(kinds()).toEqual([["one/a", "timeout", undefined]]);
	});
});

describe("when no target answers", () => {
	test("the last failure is told", async () => {
		first.run(refuses("404 Not Found", "no such model"));
		second.run(answers("429 Too Many Requests", '{"error":{"message":"slow"}}', { "retry-after": "9" }));
		const answer = await router.send(call);
		expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "9"]);
		expect(answer.headers.get("x-router-attempts")).toBe("2");
		expect(answer.headers.get("x-router-provider")).toBe("two");
		expect(clientError(await answer.text()).message).toBe("two: slow");
	});

	test("a wait of more than a minute is told with x-should-retry: false, unless another target may be asked sooner", async () => {
		const limited = (seconds: string) =>
			answers("429 Too Many Requests", '{"error":{"message":"slow"}}', { "retry-after": seconds });
		first.run(limited("90"));
		second.run(limited("3600"));
		const told = async () => {
			const { headers } = await router.send(call);
			return [headers.get("retry-after"), headers.get("x-should-retry")];
		};
		expect(await told()).toEqual(["90", "false"]);
		first.run(limited("10"));
		expect(await told()).toEqual(["10", null]);
	});

	test("a last resort without a key does not hide why the others failed", async () => {
		first.run(refuses("503 Service Unavailable", "busy"));
		const answer = await router.send({ ...call, model: "last-resort" });
		expect(answer.status).toBe(503);
		expect(clientError(await answer.text())).toMatchObject({ message: "one: busy", code: "upstream_overloaded" });
	});

	test("whom the client and the log see is whose failure is told, not a last resort that was not asked", async () => {
		first.run(refuses("404 Not Found", "no such model"));
		const answer = await router.send({ ...call, model: "last-resort" });
		expect(clientError(await answer.text()).message).toContain("no such model");
		expect(answer.headers.get("x-router-provider")).toBe("one");
		expect(router.settled[0]).toMatchObject({ provider: "one", attempts: 1 });
	});

	test("a missing key is told by its setting", async () => {
		const answer = await router.send({ ...call, model: "lost" });
		expect(answer.status).toBe(503);
		expect(clientError(await answer.text()).message).toContain("providers.keyless.api_key");
		expect(router.attempts).toBeEmpty();
		expect(router.settled[0]).toMatchObject({ attempts: 0, provider: "keyless", error: "provider_key_missing" });
	});

	test("an address where nobody listens says so in words of ours", async () => {
		const gone = startFaultUpstream();
		gone.stop();
		const lonely = pipeline({ config: { providers: { box: { type: "vllm", base_url: gone.origin } } } });
		const answer = await lonely.send({ ...call, model: "box/m" });
		const { message, code } = clientError(await answer.text());
		expect([answer.status, code]).toEqual([502, "upstream_unreachable"]);
		expect(message).toBe("box can't be reached: nothing listens there (connection refused)");
	});
});

describe("each call settles exactly once", () => {
	test("answered whole, with what it cost and why it went there", async () => {
		first.run(refuses("503 Service Unavailable"));
		await (await router.send(call)).text();
		expect(router.started).toBe(1);
		expect(router.settled).toEqual([
			expect.objectContaining({
				requested: "fast",
				model: "fast",
				provider: "two",
				status: 200,
				attempts: 2,
				tokens: { input: 3, output: 2 },
				reason: "models: fast",
				stream: false,
			}),
		]);
		expect(router.settled[0]?.error).toBeUndefined();
	});

	test("streamed to its end", async () => {
		first.run(streams(goodStream(2)));
		await (await router.send({ ...call, stream: true })).text();
		const [settled] = await router.settledCalls(1);
		expect(settled).toMatchObject({ status: 200, provider: "one", stream: true, tokens: { input: 5, output: 3 } });
		expect(settled?.firstTokenMs).toBeNumber();
		expect(kinds()).toEqual([["one/a", undefined, 200]]);
	});

	test("broken inside the stream: the status it would have had, and the code its client saw", async () => {
		first.run(async (connection) => {
			await begins([textEvent("a")])(connection);
			await Bun.sleep(20); // else the end overtakes the first event
			connection.end();
		});
		await (await router.send({ ...call, stream: true })).text();
		await router.settledCalls(1);
		expect(router.settled.map(({ status, error }) => [status, error])).toEqual([[502, "upstream_truncated"]]);
		expect(kinds()).toEqual([["one/a", "truncated", 200]]);
	});

	test("left by its client inside the stream", async () => {
		first.run(begins([textEvent("a")]));
		const answer = await router.send({ ...call, stream: true });
		const reader = answer.body!.getReader();
		await reader.read();
		await reader.cancel();
		await router.settledCalls(1);
		expect(router.settled.map(({ status, error }) => [status, error])).toEqual([[499, "cancelled"]]);
		expect(kinds()).toEqual([["one/a", "cancelled", 200]]);
	});

	test.each([
		[{ model: "no-such-model" }, 404, "model_not_found"],
		[{ model: 5 }, 400, "invalid_value"],
	])("refused before any upstream: %j", async (wrong, status, code) => {
		expect((await router.send({ ...call, ...wrong })).status).toBe(status);
		expect(router.settled).toEqual([
			expect.objectContaining({ status, error: code, attempts: 0, provider: "none", model: "unknown" }),
		]);
	});
});
