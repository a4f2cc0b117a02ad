/** A fault of the router's own code ends the call it befell, says so where people look, and nothing else. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { Answer, Provider, StreamDecoder } from "../src/providers/provider.ts";
import { clientError } from "./kit/contract.ts";
import { goodStream, textEvent } from "./kit/events.ts";
import { eventData } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const upstream = startFaultUpstream();
afterAll(() => upstream.stop());

const SECRET = "the-prompt-nobody-may-repeat";
const ANSWER =
	'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}';
const call = { model: "box/m", messages: [{ role: "user", content: SECRET }] };
const config = {
	providers: { box: { type: "vllm", base_url: upstream.origin } },
	models: [{ name: "two", targets: ["box/m", "dummy"] }],
};
const bug = new TypeError(`undefined is not an object: ${SECRET}`);
const fails = (): never => {
	throw bug;
};

/** A pipeline whose provider has this fault. */
const faulty = (fault: Partial<Provider>): Pipeline =>
	pipeline({ config, change: (provider) => ({ ...provider, ...fault }) });

/** A decoder that fails at its nth event. */
const failingAt = (nth: number): Partial<Provider> => ({
	decoder(): StreamDecoder {
		let count = 0;
		return { push: () => (++count >= nth ? fails() : { delta: true }), end: () => undefined };
	},
});

beforeEach(() => upstream.run(answers("200 OK", ANSWER)));

describe.each([
	["encode", { encode: fails }, false, 0],
	["decode", { decode: fails }, false, 1],
	["the making of a decoder", { decoder: fails }, true, 1],
	["a decoder at the first event", failingAt(1), true, 1],
] as [string, Partial<Provider>, boolean, number][])("an exception in %s", (_, fault, stream, attempts) => {
	test("is a 500 that tells the client nothing, is told to the log, and settles once", async () => {
		if (stream) upstream.run(streams(goodStream()));
		const router = faulty(fault);
		const answer = await router.send({ ...call, stream });
		const text = await answer.text();
		expect([answer.status, clientError(text).code]).toEqual([500, "internal_error"]);
		expect(text).not.toContain(SECRET);
		expect(router.faults).toEqual([bug]);
		expect(router.settled.map(({ status, error }) => [status, error])).toEqual([[500, "internal_error"]]);
		expect(router.attempts.map(({ failure }) => failure)).toEqual(Array(attempts).fill("internal"));
	});

	test("is not tried again, here or elsewhere: it would fail there, too, and cost money", async () => {
		if (stream) upstream.run(streams(goodStream()));
		const router = faulty(fault);
		expect((await router.send({ ...call, model: "two", stream })).status).toBe(500);
		expect(upstream.received.length).toBe(attempts);
	});
});

test("an exception inside a stream that has begun ends it with an error event, never with [DONE]", async () => {
	upstream.run(async (connection) => {
		await streams([textEvent("a")], "until-close")({ ...connection, end: () => {} });
		await Bun.sleep(20); // else both events are one write and the first has not left
		await connection.write(textEvent("b"));
	});
	const router = faulty(failingAt(2));
	const answer = await router.send({ ...call, stream: true });
	expect(answer.status).toBe(200);
	const seen = eventData(await answer.text());
	expect(seen.length).toBe(2);
	expect(clientError(seen[1]!).code).toBe("internal_error");
	expect(seen[1]).not.toContain(SECRET);
	expect(router.faults).toEqual([bug]);
	expect(router.settled.map(({ status, error }) => [status, error])).toEqual([[500, "internal_error"]]);
	expect(router.attempts.map(({ failure }) => failure)).toEqual(["internal"]);
});

test("the next call is served as if nothing had happened", async () => {
	let broken = true;
	const router = pipeline({
		config,
		change: (provider) => ({
			...provider,
			decode: (...args): Answer => (broken ? fails() : (provider.decode(...args) as Answer)),
		}),
	});
	expect((await router.send(call)).status).toBe(500);
	broken = false;
	expect((await router.send(call)).status).toBe(200);
});

describe("an upstream that sends JSON of a senseless shape", () => {
	const good = goodStream(1);
	test.each([
		'{"choices":{}}',
		'{"choices":[null]}',
		'{"choices":"text"}',
		'{"choices":[5]}',
		"[]",
		"null",
		"5",
		'"text"',
	])("in a stream has that event dropped: %s", async (senseless) => {
		upstream.run(streams([`data: ${senseless}\n\n`, ...good]));
		const router = pipeline({ config });
		const answer = await router.send({ ...call, stream: true });
		expect(answer.status).toBe(200);
		const seen = eventData(await answer.text());
		expect(seen).not.toContain(senseless);
		expect(seen.at(-1)).toBe("[DONE]");
		expect((await router.settledCalls(1))[0]?.dropped).toBe(1);
		expect(router.faults).toBeEmpty();
	});

	test.each([
		'{"choices":null,"usage":5}',
		'{"choices":{},"usage":[]}',
		'{"choices":[null],"usage":{"prompt_tokens":"x"}}',
	])("as a whole answer without a choice is a 502: %s", async (senseless) => {
		upstream.run(answers("200 OK", senseless));
		const router = pipeline({ config });
		expect((await router.send(call)).status).toBe(502);
		expect(router.faults).toBeEmpty();
	});

	test.each(["5", "[]", "null", '"text"', '{"prompt_tokens":"x"}'])(
		"in the place of usage has that estimated: %s",
		async (senseless) => {
			const choices = [
				{ index: 0, message: { role: "assistant", content: "four tokens are said" }, finish_reason: "stop" },
			];
			upstream.run(answers("200 OK", `{"choices":${JSON.stringify(choices)},"usage":${senseless}}`));
			const router = pipeline({ config });
			const answer = await router.send(call);
			expect([answer.status, await answer.json()]).toMatchObject([
				200,
				{ choices, usage: { completion_tokens: 5, estimated: true } },
			]);
			expect(router.faults).toBeEmpty();
		},
	);

	test.each(["null", "5", '"text"'])("as a whole answer that is no object is a 502: %s", async (senseless) => {
		upstream.run(answers("200 OK", senseless));
		expect((await pipeline({ config }).send(call)).status).toBe(502);
	});
});

describe("names that no header can hold", () => {
	test.each(["模型", "é🙂", "a\nx-injected: 1", "a\u0000b", "\ud800"])(
		"a model called %j is answered",
		async (name) => {
			const answer = await pipeline({ config }).send({ ...call, model: `box/${name}` });
			expect(answer.status).toBe(200);
			expect(answer.headers.get("x-router-model")).toMatch(/^[\x20-\x7e]+$/);
			expect(answer.headers.get("x-injected")).toBeNull();
			expect(JSON.parse(upstream.received[0]!.body).model).toBe(
				name.toWellFormed() === name ? name : JSON.parse('"\\ud800"'),
			);
		},
	);

	test("a key called Équipe 模 reaches llm-d as a fairness id of plain letters", async () => {
		const router = pipeline({
			config: { keys: [{ name: "Équipe 模", key: "sk-of-the-team" }] },
			env: { LLMD_BASE_URL: upstream.origin },
		});
		const answer = await router.send(
			{ ...call, model: "llm-d/m" },
			{ headers: { authorization: "Bearer sk-of-the-team" } },
		);
		expect(answer.status).toBe(200);
		expect(upstream.received[0]?.headers.get("x-llm-d-inference-fairness-id")).toBe("%C3%89quipe %E6%A8%A1");
	});
});
