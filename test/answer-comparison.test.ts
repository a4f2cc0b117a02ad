/** What two answers to one call have in common: how they end, and which tools they ask for. */
import { describe, expect, test } from "bun:test";
import { compareAnswers } from "../src/openai/answer-comparison.ts";
import type { Json } from "./kit/exchange.ts";

const tool = (name: string, args: string): Json => ({
	id: crypto.randomUUID(),
	type: "function",
	function: { name, arguments: args },
});
const asks = (...tool_calls: Json[]): Json => ({
	message: { role: "assistant", content: null, tool_calls },
	finish_reason: "tool_calls",
});
const says = (content: string, finish_reason: string | null = "stop"): Json => ({
	message: { role: "assistant", content },
	finish_reason,
});
const compared = (one: Json, other: Json) =>
	compareAnswers(JSON.stringify({ choices: [one] }), JSON.stringify({ choices: [other] }));
const sameTools = (one: Json[], other: Json[]) => compared(asks(...one), asks(...other))?.sameToolCalls;

test.each([
	["no JSON", "what"],
	["no answer", "{}"],
	["null", "null"],
	["an error", '{"error":{"message":"no"}}'],
])("nothing is told of %s", (_, text) => {
	expect(compareAnswers(text, JSON.stringify({ choices: [says("a")] }))).toBeUndefined();
	expect(compareAnswers(JSON.stringify({ choices: [says("a")] }), text)).toBeUndefined();
});

test("choices that are none are passed over", () => {
	const odd = JSON.stringify({
		choices: [null, 7, { message: 3, finish_reason: 4 }, { message: { tool_calls: [null, 3] } }],
	});
	expect(compareAnswers(odd, odd)).toEqual({ sameFinishReason: undefined, sameToolCalls: true });
});

describe("tool calls differ", () => {
	test.each([
		["by their tool", [tool("look", "{}")], [tool("find", "{}")]],
		["by an argument", [tool("look", '{"at":1}')], [tool("look", '{"at":2}')]],
		["by one that is missing", [tool("look", "{}")], []],
		["by how often they are asked for", [tool("look", "{}"), tool("look", "{}")], [tool("look", "{}")]],
		["by the order of a list", [tool("look", '{"at":[1,2]}')], [tool("look", '{"at":[2,1]}')]],
		["by arguments of which one is no JSON", [tool("look", "{")], [tool("look", "{}")]],
	])("%s", (_, one, other) => {
		expect(sameTools(one, other)).toBe(false);
		expect(sameTools(other, one)).toBe(false);
	});

	test("where a tool takes any text, by that", () => {
		const custom = (input: string): Json => ({ id: "c", type: "custom", custom: { name: "run", input } });
		expect(sameTools([custom("ls")], [custom("ls ")])).toBe(false);
		expect(sameTools([custom("ls")], [custom("ls")])).toBe(true);
	});
});

describe("tool calls are the same", () => {
	test.each([
		["whatever their ids", [tool("look", '{"at":1}')], [tool("look", '{"at":1}')]],
		[
			"in another order of their fields, with other white space",
			[tool("look", '{"a":1,"b":"é"}')],
			[tool("look", ' { "b":"\\u00e9", "a":1 } ')],
		],
		["in another order", [tool("look", "{}"), tool("find", "{}")], [tool("find", "{}"), tool("look", "{}")]],
		["without arguments and with none", [tool("look", "")], [tool("look", "{}")]],
	])("%s", (_, one, other) => {
		expect(sameTools(one, other)).toBe(true);
	});

	test("in the form that OpenAI had before there were several", () => {
		const old = { message: { function_call: { name: "look", arguments: "{}" } }, finish_reason: "function_call" };
		expect(compared(old, asks(tool("look", "{}")))).toEqual({ sameFinishReason: false, sameToolCalls: true });
	});
});

test("where neither asks for tools nothing is said of them, whatever they say", () => {
	expect(compared(says("one"), says("another"))).toEqual({ sameFinishReason: true, sameToolCalls: undefined });
	expect(compared(says("one"), says("another", "length"))).toEqual({
		sameFinishReason: false,
		sameToolCalls: undefined,
	});
});

test("where one tells no finish reason nothing is said of it", () => {
	expect(compared(says("one", null), says("two"))?.sameFinishReason).toBeUndefined();
});
