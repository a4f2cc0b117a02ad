/** Items of `/v1/responses` that are only looked through: taken and refused as when they are read, and sent on as they would be then. */
import { describe, expect, test } from "bun:test";
import { estimatedPrompt } from "../src/accounts/usage/token-estimate.ts";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { requestIn } from "../src/dialects/openai-responses/request-facts.ts";
import { RouterError } from "../src/errors.ts";
import type { ParsedRequest } from "../src/openai/call.ts";
import type { ResponsesSupport } from "../src/vendors.ts";
import type { Json } from "./kit/exchange.ts";
import { type Random, random } from "./kit/random.ts";
import { valueText } from "./kit/random-json.ts";
import { called, fn, output, readResponses, user } from "./kit/responses.ts";

const SUPPORTS: readonly ResponsesSupport[] = [
	{ isOpenAi: true, runsTools: true, encrypts: "own" },
	{ isOpenAi: false, runsTools: true, encrypts: "any" },
	{ isOpenAi: false, runsTools: false },
];
const plainOf = ({ facts }: ParsedRequest) => requestIn({ facts }).plain;

/** The same request, with a field in it that no scan reads. */
const unscanned = (json: string) => json.replace(/"input":\[\{(\}?)/, (_, end) => `"input":[{"\\u0078":1${end || ","}`);
const withoutIt = (json: string) => JSON.parse(json, (name, value) => (name === "x" ? undefined : value));

/** What becomes of a request: its chat, and how servers of each kind get it; or why it is refused. */
function outcome(json: string) {
	try {
		const parsed = readResponses(json);
		const own = SUPPORTS.map((support) => {
			const sent = parsed.responses?.own("n", support, true);
			return sent && { ...sent, body: withoutIt(Buffer.concat(sent.body).toString()) };
		});
		return { parsed, told: { chat: parsed.body().raw, own, leftOut: parsed.leftOut?.() } };
	} catch (thrown) {
		if (!(thrown instanceof RouterError)) throw thrown;
		const { message, param } = thrown.body.error;
		return { told: { message, param } };
	}
}

const text = (words: string, type = "input_text") => ({ type, text: words });
const assistant = (content: unknown) => ({ type: "message", id: "msg_0a", role: "assistant", content });
const THOUGHT = { type: "reasoning", id: "rs_0a", summary: [{ type: "summary_text", text: "Hm." }] };
/** Conversations of all that is looked through. */
const CONVERSATIONS: readonly (readonly Json[])[] = [
	[user("hi"), assistant([text("So.", "output_text")]), user([text("And?"), text("Well?")])],
	[{ role: "developer", content: "Be brief." }, { role: "system", content: [text("Be kind.")] }, user("é 🙂")],
	[user("hi"), called("a"), called("b", { id: "fc_0b" }), output("b"), output("a", [text("1")]), user("so?")],
	[user("look"), called("a"), output("a", [{ type: "input_image", image_url: "data:image/png;base64,AAAA" }])],
	[user([{ type: "input_image", image_url: "https://x.example/a.png", detail: "low", file_id: null }])],
	[user("no?"), assistant([{ type: "refusal", refusal: "No." }]), user([])],
	[user("hi"), { ...THOUGHT, encrypted_content: "gAAAA1" }, assistant("So."), user("so?")],
	[
		user("hi"),
		{ type: "custom_tool_call", call_id: "c", name: "p", input: "x" },
		{ ...output("c"), type: "custom_tool_call_output" },
	],
	[user("hi"), called("a", { namespace: "crm" }), output("a")],
	[user("hi"), { ...assistant("So."), id: "msg_1a2b_0" }, user("so?")],
	[user("hi"), { ...assistant("So."), extra_content: { google: 1 } }, user("so?")],
];

test.each(CONVERSATIONS.map((input) => [JSON.stringify(input), input] as const))("%s is taken unread", (_, input) => {
	const json = JSON.stringify({ model: "m", input });
	const { parsed, told } = outcome(json);
	const read = outcome(unscanned(json));
	expect([plainOf(parsed!) !== undefined, plainOf(read.parsed!)]).toEqual([true, undefined]);
	expect(told).toEqual(read.told);
});

test("a text is the user's, and taken unread", () => {
	const parsed = readResponses({ model: "m", input: 'say "é"' });
	expect(plainOf(parsed)).toMatchObject({ isForAll: true, messages: 1, media: [] });
	expect(JSON.parse(parsed.body().raw).messages).toEqual([user('say "é"')]);
});

describe("is read, since only that shows what it is", () => {
	test.each([
		["a turn of the system's behind others", [user("hi"), { role: "developer", content: "Be brief." }]],
		["a name with an escape", '[{"r\\u006fle":"user","content":"hi"}]'],
		["a role with an escape", '[{"role":"us\\u0065r","content":"hi"}]'],
		["an id with an escape", [user("hi"), called('"'), output('"')]],
		["a reference", [user("hi"), { type: "item_reference", id: "rs_1" }]],
		["a summary of before", [{ type: "compaction_trigger" }]],
		["a search", [user("hi"), { type: "web_search_call", id: "ws_1" }]],
		["a file", [user([{ type: "input_file", file_url: "https://x.example/a.pdf" }])]],
		["a type that is null", [{ type: null, role: "user", content: "hi" }]],
	])("%s", (_, input) => {
		const items = typeof input === "string" ? input : JSON.stringify(input);
		const parsed = readResponses(`{"model":"m","input":${items}}`);
		expect(plainOf(parsed)).toBeUndefined();
		expect(JSON.parse(parsed.body().raw).messages.length).toBeGreaterThan(0);
	});
});

/** Names of equal length that nobody knows, as fields. */
const unknownNames = (count: number) =>
	Array.from({ length: count }, (_, nth) => `"k${String(nth).padStart(6, "0")}":0`).join(",");

describe("names that nobody knows are not compared each with each, however many there are", () => {
	test.each([
		["in an item", (names: string) => `{"role":"user","content":"hi",${names}}`],
		["in a part", (names: string) => `{"role":"user","content":[{"type":"input_text","text":"hi",${names}}]}`],
	])("%s", (_, item) => {
		const bytes = Buffer.from(`{"model":"m","input":[${item(unknownNames(20_000))}]}`);
		let compared = 0;
		bytes.compare = (...args) => {
			compared++;
			return Buffer.prototype.compare.apply(bytes, args);
		};
		const parsed = openAiResponses.parse("chat", bytes);
		expect(JSON.parse(parsed.body().raw).messages).toEqual([user("hi")]);
		expect(compared).toBeLessThan(100);
		const repeated = item(`${unknownNames(20_000)},"k000007":1`);
		expect(outcome(`{"model":"m","input":[${repeated}]}`).told).toMatchObject({
			param: expect.stringMatching(/k000007$/),
		});
	});

	test("a few leave an item unread", () => {
		const json = `{"model":"m","input":[{"role":"user","content":"hi",${unknownNames(8)}}]}`;
		expect(plainOf(readResponses(json))).toBeDefined();
	});
});

/** The value with one place in it changed. */
function bent(value: unknown, at: Random): unknown {
	if (typeof value !== "object" || value === null) {
		return at.pick([null, "user", "reasoning", "a", "", 5, JSON.parse(valueText(at, 1).replaceAll("\\ud800", ""))]);
	}
	if (Array.isArray(value)) {
		const place = at.below(value.length + 1);
		if (at.below(3) === 0) return value.filter((_, index) => index !== place);
		if (at.below(3) === 0) return value.toReversed();
		return value.map((item, index) => (index === place ? bent(item, at) : item));
	}
	const name = at.pick([...Object.keys(value), "type", "id", "call_id", "content"]);
	const inner = (value as Json)[name];
	return { ...value, [name]: at.below(4) === 0 ? undefined : bent(inner, at) };
}

test("whatever is sent, a scan lets nothing through that would be refused, and changes nothing of what is made of it", () => {
	const at = random(7);
	const seen = { plain: 0, forAll: 0, read: 0 };
	for (let round = 0; round < 4000; round++) {
		let input: unknown = [...at.pick(CONVERSATIONS), ...at.pick(CONVERSATIONS)];
		for (let times = at.below(4); times > 0; times--) input = bent(input, at);
		const tools = at.below(2) === 0 ? [fn("f"), { type: "web_search" }] : undefined;
		const json = JSON.stringify({ model: "m", input, tools, truncation: at.pick([null, "auto"]) });
		const [quick, read] = [outcome(json), outcome(unscanned(json))];
		expect([json, quick.told]).toEqual([json, read.told]);
		const plain = quick.parsed && plainOf(quick.parsed);
		if (!plain) seen.read++;
		else if (plain.isForAll) seen.forAll++;
		else seen.plain++;
	}
	expect(Math.min(seen.plain, seen.forAll, seen.read)).toBeGreaterThan(300);
});

/** Tokens that a request is estimated to have, and its pictures. */
const estimated = (json: string) => estimatedPrompt({ operation: "chat", facts: readResponses(json).facts });

test("of items that are not read, tokens are estimated as of the chat that they become", () => {
	for (const [nth, input] of CONVERSATIONS.entries()) {
		const words = "Then the old man said that we should see. 日本語 ".repeat(40);
		const json = JSON.stringify({
			model: "m",
			instructions: words,
			input: [...input, user(words), assistant([text(words, "output_text")]), user([text(words)])],
			tools: [fn("f", { parameters: { type: "object", properties: { a: { type: "string" } } } })],
			text: { format: { type: "json_schema", name: "n", schema: { type: "object" } } },
		});
		const [quick, read] = [estimated(json), estimated(unscanned(json))];
		expect([nth, quick.image]).toEqual([nth, read.image]);
		expect(Math.abs(quick.tokens - read.tokens)).toBeLessThan(0.03 * read.tokens);
	}
});

const LONG = "Then the old man said that we should see. ".repeat(400);
const PICTURE = { type: "input_image", image_url: `data:image/png;base64,${"AAAA".repeat(4000)}` };

describe("no field of an item takes its words out of what is counted:", () => {
	test.each<[string, Json]>([
		["an output of a message", { ...user([text(LONG)]), output: "" }],
		["an output of a message that is none", { ...user([text(LONG)]), output: null }],
		["a text of a refusal", assistant([{ type: "refusal", text: "", refusal: LONG }])],
		["a refusal of a text", assistant([{ ...text(LONG, "output_text"), refusal: "" }])],
		["a picture of a text", user([{ ...text(LONG), image_url: "" }])],
		["a text of a picture", user([{ ...PICTURE, text: "" }, text(LONG)])],
		["a text of a picture that is none", user([{ ...PICTURE, text: 5 }, text(LONG)])],
		["a refusal of a picture", user([{ ...PICTURE, refusal: "" }, text(LONG)])],
		["a field that nobody knows", { ...user([text(LONG)]), x: "日本語".repeat(9000) }],
		["an id", { ...user(LONG), id: "日本語".repeat(9000) }],
		["a detail", user([{ ...PICTURE, detail: "日本語".repeat(9000) }, text(LONG)])],
	])("%s", (_, item) => {
		const json = JSON.stringify({ model: "m", input: [user("hi"), item] });
		expect(plainOf(readResponses(json))).toBeDefined();
		const [quick, read] = [estimated(json), estimated(unscanned(json))];
		expect(quick.image).toEqual(read.image);
		expect(Math.abs(quick.tokens - read.tokens)).toBeLessThan(0.03 * read.tokens);
	});
});
