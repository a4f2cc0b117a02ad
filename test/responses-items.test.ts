/** The items of a streamed response: what the model thinks, calls, refuses, cites and shows. */
import { describe, expect, test } from "bun:test";
import { RouterError } from "../src/errors.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { callChunk, chunk, fn, readStream, saying } from "./kit/responses.ts";

describe("what the model thinks is an item of its own", () => {
	test.each([
		["both names", (text: string) => ({ reasoning_content: text, reasoning: text })],
		["DeepSeek's name", (text: string) => ({ reasoning_content: text })],
		["vLLM's name", (text: string) => ({ reasoning: text })],
	])("under %s", (_, delta) => {
		const { types, response } = readStream(
			saying([chunk(delta("I ")), chunk(delta("think.")), chunk({ content: "Hi" })]),
		);
		expect(types.slice(2, 8)).toEqual([
			...[
				"output_item.added",
				"reasoning_summary_part.added",
				"reasoning_summary_text.delta",
				"reasoning_summary_text.done",
			],
			...["reasoning_summary_part.done", "output_item.done"],
		]);
		expect(response["output"]).toMatchObject([
			{ type: "reasoning", summary: [{ type: "summary_text", text: "I think." }] },
			{ type: "message" },
		]);
	});

	test("again where it thinks in between", () => {
		const thought = (text: string) => chunk({ reasoning_content: text });
		const { response } = readStream(
			saying([thought("One."), chunk({ content: "A" }), thought("Two."), callChunk(0, "a", "f", "{}")]),
			{ tools: [fn("f")] },
		);
		expect(response["output"].map(({ type }: Loose) => type)).toEqual([
			"reasoning",
			"message",
			"reasoning",
			"function_call",
		]);
	});

	test("with what its vendor signed, also where that comes last", () => {
		const details = (index: number, more: Json) =>
			chunk({ reasoning_details: [{ type: "reasoning.text", index, ...more }] });
		const pieces = saying([
			chunk({ reasoning_content: "Hm." }),
			details(0, { text: "H" }),
			details(0, { text: "m." }),
			chunk({ content: "Hi" }),
			details(0, { signature: "c2ln" }),
		]);
		expect(readStream(pieces).response["output"][0]).toMatchObject({
			type: "reasoning",
			reasoning_details: [{ type: "reasoning.text", index: 0, text: "Hm.", signature: "c2ln" }],
		});
		const hidden = readStream(saying([chunk({ content: "Hi" }), details(0, { data: "AA" })])).response["output"];
		expect(hidden.map(({ type }: Loose) => type)).toEqual(["message", "reasoning"]);
	});
});

describe("calls", () => {
	const tools = [
		fn("f"),
		fn("g"),
		{ type: "namespace", name: "crm", tools: [fn("find")] },
		{ type: "custom", name: "patch" },
	];

	test("come with their arguments in pieces, the name before them", () => {
		const { types, response } = readStream(
			saying(
				[callChunk(0, "a", "f"), callChunk(0, undefined, undefined, '{"x"'), callChunk(0, undefined, undefined, ":1}")],
				"tool_calls",
			),
			{ tools },
		);
		expect(types.slice(2, -1)).toEqual([
			"output_item.added",
			"function_call_arguments.delta",
			"function_call_arguments.done",
			"output_item.done",
		]);
		expect(response["output"]).toMatchObject([
			{ type: "function_call", call_id: "a", name: "f", arguments: '{"x":1}', status: "completed" },
		]);
	});

	test("side by side keep their own arguments, also where a server gives all of them one index", () => {
		const mixed = [
			callChunk(0, "a", "f", "{"),
			callChunk(1, "b", "g", "["),
			callChunk(0, undefined, undefined, "}"),
			callChunk(1, undefined, undefined, "]"),
		];
		const same = [callChunk(0, "a", "f", "{}"), callChunk(0, "b", "g", "[]")];
		for (const pieces of [mixed, same]) {
			const { response } = readStream(saying(pieces, "tool_calls"), { tools });
			expect(response["output"].map(({ call_id, name, arguments: args }: Loose) => [call_id, name, args])).toEqual([
				["a", "f", "{}"],
				["b", "g", "[]"],
			]);
		}
	});

	test.each([
		["words", { content: "\n" }],
		["thoughts", { reasoning: "Well." }],
		["a picture", { images: [{ image_url: { url: "data:image/png;base64,AAAA" } }] }],
	])("are whole where their arguments go on behind %s", (_, between) => {
		const pieces = [
			callChunk(0, "a", "f", '{"x"'),
			chunk(between),
			callChunk(0, undefined, undefined, ":1}"),
			chunk({ content: "Done." }),
		];
		const { response } = readStream(saying(pieces, "tool_calls"), { tools });
		const calls = response["output"].filter(({ type }: Loose) => type === "function_call");
		expect(calls).toMatchObject([{ call_id: "a", arguments: '{"x":1}', status: "completed" }]);
		const { response: broken } = readStream(
			pieces.slice(0, 2),
			{ tools },
			new RouterError("upstream_truncated", "Cut."),
		);
		expect(broken["output"].map(({ type }: Loose) => type)).not.toContain("function_call");
	});

	test("without an id get one", () => {
		const { response } = readStream(saying([callChunk(0, undefined, "f", "{}")], "tool_calls"), { tools });
		expect(response["output"][0].call_id).toMatch(/^call_./);
	});

	test("have the client's own names", () => {
		const { events, response } = readStream(saying([callChunk(0, "a", "crm__find", "{}")], "tool_calls"), { tools });
		expect(response["output"][0]).toMatchObject({ type: "function_call", name: "find", namespace: "crm" });
		expect(events.find(({ type }) => type === "response.output_item.added")).toMatchObject({
			item: { name: "find", namespace: "crm" },
		});
		expect(events.find(({ type }) => type === "response.function_call_arguments.done")).toMatchObject({ name: "find" });
	});

	test("have them also where the model leaves a namespace out, as long as it is clear which is meant", () => {
		const spaces = ["crm", "erp"].map((name) => ({
			...{ type: "namespace", name },
			tools: [fn(`${name}_only`), fn("both"), fn("f")],
		}));
		const calls = ["crm_only", "both", "f"].map((name, nth) => callChunk(nth, `c${nth}`, name, "{}"));
		const { response } = readStream(saying(calls, "tool_calls"), { tools: [fn("f"), ...spaces] });
		const names = response["output"].map(({ name, namespace }: Loose) => [name, namespace]);
		expect(names).toEqual([
			["crm_only", "crm"],
			["both", undefined],
			["f", undefined],
		]);
	});

	test.each([
		["as it should be", ['{"inp', 'ut":"*** x\\n"}'], "*** x\n"],
		["as the model wrote it instead", ["*** x"], "*** x"],
		["as other JSON", ['{"other":1}'], '{"other":1}'],
	])("of a tool that takes a text bring it %s", (_, pieces, input) => {
		const [first, ...rest] = pieces;
		const sent = saying(
			[callChunk(0, "a", "patch", first), ...rest.map((piece) => callChunk(0, undefined, undefined, piece))],
			"tool_calls",
		);
		const { types, response } = readStream(sent, { tools });
		expect(types.slice(2, -1)).toEqual([
			"output_item.added",
			"custom_tool_call_input.delta",
			"custom_tool_call_input.done",
			"output_item.done",
		]);
		expect(response["output"]).toMatchObject([{ type: "custom_tool_call", call_id: "a", name: "patch", input }]);
	});
});

test("a refusal is a part of its own, behind the words before it", () => {
	const { types, response } = readStream(
		saying([chunk({ content: "Well. " }), chunk({ refusal: "I can't" }), chunk({ refusal: " do that." })]),
	);
	expect(types).toContain("refusal.done");
	expect(response["output"]).toMatchObject([
		{
			content: [
				{ type: "output_text", text: "Well. " },
				{ type: "refusal", refusal: "I can't do that." },
			],
		},
	]);
	const alone = readStream(saying([chunk({ refusal: "No." }), chunk({ content: "But:" })])).response["output"];
	expect(alone.map(({ content }: Loose) => content[0].type)).toEqual(["refusal", "output_text"]);
	const cited = chunk({ annotations: [{ type: "url_citation", url_citation: { url: "https://x.example/" } }] });
	expect(readStream(saying([chunk({ refusal: "No." }), cited])).response["output"]).toMatchObject([
		{ content: [{ type: "refusal", refusal: "No." }] },
	]);
});

test("sources of the words come with them, in this wire's form", () => {
	const cited = { start_index: 0, end_index: 2, url: "https://x.example/", title: "X" };
	const { types, response } = readStream(
		saying([chunk({ content: "Hi" }), chunk({ annotations: [{ type: "url_citation", url_citation: cited }] })]),
	);
	expect(types).toContain("output_text.annotation.added");
	expect(response["output"][0].content[0].annotations).toEqual([{ type: "url_citation", ...cited }]);
});

test("of a source and of a token's probability all is there that the wire asks for, where a server leaves it out", () => {
	const [bare, others] = [{ token: "ü", logprob: -1 }, [{ token: "a", logprob: -2, bytes: null }, { token: "b" }]];
	const content = [{ ...bare, top_logprobs: others }, { ...bare, bytes: null }, { token: "x" }, null];
	const cited = [
		{ url: "https://x.example/" },
		{ title: "no address" },
		{ url: "https://y.example/", start_index: null },
	];
	const { response } = readStream(
		saying([
			chunk({ content: "ü" }, null, { logprobs: { content } }),
			chunk({ annotations: cited.map((url_citation) => ({ type: "url_citation", url_citation })) }),
		]),
		{ tool_choice: { type: "allowed_tools", tools: [fn("f")] }, tools: [fn("f")] },
	);
	const bytes = [195, 188];
	const citation = (url: string) => ({ type: "url_citation", url, title: "", start_index: 0, end_index: 0 });
	expect(response).toMatchObject({
		tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "function", name: "f" }] },
		output: [
			{
				content: [
					{
						logprobs: [
							{ ...bare, bytes, top_logprobs: [{ token: "a", logprob: -2, bytes: [97] }] },
							{ ...bare, bytes, top_logprobs: [] },
						],
						annotations: [citation("https://x.example/"), citation("https://y.example/")],
					},
				],
			},
		],
	});
});

test("probabilities come with the words they are of", () => {
	const log = { token: "Hi", logprob: -0.5, bytes: [72, 105], top_logprobs: [] };
	const { events, response } = readStream(saying([chunk({ content: "Hi" }, null, { logprobs: { content: [log] } })]), {
		top_logprobs: 1,
	});
	expect(events.find(({ type }) => type === "response.output_text.delta")!["logprobs"]).toEqual([log]);
	expect(response["output"][0].content[0].logprobs).toEqual([log]);
});

test("a picture that the model makes is an item", () => {
	const image = { type: "image_url", image_url: { url: "data:image/webp;base64,AAAA" } };
	const { response } = readStream(saying([chunk({ content: "See:" }), chunk({ images: [image] })]));
	expect(response["output"][1]).toMatchObject({
		type: "image_generation_call",
		status: "completed",
		output_format: "webp",
		result: "AAAA",
	});
});
