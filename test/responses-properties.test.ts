/** Of `/v1/responses`, whatever comes: a request is refused by name or becomes a chat, and whatever an upstream then says becomes events in order. */
import { expect, test } from "bun:test";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { RouterError } from "../src/errors.ts";
import type { Json } from "./kit/exchange.ts";
import { type Random, random } from "./kit/random.ts";
import { valueText } from "./kit/random-json.ts";
import { responseEvents } from "./kit/response-events.ts";
import { called, chunk, fn, output, readResponses, saying, user, written } from "./kit/responses.ts";

const ITEMS = [
	user("hi"),
	{ type: "message", role: "assistant", content: [{ type: "output_text", text: "So.", annotations: [] }] },
	{ role: "developer", content: [{ type: "input_text", text: "Be brief." }] },
	{ type: "reasoning", summary: [], encrypted_content: "gAAAA", content: null },
	called("a", { namespace: "crm" }),
	output("a", [{ type: "input_image", image_url: "data:image/png;base64,AA" }]),
	{ type: "custom_tool_call", call_id: "b", name: "patch", input: "x" },
	{ type: "custom_tool_call_output", call_id: "b", output: "y" },
	{ type: "item_reference", id: "rs_1" },
	{ type: "web_search_call" },
	{ type: "compaction_trigger" },
];
const TOOLS = [
	fn("f", { strict: true, parameters: { type: "object" } }),
	{ type: "namespace", name: "crm", tools: [fn("f")] },
	{ type: "custom", name: "patch", format: { type: "text" } },
	{ type: "web_search" },
];
const FIELDS: Json = {
	model: "m",
	input: ITEMS,
	tools: TOOLS,
	tool_choice: { type: "allowed_tools", mode: "auto", tools: [fn("f")] },
	text: { format: { type: "json_schema", name: "n", schema: {} }, verbosity: "low" },
	reasoning: { effort: "low", summary: "auto" },
	instructions: "One.",
	max_output_tokens: 9,
	stream: true,
	include: ["message.output_text.logprobs"],
	stop: ["x"],
	seed: 3,
	metadata: { a: "b" },
};

/** The value with one place in it changed: left out, null, or something else. */
function bent(value: unknown, at: Random): unknown {
	if (typeof value !== "object" || value === null || at.below(6) === 0) {
		return at.below(3) === 0 ? null : JSON.parse(valueText(at, 2).replaceAll("\\ud800", ""));
	}
	if (Array.isArray(value)) {
		const place = at.below(value.length + 1);
		if (at.below(3) === 0) return value.filter((_, index) => index !== place);
		return value.map((item, index) => (index === place ? bent(item, at) : item));
	}
	const names = Object.keys(value);
	const name = at.pick([...names, "type", "content"]);
	const inner = (value as Json)[name];
	return { ...value, [name]: at.below(8) === 0 ? undefined : bent(inner, at) };
}

test("a request that is bent in any place is refused, or becomes a chat that can be asked", () => {
	const at = random(16);
	const seen = { taken: 0, refused: 0 };
	for (let round = 0; round < 3000; round++) {
		const body = at.below(4) === 0 ? bent(bent(FIELDS, at), at) : bent(FIELDS, at);
		try {
			const parsed = readResponses(JSON.stringify(body));
			const { messages } = JSON.parse(parsed.body().raw);
			expect(messages.length).toBeGreaterThan(0);
			const { facts } = parsed;
			facts.promptSizes();
			facts.promptContent();
			facts.canonical(new Set());
			facts.memory(Buffer.from("x"));
			facts.isReasoning("m");
			facts.routingField();
			const call = { id: "req_1", operation: "chat", stream: true, facts, body: parsed.body } as const;
			const stream = openAiResponses.stream(call);
			responseEvents(stream.push(chunk({ content: "Hi" })) + stream.end({ provider: "p", model: "m", attempts: 1 }));
			seen.taken++;
		} catch (thrown) {
			if (!(thrown instanceof RouterError)) throw new Error(`${JSON.stringify(body)}: ${thrown}`, { cause: thrown });
			expect(thrown.status).toBeWithin(400, 500);
			seen.refused++;
		}
	}
	expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(300);
});

const DELTAS: readonly Json[] = [
	{ content: "Hi" },
	{ content: "" },
	{ reasoning_content: "Hm." },
	{ reasoning: "Hm.", reasoning_details: [{ type: "reasoning.text", text: "Hm.", index: 0 }] },
	{ refusal: "No." },
	{ tool_calls: [{ index: 0, id: "a", type: "function", function: { name: "f", arguments: "" } }] },
	{ tool_calls: [{ index: 1, id: "b", function: { name: "patch", arguments: '{"in' } }] },
	{
		tool_calls: [
			{ index: 0, function: { arguments: "{}" } },
			{ index: 1, function: { arguments: 'put":"x"}' } },
		],
	},
	{ tool_calls: [{ index: 2 }] },
	{ tool_calls: [{ id: "c", function: { name: "crm__f", arguments: "{}" } }] },
	{ annotations: [{ type: "url_citation", url_citation: { url: "https://x.example/" } }] },
	{ images: [{ image_url: { url: "data:image/png;base64,AA" } }] },
];

test("pieces of an answer in any order, or bent, become events in order", () => {
	const at = random(61);
	for (let round = 0; round < 1500; round++) {
		const pieces = Array.from({ length: at.below(12) }, () => {
			const delta = at.pick(DELTAS);
			return chunk((at.below(5) === 0 ? bent(delta, at) : delta) as Json);
		});
		const finish = at.pick(["stop", "length", "tool_calls", "content_filter"]);
		responseEvents(written(saying(pieces, finish), { tools: TOOLS }));
		const error = new RouterError("upstream_truncated", "It broke off.");
		responseEvents(written(pieces, { tools: TOOLS }, error));
	}
});

// Work that grew with the square of these would outlast the test.
test("as much as a body may hold is read: names that come to one, messages that become one, tools that are allowed", () => {
	const many = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));
	const spaces = many(11_000, (at) => ({
		type: "namespace",
		name: `ü${String.fromCharCode(0x4e00 + at)}`,
		tools: [fn("f")],
	}));
	const names = JSON.parse(readResponses({ model: "m", input: "hi", tools: spaces }).body().raw).tools.map(
		(tool: { function: { name: string } }) => tool.function.name,
	);
	expect(new Set(names).size).toBe(spaces.length);
	const said = many(11_000, (at) => user([{ type: "input_image", image_url: `https://x.example/${at}` }]));
	const { messages } = JSON.parse(readResponses({ model: "m", input: said }).body().raw);
	expect([messages.length, messages[0].content.length]).toEqual([1, said.length]);
	const tools = many(15_000, (at) => fn(`f${at}`));
	const allowed = { type: "allowed_tools", mode: "required", tools };
	expect(
		JSON.parse(readResponses({ model: "m", input: "hi", tools, tool_choice: allowed }).body().raw).tools.length,
	).toBe(tools.length);
});
