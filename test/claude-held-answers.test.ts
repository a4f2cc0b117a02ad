/** Answers that are held back or come by a tool, on their way through the pipeline: broken streams, silence, the cache, the client's time. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { choiceEvent, DONE, finishEvent, goodStream, textEvent, usageEvent } from "./kit/events.ts";
import { chunksOf, type Json, type Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins, streams } from "./kit/faults.ts";
import { folded } from "./kit/folded.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const first = startFaultUpstream();
const second = startFaultUpstream();
afterAll(() => {
	first.stop();
	second.stop();
});

const config = {
	timeouts: { first_token: "1s", stall: "1s" },
	providers: {
		claude: { type: "anthropic", base_url: first.origin, api_key: "k" },
		two: { type: "vllm", base_url: second.origin },
	},
	models: [{ name: "city", policy: "order", targets: ["claude/claude-opus-4-1", "two/b"], cache: { enabled: true } }],
};
let router: Pipeline;
beforeEach(() => {
	router = pipeline({ config, cached: true });
});

const CITY = '{"name":"Bern","people":134000}';
const schema = {
	type: "object",
	properties: { name: { type: "string" }, people: { type: "integer" } },
	required: ["name", "people"],
};
const call = {
	model: "city",
	stream: true,
	stream_options: { include_usage: true },
	messages: [{ role: "user", content: "Which?" }],
	response_format: { type: "json_schema", json_schema: { name: "city", schema } },
};
const held = { ...call, reasoning_effort: "low" };

const event = (data: Json & { type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
const START = event({
	type: "message_start",
	message: { id: "m", model: "claude-opus-4-1", usage: { input_tokens: 5 } },
});
const block = (content_block: Json) => event({ type: "content_block_start", index: 0, content_block });
const delta = (of: Json) => event({ type: "content_block_delta", index: 0, delta: of });
const PING = event({ type: "ping" });
const STOP = event({ type: "content_block_stop", index: 0 });
const USE = block({ type: "tool_use", id: "toolu_1", name: "json_answer", input: {} });
const input = (partial_json: string) => delta({ type: "input_json_delta", partial_json });
const END = [
	STOP,
	event({ type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 9 } }),
	event({ type: "message_stop" }),
];
const asked = (json: string) => [START, PING, USE, PING, ...(json.match(/.{1,9}/g) ?? []).map(input), ...END];
const asVllm = (json: string) => [
	choiceEvent({ role: "assistant", content: "" }),
	...(json.match(/.{1,4}/g) ?? []).map(textEvent),
	finishEvent(),
	usageEvent(),
	DONE,
];
const attempts = () => router.attempts.map(({ target, failure }) => [target, failure]);
const contentOf = (text: string) =>
	chunksOf(text)
		.map(({ choices }: Loose) => choices[0]?.delta.content ?? "")
		.join("");
const choiceOf = (text: string): Loose => folded(text)["choices"][0];

describe("an answer that goes on at once", () => {
	test("and breaks off goes on elsewhere, and its client reads one JSON", async () => {
		first.run(streams(asked(CITY).slice(0, 6)));
		second.run(streams(asVllm(CITY)));
		const text = await (await router.send(call)).text();
		expect([choiceOf(text).message.content, choiceOf(text).finish_reason]).toEqual([CITY, "stop"]);
		expect(text).not.toContain("tool_calls");
		expect(attempts()).toEqual([
			["claude/claude-opus-4-1", "truncated"],
			["two/b", undefined],
		]);
	});
});

describe("an answer that is held back", () => {
	test("comes in one piece, with what was counted", async () => {
		first.run(
			streams([
				START,
				block({ type: "thinking", thinking: "", signature: "" }),
				delta({ type: "thinking_delta", thinking: "Hm." }),
				STOP,
				...asked(CITY).slice(1),
			]),
		);
		const text = await (await router.send(held)).text();
		const { message, finish_reason } = choiceOf(text);
		expect([message.content, message.reasoning_content, finish_reason]).toEqual([CITY, "Hm.", "stop"]);
		expect(folded(text)["usage"]).toMatchObject({ prompt_tokens: 5, completion_tokens: 9 });
		expect((await router.settledCalls(1))[0]).toMatchObject({ tokens: { input: 5, output: 9 } });
	});

	test.each([
		["breaks off", [START, PING, USE, input('{"na')], "truncated"],
		["is of another form", asked('{"name":7}'), "unsupported"],
		[
			"is an error",
			[START, PING, USE, event({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })],
			"overloaded",
		],
	] as const)("goes to the next target where it %s, as if nothing had come", async (_, pieces, failure) => {
		first.run(streams(pieces));
		second.run(streams(goodStream(2)));
		const answer = await router.send(held);
		expect(answer.headers.get("x-router-model")).toBe("b");
		expect(choiceOf(await answer.text()).message.content.length).toBeGreaterThan(0);
		expect(attempts()).toEqual([
			["claude/claude-opus-4-1", failure],
			["two/b", undefined],
		]);
	});

	test("is not given up while it comes, though it takes longer than a first token may", async () => {
		first.run(async (connection) => {
			await begins([START, PING, USE])(connection);
			for (const piece of [...asked(CITY).slice(4, -3), PING]) {
				await Bun.sleep(200);
				await connection.write(piece);
			}
			await connection.write(END.join(""));
			connection.end();
		});
		const text = await (await router.send(held)).text();
		expect([choiceOf(text).message.content, attempts()]).toEqual([CITY, [["claude/claude-opus-4-1", undefined]]]);
	});

	test("is given up where it falls silent", async () => {
		first.run(begins([START, PING, USE, input('{"na')]));
		second.run(streams(goodStream(2)));
		expect((await router.send(held)).headers.get("x-router-model")).toBe("b");
		expect(attempts()[0]).toEqual(["claude/claude-opus-4-1", "timeout"]);
	});

	test("that calls the caller's own tool goes on from the call", async () => {
		const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
		const own = block({ type: "tool_use", id: "toolu_2", name: "look", input: {} });
		first.run(begins([START, PING, own, input('{"at":')]));
		const body = (await router.send({ ...call, tools })).body!;
		let text = "";
		for await (const bytes of body) {
			text += Buffer.from(bytes).toString();
			if (text.includes('\\"at\\":')) break;
		}
		expect(text).toContain('"name":"look"');
	});
});

test.each([false, true])("what an answer that is not used cost is known; streamed: %p", async (stream) => {
	const content = [{ type: "tool_use", id: "toolu_1", name: "json_answer", input: { name: 7 } }];
	const message = {
		id: "m",
		model: "m",
		content,
		stop_reason: "tool_use",
		usage: { input_tokens: 5, output_tokens: 9 },
	};
	first.run(stream ? streams(asked('{"name":7}')) : answers("200 OK", JSON.stringify(message)));
	second.run(
		stream ? streams(goodStream(2)) : answers("200 OK", JSON.stringify({ choices: [{ message: { content: "{}" } }] })),
	);
	const { stream: _stream, stream_options: _options, ...whole } = held;
	const answer = await router.send(stream ? held : whole);
	await answer.text();
	expect(router.attempts[0]).toMatchObject({ failure: "unsupported", tokens: { input: 5, output: 9 } });
});

test.each([
	["goes on at once", call],
	["is held back", held],
])("an answer that %s is kept like any other: again streamed, and whole", async (_, ask) => {
	first.run(streams(asked(CITY)));
	await (await router.send(ask)).text();
	await router.settledCalls(1);
	first.run((connection) => connection.destroy());
	const again = await router.send(ask);
	expect([again.headers.get("x-router-cache"), contentOf(await again.text())]).toEqual(["hit", CITY]);
	const { stream: _stream, stream_options: _options, ...whole } = ask;
	const answer = await router.send(whole);
	expect(answer.headers.get("x-router-cache")).toBe("hit");
	expect(((await answer.json()) as Loose)["choices"][0].message).toMatchObject({ content: CITY });
});
