/** An upstream that answers in another form than it was asked for has answered; one whose answer holds none has not. */
import { afterAll, describe, expect, test } from "bun:test";
import { choiceEvent, DONE, event, finishEvent, textEvent, usageEvent } from "./kit/events.ts";
import { chunksOf, eventData, type Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, streams } from "./kit/faults.ts";
import { pipeline } from "./kit/pipeline.ts";
import { folded } from "./kit/resumed.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});
const router = pipeline({
	config: {
		providers: {
			box: { type: "openai-compatible", base_url: first.origin },
			spare: { type: "openai-compatible", base_url: second.origin },
			anthropic: { api_key: "anthropic-key-for-tests", base_url: first.origin },
		},
		models: [{ name: "both", policy: "order", targets: ["box/m", "spare/m"] }],
	},
});
const call = { model: "box/m", messages: [{ role: "user", content: "hi" }] };
const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
const answer = (message: Json, more: Json = {}) =>
	JSON.stringify({
		id: "chatcmpl-kit",
		object: "chat.completion",
		created: 1,
		model: "m",
		choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason: "stop" }],
		usage,
		...more,
	});
const stream = (more: Json = {}) => router.send({ ...call, stream: true, ...more });
const EVENTS = [
	choiceEvent({ role: "assistant", content: "" }),
	textEvent("hel"),
	textEvent("lo"),
	finishEvent(),
	usageEvent(),
	DONE,
];

describe("a streamed call that is answered with one JSON", () => {
	test.each(["application/json", "application/json; charset=utf-8", "text/event-stream", "text/plain", ""])(
		"of type %p gets it as a stream",
		async (type) => {
			first.run(answers("200 OK", answer({ content: "hello" }), type ? { "content-type": type } : {}));
			const got = await stream();
			expect(got.headers.get("content-type")).toStartWith("text/event-stream");
			const text = await got.text();
			expect(folded(text)).toMatchObject({ content: "hello", finish: "stop" });
			expect(text).toEndWith(DONE);
			expect(text).not.toContain('"usage":{"prompt_tokens');
			expect(first.received).toHaveLength(1);
		},
	);

	test("gets the usage where it has asked for it, and is billed for it", async () => {
		first.run(answers("200 OK", answer({ content: "hello" })));
		const chunks = chunksOf(await (await stream({ stream_options: { include_usage: true } })).text());
		expect(chunks.at(-1)).toMatchObject({ choices: [], usage });
		expect((await router.settledCalls(1)).at(-1)?.tokens).toMatchObject({ input: 5, output: 3 });
	});

	test("gets its tool calls, each with its place", async () => {
		const calls = ["one", "two"].map((name) => ({ id: name, type: "function", function: { name, arguments: "{}" } }));
		first.run(answers("200 OK", answer({ content: null, tool_calls: calls })));
		const got = folded(await (await stream()).text());
		expect(got.calls).toEqual([
			{ name: "one", arguments: "{}", id: "one" },
			{ name: "two", arguments: "{}", id: "two" },
		]);
	});

	test("of a vendor with words of its own gets that, too", async () => {
		const message = {
			id: "msg_1",
			type: "message",
			role: "assistant",
			model: "claude",
			content: [{ type: "text", text: "hello" }],
		};
		const body = JSON.stringify({ ...message, stop_reason: "end_turn", usage: { input_tokens: 5, output_tokens: 3 } });
		first.run(answers("200 OK", body));
		const text = await (await stream({ model: "anthropic/claude-x", max_tokens: 5 })).text();
		expect(folded(text)).toMatchObject({ content: "hello", finish: "stop" });
	});

	test("which is an error, or half of an answer, fails", async () => {
		first.run(answers("200 OK", '{"error":{"message":"it broke","code":500}}'));
		expect((await stream()).status).toBe(502);
		first.run(answers("200 OK", answer({ content: "hello" }).slice(0, -20)));
		expect((await stream()).status).toBe(502);
	});
});

test.each(["application/json", "text/plain", "application/octet-stream", ""])(
	"events of type %p are the stream that was asked for",
	async (type) => {
		first.run(answers("200 OK", EVENTS.join(""), type ? { "content-type": type } : {}));
		const text = await (await stream()).text();
		expect(folded(text)).toMatchObject({ content: "hello", finish: "stop" });
		expect(eventData(text).at(-1)).toBe("[DONE]");
	},
);

describe("a whole call that is answered with a stream", () => {
	test.each(["text/event-stream", "application/json", ""])("of type %p gets it whole, with its usage", async (type) => {
		first.run(answers("200 OK", `: hello\n\n${EVENTS.join("")}`, type ? { "content-type": type } : {}));
		const got = await router.send(call);
		expect(got.headers.get("content-type")).toStartWith("application/json");
		expect(await got.json()).toMatchObject({
			object: "chat.completion",
			choices: [{ message: { role: "assistant", content: "hello" }, finish_reason: "stop" }],
			usage,
		});
	});

	test("of a vendor with words of its own gets that, too", async () => {
		const events = [
			{
				type: "message_start",
				message: { id: "m", model: "claude", content: [], usage: { input_tokens: 5, output_tokens: 1 } },
			},
			{ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
			{ type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "hello" } },
			{ type: "content_block_stop", index: 0 },
			{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 3 } },
			{ type: "message_stop" },
		];
		first.run(streams(events.map((each) => `event: ${each.type}\n${event(each)}`)));
		const got = await router.send({ ...call, model: "anthropic/claude-x", max_tokens: 5 });
		expect(await got.json()).toMatchObject({
			choices: [{ message: { content: "hello" }, finish_reason: "stop" }],
			usage,
		});
	});

	test("that breaks off, or tells an error, fails and goes elsewhere", async () => {
		second.run(answers("200 OK", answer({ content: "from elsewhere" })));
		for (const events of [EVENTS.slice(0, 3), [event({ error: { message: "it broke", code: 503 } })]]) {
			first.run(streams(events));
			expect(await (await router.send({ ...call, model: "both" })).text()).toContain("from elsewhere");
		}
	});
});

describe("a good status over nothing is no answer: another target is asked", () => {
	const rows: [string, string][] = [
		["no choice", answer({}, { choices: [] })],
		["choices that are null", answer({}, { choices: null })],
		["choices that are none", answer({}, { choices: "none" })],
		["no word of choices", "{}"],
		["a choice without a message", answer({}, { choices: [{ index: 0, finish_reason: "stop" }] })],
		["a message that is null", answer({}, { choices: [{ index: 0, message: null, finish_reason: "stop" }] })],
	];
	test.each(rows)("%s", async (_, body) => {
		second.run(answers("200 OK", answer({ content: "from elsewhere" })));
		first.run(answers("200 OK", body));
		expect(await (await router.send({ ...call, model: "both" })).text()).toContain("from elsewhere");
		const alone = await router.send(call);
		expect([alone.status, await alone.text()]).toMatchObject([502, expect.stringContaining("without a choice")]);
		const streamed = await router.send({ ...call, model: "both", stream: true });
		expect(await streamed.text()).toContain("from elsewhere");
	});

	test("a text completion without a text", async () => {
		first.run(answers("200 OK", '{"choices":[{"index":0,"finish_reason":"stop"}]}'));
		expect((await router.send({ model: "box/m", prompt: "hi" }, { operation: "completions" })).status).toBe(502);
	});

	test.each(['{"object":"list","data":[]}', '{"object":"list","data":null}', "{}"])("embeddings %s", async (body) => {
		const good = '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}]}';
		second.run(answers("200 OK", good));
		first.run(answers("200 OK", body));
		const got = await router.send({ model: "both", input: "hi" }, { operation: "embeddings" });
		expect(await got.text()).toContain("0.5");
	});

	test("a stream that ends with no choice", async () => {
		second.run(streams(EVENTS));
		for (const events of [[usageEvent(), DONE], [DONE], [event({ choices: [] }), event({ choices: null }), DONE]]) {
			first.run(streams(events));
			const text = await (await router.send({ ...call, model: "both", stream: true })).text();
			expect(folded(text).content).toBe("hello");
		}
	});

	test("but an answer that says nothing is one, and so is a stream whose first chunk has no choice yet", async () => {
		first.run(answers("200 OK", answer({ content: null })));
		expect((await router.send(call)).status).toBe(200);
		const filters = event({ id: "", object: "", created: 0, model: "", choices: [], prompt_filter_results: [] });
		first.run(streams([filters, ...EVENTS]));
		expect(folded(await (await stream()).text()).content).toBe("hello");
	});
});
