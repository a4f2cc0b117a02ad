/** Whether an agent repeats itself is read from its history, in every wire; what is not the same twice is no repetition. */
import { describe, expect, test } from "bun:test";
import { ResponsesFacts } from "../src/dialects/openai-responses/request-facts.ts";
import { ARGUMENT_FIELDS, repeatedRounds as roundsIn } from "../src/openai/tool-rounds.ts";
import { clientRequests } from "./kit/client-recordings.ts";
import type { Json } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";

/** As whichever wire has it. */
const repeatedRounds = (text: string, argumentFields = Object.values(ARGUMENT_FIELDS).flat()) =>
	roundsIn({ list: Buffer.from(text), argumentFields });

/** A round: the name of a tool, what it is asked, what it gives. */
type Round = readonly [name: string, args: Json, result: string];
type Wire = (round: Round, id: string) => Json[];

const WIRES: Readonly<Record<string, Wire>> = {
	chat: ([name, args, content], id) => [
		{
			role: "assistant",
			content: `I try ${id}.`,
			tool_calls: [{ id, type: "function", function: { name, arguments: JSON.stringify(args) } }],
		},
		{ role: "tool", tool_call_id: id, content },
	],
	"functions of chats": ([name, args, content], id) => [
		{ role: "assistant", content: id, function_call: { name, arguments: JSON.stringify(args) } },
		{ role: "function", name, content },
	],
	messages: ([name, input, content], id) => [
		{
			role: "assistant",
			content: [
				{ type: "text", text: `I try ${id}.` },
				{ type: "tool_use", id, name, input },
			],
		},
		{ role: "user", content: [{ type: "tool_result", tool_use_id: id, content, is_error: true }] },
	],
	responses: ([name, args, output], id) => [
		{ type: "reasoning", id: `rs_${id}`, summary: [] },
		{ type: "function_call", id: `fc_${id}`, call_id: id, name, arguments: JSON.stringify(args) },
		{ type: "function_call_output", call_id: id, output },
	],
	"custom tools of responses": ([name, args, output], id) => [
		{ type: "custom_tool_call", call_id: id, name, input: JSON.stringify(args) },
		{ type: "custom_tool_call_output", call_id: id, output },
	],
	gemini: ([name, args, output], id) => [
		{ role: "model", parts: [{ functionCall: { id, name, args } }] },
		{ role: "user", parts: [{ functionResponse: { id, name, response: { output } } }] },
	],
};
const asked = { role: "user", content: "Mend it." };
const A: Round = ["look", { path: "/a" }, "no such file"];
const B: Round = ["list", { path: "/" }, "a b c"];
const C: Round = ["edit", { path: "/a", text: "x" }, "done"];

describe.each(Object.entries(WIRES))("in the wire of %s", (_, wire) => {
	const rounds = (...all: readonly (Round | Json)[]) => {
		const messages = all.flatMap((each, at) =>
			Array.isArray(each) ? wire(each as unknown as Round, `id_${at}`) : [each as Json],
		);
		const found = repeatedRounds(JSON.stringify([asked, ...messages]));
		return found && [found.count, found.distinct];
	};

	test("rounds that are all new repeat nothing", () => {
		expect([rounds(A), rounds(A, B), rounds(A, B, C)]).toEqual([undefined, undefined, undefined]);
	});

	test("the same call with another result repeats nothing, nor does the same result of another call", () => {
		const running = (percent: number): Round => ["poll", { job: 7 }, `${percent} %`];
		expect(rounds(running(10), running(20), running(30))).toBeUndefined();
		expect(
			rounds(["look", { path: "/a" }, "no"], ["look", { path: "/b" }, "no"], ["look", { path: "/c" }, "no"]),
		).toBeUndefined();
	});

	test("tests that fail the same between edits are work, and no circle", () => {
		const edit = (text: string): Round => ["edit", { text }, "done"];
		expect(rounds(A, edit("1"), A, edit("2"), A, edit("3"))).toBeUndefined();
		expect(rounds(A, edit("1"), A, edit("2"), A)).toEqual([1, 1]);
	});

	test("the same round again counts each time", () => {
		expect([rounds(A, A), rounds(A, A, A), rounds(B, A, A, A, A)]).toEqual([
			[1, 1],
			[2, 1],
			[3, 1],
		]);
	});

	test("a circle of several rounds is one, too", () => {
		expect(rounds(A, B, A, B)).toEqual([2, 2]);
		expect(rounds(A, B, C, A, B, C, A, B, C)).toEqual([6, 3]);
	});

	test("a word of the user's that is new begins anew, the same word does not", () => {
		expect(rounds(A, A, { role: "user", content: "Try another way." }, A)).toEqual([1, 1]);
		expect(rounds(A, A, { role: "user", content: "Try another way." })).toBeUndefined();
		const goOn = { role: "user", content: "Continue." };
		expect(rounds(A, goOn, A, goOn, A, goOn, A)).toEqual([3, 1]);
	});
});

test("calls at once are one round, in whichever order their results come", () => {
	const call = (id: string, path: string) => ({
		id,
		type: "function",
		function: { name: "look", arguments: JSON.stringify({ path }) },
	});
	const round = (one: string, other: string, isTurned: boolean) => {
		const results = [
			{ role: "tool", tool_call_id: one, content: "x" },
			{ role: "tool", tool_call_id: other, content: "y" },
		];
		return [
			{ role: "assistant", content: null, tool_calls: [call(one, "/a"), call(other, "/b")] },
			...(isTurned ? results.reverse() : results),
		];
	};
	const found = repeatedRounds(JSON.stringify([asked, ...round("1", "2", false), ...round("3", "4", true)]));
	expect(found).toMatchObject({ count: 1, distinct: 1 });
});

test("all calls of one circle have one run; after something new it is another", () => {
	const runOf = (...all: Round[]) =>
		repeatedRounds(JSON.stringify([asked, ...all.flatMap((round, at) => WIRES["chat"]!(round, `${at}`))]))?.run;
	expect(runOf(B, A, A)).toBe(runOf(B, A, A, A)!);
	expect(runOf(B, A, A)).not.toBe(runOf(B, A, A, C, A)!);
	const inAnother = [B, A, A].flatMap((round, at) => WIRES["chat"]!(round, `other_${at}`));
	expect(repeatedRounds(JSON.stringify([asked, ...inAnother]))?.run).not.toBe(runOf(B, A, A)!);
});

test("marks of what is to be cached, and Claude Code's reminders, change nothing", () => {
	const [call, result] = WIRES["messages"]!(A, "1");
	const [block] = (result as { content: Json[] }).content;
	const marked = {
		role: "user",
		content: [
			{ ...block, content: [{ type: "text", text: A[2] }], cache_control: { type: "ephemeral" } },
			{ type: "text", text: "<system-reminder>now 3 todos</system-reminder>" },
		],
	};
	expect(repeatedRounds(JSON.stringify([asked, call, result, call, marked]))).toMatchObject({ count: 1 });
});

test("what Codex and gemini-cli write anew around the same output changes nothing", () => {
	const codex = (chunk: string, time: string): Round => [
		"exec_command",
		{ cmd: "ls" },
		`Chunk ID: ${chunk}\nWall time: ${time} seconds\nProcess exited with code 1\nOutput:\nno such file\n`,
	];
	const gemini = (group: number): Round => [
		"run",
		{ command: "ls" },
		`Output: no such file\nProcess Group PGID: ${group}\n`,
	];
	for (const [wire, one, other] of [
		["responses", codex("ab12cd", "0.05"), codex("ef34ab", "0.06")],
		["gemini", gemini(23003), gemini(23015)],
	] as const) {
		const messages = [one, other].flatMap((round, at) => WIRES[wire]!(round, `${at}`));
		expect(repeatedRounds(JSON.stringify([asked, ...messages]))).toMatchObject({ count: 1 });
	}
});

describe("names and ids that are no texts, and whose `toString` is none,", () => {
	const odd = { toString: 1, valueOf: 1 };
	const action = { type: "exec", command: ["ls"], arguments: "{}" };
	test.each<[string, Json[]]>([
		[
			"of functions of chats",
			[
				{ role: "assistant", function_call: { name: odd, arguments: "{}" } },
				{ role: "function", content: "no" },
			],
		],
		[
			"of tools of chats",
			[
				{ role: "assistant", tool_calls: [{ id: odd, function: { name: "look", arguments: "{}" } }] },
				{ role: "tool", content: "no" },
			],
		],
		[
			"of parts",
			[
				{
					role: "assistant",
					content: "",
					parts: [{ functionCall: { id: odd, name: odd, args: { arguments: "{}" } } }],
				},
				{ role: "user", parts: [{ functionResponse: { response: odd } }] },
			],
		],
		[
			"of items",
			[
				{ type: "local_shell_call", call_id: odd, action },
				{ type: "local_shell_call_output", call_id: odd, output: odd },
			],
		],
		[
			"of blocks",
			[
				{ role: "assistant", content: [{ type: "tool_use", id: odd, name: odd, input: { a: 1 } }] },
				{ role: "user", content: [{ type: "tool_result", content: [odd] }] },
			],
		],
	])("%s are a round like any other", (_, round) => {
		expect(repeatedRounds(JSON.stringify([asked, ...round, ...round, ...round]))).toMatchObject({
			count: 2,
			distinct: 1,
		});
		const other = JSON.parse(JSON.stringify(round).replaceAll('"toString":1', '"toString":2')) as Json[];
		expect(repeatedRounds(JSON.stringify([asked, ...round, ...other]))?.count).not.toBe(2);
	});
});

test("an item whose id is no text is none that was stored, in a request that refers to some", () => {
	const odd = { type: "function_call", id: { toString: 1, valueOf: 1 }, call_id: "c", name: "look", arguments: "{}" };
	const stored = { ...odd, id: "fc_1" };
	const request = {
		body: { model: "m", tools: [{}] },
		tools: { leftOut: new Set() },
		input: [odd, { type: "item_reference", id: "fc_1" }],
		earlier: { items: new Map([["fc_1", stored]]) },
	};
	const facts = new ResponsesFacts(request as never, () => {
		throw new Error("no chat is asked for");
	});
	expect(JSON.parse(facts.toolHistory()!.list.toString())).toEqual([odd, stored]);
});

test("what is no list of messages, or has no tools, repeats nothing", () => {
	for (const text of [
		'"hello"',
		"[]",
		"[1,2,3]",
		'[["a"],["a"]]',
		'[{"role":"user","content":"\\"arguments\\":\\"x\\""}]',
	]) {
		expect(repeatedRounds(text)).toBeUndefined();
	}
});

test("a history that is far longer than what is looked at is still one circle", () => {
	const messages = Array.from({ length: 2_000 }, (_, at) => WIRES["chat"]!(A, `${at}`)).flat();
	expect(repeatedRounds(JSON.stringify([asked, ...messages]))!.count).toBeGreaterThan(100);
});

const { describe: recorded, test: recordedTest } = needing("recordings");
recorded("recorded clients", () => {
	recordedTest.each([
		["claude-code-turns", "messages"],
		["codex-http-turns", "input"],
		["opencode-chat", "messages"],
		["gemini-cli-turns", "contents"],
	])("%s, whose tools were told the same each turn, repeat themselves in their last turn", (file, field) => {
		const last = clientRequests(file).at(-1)!;
		expect(repeatedRounds(JSON.stringify(last.body[field]))?.count).toBeGreaterThan(0);
	});
});
