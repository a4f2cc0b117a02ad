/** What the router adds to a call of its own accord is never its caller's fault. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { RefusedAdditions } from "../src/proxy/refused-additions.ts";
import { makeRefused, SharedRefusedAdditions } from "../src/proxy/shared-refused-additions.ts";
import { choiceEvent, DONE, finishEvent, textEvent, usageEvent } from "./kit/events.ts";
import { chunksOf, type Json } from "./kit/exchange.ts";
import { type Script, startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});
let router: Pipeline;
beforeEach(() => {
	router = pipeline({
		config: {
			providers: {
				box: { type: "openai-compatible", base_url: first.origin },
				venice: { api_key: "venice-key-for-tests", base_url: first.origin },
				one: { type: "vllm", base_url: first.origin },
				two: { type: "vllm", base_url: second.origin },
			},
			models: [{ name: "fast", policy: "order", targets: ["one/a", "two/b"] }],
		},
	});
});

const call = { model: "box/m", stream: true, messages: [{ role: "user", content: "hi" }] };
const good = streams([
	choiceEvent({ role: "assistant", content: "" }),
	textEvent("hello"),
	finishEvent(),
	usageEvent(),
	DONE,
]);
const bodyOf = (upstream: typeof first, nth: number) => JSON.parse(upstream.received[nth]!.body) as Json;
/** Refuses a body that has this in it. */
const refusing =
	(what: string, status: string, words: string, type = "application/json", otherwise: Script = good): Script =>
	(connection) =>
		connection.request.body.includes(what)
			? answers(status, words, { "content-type": type })(connection)
			: otherwise(connection);

const WORDS: readonly [string, string, string, string?][] = [
	[
		"Databricks",
		"400 Bad Request",
		'{"error_code":"BAD_REQUEST","message":"Bad request: json: unknown field \\"stream_options\\"\\n"}',
	],
	[
		"Mistral",
		"422 Unprocessable Entity",
		'{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error"}',
	],
	[
		"FastAPI",
		"422 Unprocessable Entity",
		'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{}}]}',
	],
	[
		"OpenAI",
		"400 Bad Request",
		'{"error":{"message":"Unrecognized request argument supplied","type":"invalid_request_error","param":"stream_options","code":null}}',
	],
	[
		"Google",
		"400 Bad Request",
		'[{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \\"stream_options\\": Cannot find field.","status":"INVALID_ARGUMENT"}}]',
	],
	[
		"Venice",
		"400 Bad Request",
		'{"error":[{"code":"unrecognized_keys","keys":["stream_options"],"message":"Unrecognized key(s) in object"}]}',
	],
	["plain text", "400 Bad Request", "stream options are not supported by this model", "text/plain"],
	[
		"a Python server",
		"500 Internal Server Error",
		`{"error":"generate() got an unexpected keyword argument 'stream_options'"}`,
	],
];

describe("an upstream that refuses stream_options", () => {
	test.each(WORDS.map(([who, status, words, type = "application/json"]) => [who, status, words, type] as const))(
		"in the words of %s is asked once more without it, and from then on at once",
		async (_, status, words, type) => {
			first.run(refusing("stream_options", status, words, type));
			expect(await (await router.send(call)).text()).toContain("hello");
			expect(first.received.map(({ body }) => body.includes("stream_options"))).toEqual([true, false]);
			expect(await (await router.send(call)).text()).toContain("hello");
			expect(first.received.map(({ body }) => body.includes("stream_options"))).toEqual([true, false, false]);
			expect((await router.settledCalls(2)).map(({ status }) => status)).toEqual([200, 200]);
		},
	);

	test("gets what its client has set there, once the router's own is out of it", async () => {
		const refusal = '{"error":{"message":"stream_options.include_usage is not supported"}}';
		first.run(refusing('"include_usage":true', "400 Bad Request", refusal));
		expect((await router.send({ ...call, stream_options: { include_usage: false } })).status).toBe(200);
		expect(bodyOf(first, 1)["stream_options"]).toEqual({ include_usage: false });
	});

	test("is not asked again where its client has asked for it", async () => {
		first.run(refusing("stream_options", WORDS[0]![1], WORDS[0]![2]));
		const answer = await router.send({ ...call, stream_options: { include_usage: true } });
		expect([answer.status, await answer.text()]).toMatchObject([400, expect.stringContaining("stream_options")]);
		expect(first.received).toHaveLength(1);
	});

	test("and the call besides is told why the call is refused; that the target is well without it is not known yet", async () => {
		const other = answers("400 Bad Request", '{"error":{"message":"messages are too odd"}}');
		first.run(refusing("stream_options", WORDS[0]![1], WORDS[0]![2], undefined, other));
		expect(await (await router.send(call)).text()).toContain("too odd");
		await router.send(call);
		expect(first.received.map(({ body }) => body.includes("stream_options"))).toEqual([true, false, true, false]);
	});

	test.each([
		`{"message":"[{'type': 'float_type', 'loc': ('body', 'top_p'), 'msg': 'odd', 'input': {'top_p': 'x', WHAT}}]"}`,
		`{"error":{"message":"odd top_p: [{\\"type\\": \\"float_type\\", \\"input\\": {\\"top_p\\": 1, WHAT}}]"}}`,
	])(
		"but only by quoting the call, which is refused for its client's own field, is not asked again: %s",
		async (words) => {
			const quoting: Script = (connection) => {
				const { top_p, stream_options } = JSON.parse(connection.request.body);
				const what = stream_options ? "'stream_options': {}" : "'none': {}";
				return (top_p ? answers("400 Bad Request", words.replace("WHAT", what)) : good)(connection);
			};
			first.run(quoting);
			expect((await router.send({ ...call, top_p: 1 })).status).toBe(400);
			expect(first.received).toHaveLength(1);
			await router.send(call);
			expect(first.received.at(-1)!.body).toContain("stream_options");
		},
	);

	test("whatever is in the call is asked once more only, and nothing is remembered", async () => {
		first.run(answers("400 Bad Request", '{"error":{"message":"no stream_options here, ever"}}'));
		expect((await router.send(call)).status).toBe(400);
		expect(first.received).toHaveLength(2);
		await router.send(call);
		expect(first.received.map(({ body }) => body.includes("stream_options"))).toEqual([true, false, true, false]);
	});
});

test("a refusal that names something else, or nothing, is the call's own: it is not asked again", async () => {
	for (const words of ['{"error":{"message":"temperature must be below 2"}}', "", "<html>"]) {
		first.run(answers("400 Bad Request", words));
		expect((await router.send(call)).status).toBe(400);
		expect(first.received).toHaveLength(1);
	}
});

test("a vLLM that refuses continuous_usage_stats is still asked for the usage", async () => {
	const words = '{"error":{"message":"stream_options.continuous_usage_stats: Extra inputs are not permitted"}}';
	first.run(refusing("continuous_usage_stats", "400 Bad Request", words));
	expect(await (await router.send({ ...call, model: "fast" })).text()).toContain("hello");
	expect(first.received.map((_, nth) => bodyOf(first, nth)["stream_options"])).toEqual([
		{ include_usage: true, continuous_usage_stats: true },
		{ include_usage: true },
	]);
	expect(second.received).toHaveLength(0);
});

test("a vendor that refuses its own default is asked without it, also for a whole answer", async () => {
	const whole = '{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}';
	const words =
		'{"error":"Invalid request parameters","context":{"issues":[{"path":["venice_parameters"],"message":"Unrecognized"}]}}';
	first.run(refusing("venice_parameters", "400 Bad Request", words, undefined, answers("200 OK", whole)));
	const answer = await router.send({ model: "venice/m", messages: call.messages });
	expect(await answer.text()).toContain("hello");
	expect(first.received).toHaveLength(2);
});

test("a target that takes no beginning of an answer is not given one a second time", async () => {
	const breaks: Script = async (connection) => {
		await begins([choiceEvent({ role: "assistant", content: "" }), textEvent("hel")])(connection);
		await Bun.sleep(20);
		connection.destroy();
	};
	const whole = streams([textEvent("hel"), textEvent("lo"), finishEvent(), DONE]);
	const words = '{"error":{"message":"continue_final_message is not supported"}}';
	first.run(breaks);
	second.run(refusing("continue_final_message", "400 Bad Request", words, undefined, whole));
	for (let nth = 0; nth < 2; nth++) {
		const chunks = chunksOf(await (await router.send({ ...call, model: "fast" })).text()) as {
			choices?: { delta: Json }[];
		}[];
		expect(chunks.map(({ choices }) => choices?.[0]?.delta["content"] ?? "").join("")).toBe("hello");
	}
	expect(second.received.map(({ body }) => body.includes("continue_final_message"))).toEqual([true, false, false]);
});

test("that a target takes no beginning is not remembered where the same call without it was no better", async () => {
	const breaks: Script = async (connection) => {
		await begins([choiceEvent({ role: "assistant", content: "" }), textEvent("hel")])(connection);
		await Bun.sleep(20);
		connection.destroy();
	};
	first.run(breaks);
	second.run(answers("400 Bad Request", '{"error":{"message":"the last message, from the assistant, is too odd"}}'));
	await (await router.send({ ...call, model: "fast" })).text();
	const isBegun = second.received.map(({ body }) => body.includes("continue_final_message"));
	expect(isBegun.slice(0, 2)).toEqual([true, false]);
	expect(router.context.state.refused.of("two/b")).toBeUndefined();
});

test("what was refused is forgotten after an hour, and of each target by itself", () => {
	let now = 0;
	const refused = new RefusedAdditions(() => now);
	refused.add("a", "stream_options");
	expect(refused.of("a")).toEqual(new Set(["stream_options"]));
	expect(refused.of("b")).toBeUndefined();
	now = 3_600_000;
	expect(refused.of("a")).toBeUndefined();
});

test("what a target has refused in one thread all know, for an hour on each one's clock, and of a thousand targets", () => {
	let now = 10_000;
	const memory = makeRefused();
	const [main, one, two] = [0, 5_000, 7].map(
		(offset, thread) => new SharedRefusedAdditions(memory, thread, offset, () => now - offset),
	) as [SharedRefusedAdditions, SharedRefusedAdditions, SharedRefusedAdditions];
	expect([main, one, two].map(({ hasAny }) => hasAny)).toEqual([false, false, false]);
	one.add("a", "stream_options");
	two.add("a", "continuous_usage_stats");
	for (const each of [main, one, two]) {
		expect([each.hasAny, each.of("b")]).toEqual([true, undefined]);
		expect(each.of("a")).toEqual(new Set(["stream_options", "continuous_usage_stats"]));
	}
	now += 3_599_999;
	expect([one.of("a")?.size, two.of("a")?.size]).toEqual([2, 2]);
	now += 1;
	expect([one.of("a"), two.of("a")]).toEqual([undefined, undefined]);
	for (let at = 0; at <= 1_000; at++) [one, two][at % 2]!.add(`target ${at}`, "stream_options");
	expect(["target 0", "target 1", "target 1000"].map((target) => main.of(target)?.size)).toEqual([undefined, 1, 1]);
});
