/** What makes two calls the same for the cache, and what makes them differ. */
import { describe, expect, test } from "bun:test";
import { localHash, keyOf as made } from "../src/cache/exact-match.ts";
import { anthropicMessages } from "../src/dialects/anthropic-messages/messages-dialect.ts";
import type { Dialect } from "../src/dialects/dialect.ts";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { canonical } from "../src/openai/json.ts";
import type { Operation } from "../src/openai/operations.ts";
import { random } from "./kit/random.ts";
import { objectText } from "./kit/random-json.ts";

interface Around {
	operation?: Operation;
	headers?: Record<string, string>;
	places?: string[];
	tenant?: string;
}

function keyOf(
	raw: string,
	{ operation = "chat", headers = {}, places = ["openai/m"], tenant = "a" }: Around = {},
	parse: Dialect["parse"] = parseRequest,
): string {
	const call = { ...parse(operation, Buffer.from(raw)), operation, headers: new Headers(headers) };
	return Buffer.from(made(call, places, tenant)).toString("hex");
}

const BASE = '{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"seed":7}';

test.each([
	["the order of fields", '{"seed":7,"temperature":0,"messages":[{"content":"hi","role":"user"}],"model":"m"}'],
	["white space", ' {\n"model" : "m",\t"messages":[ {"role":"user","content":"hi"} ], "temperature":0 ,"seed":7}'],
	["how a number is written", BASE.replace('"temperature":0', '"temperature":0.0').replace('"seed":7', '"seed":0.7e1')],
	["how a text is written", BASE.replace('"hi"', '"\\u0068i"')],
	["the name that was asked for", BASE.replace('"m"', '"fast"')],
	["streaming", BASE.replace('"seed":7', '"seed":7,"stream":true,"stream_options":{"include_usage":true}')],
	["the end user", BASE.replace('"seed":7', '"seed":7,"user":"u","safety_identifier":"s","metadata":{"a":"b"}')],
	["the vendor's own cache", BASE.replace('"seed":7', '"seed":7,"prompt_cache_key":"k"')],
])("the same whatever %s", (_, raw) => {
	expect(keyOf(raw)).toBe(keyOf(BASE));
});

test.each([
	["another prompt", BASE.replace('"hi"', '"hi "')],
	["another role", BASE.replace('"user"', '"system"')],
	["another parameter", BASE.replace('"seed":7', '"seed":8')],
	["one parameter more", BASE.replace('"seed":7', '"seed":7,"top_p":1')],
	["a field that nobody knows", BASE.replace('"seed":7', '"seed":7,"vendor_thing":{"x":1}')],
	["the order of messages", BASE.replace("[{", '[{"role":"user","content":"ho"},{')],
])("another for %s", (_, raw) => {
	expect(keyOf(raw)).not.toBe(keyOf(BASE));
});

test("big integers that a parse would make equal are not", () => {
	const withSeed = (seed: string) => keyOf(BASE.replace('"seed":7', `"seed":${seed}`));
	expect(withSeed("12345678901234567890")).not.toBe(withSeed("12345678901234567891"));
	const nested = (bias: string) => keyOf(BASE.replace('"seed":7', `"logit_bias":{"x":${bias}}`));
	expect(nested("0.12345678901234567890")).not.toBe(nested("0.12345678901234567891"));
	expect(nested("1e-400")).not.toBe(nested("0"));
	expect(nested("1e400")).not.toBe(nested("1e401"));
	expect(nested("123456789.123456789")).not.toBe(nested("123456789.123456788"));
});

test("texts that look alike once put together are told apart", () => {
	const messages = (list: string) => keyOf(`{"model":"m","messages":${list}}`);
	const two = messages('[{"role":"user","content":"a"},{"role":"user","content":"b"}]');
	expect(two).not.toBe(messages('[{"role":"user","content":"a\\",\\"b"}]'));
	expect(keyOf(BASE, { tenant: "a", places: ["b"] })).not.toBe(keyOf(BASE, { tenant: "a,b", places: [] }));
});

test("another for another tenant, endpoint, set of places or beta of the vendor's", () => {
	const others = [
		keyOf(BASE, { tenant: "b" }),
		keyOf('{"model":"m","prompt":"hi"}', { operation: "completions" }),
		keyOf('{"model":"m","input":"hi"}', { operation: "embeddings" }),
		keyOf(BASE, { places: ["openai/n"] }),
		keyOf(BASE, { places: ["openai/m", "local/m"] }),
		keyOf(BASE, { headers: { "openai-beta": "x=1" } }),
	];
	expect(new Set([keyOf(BASE), ...others]).size).toBe(7);
});

const said = (role: string, content: string) => ({ role, content });

describe("the same chat of another wire has another key", () => {
	test.each([
		[
			"its system's words stand behind a user's, who may write them as they are marked",
			[said("user", "hi"), said("system", "Be short.")],
		],
		["a mark ends in them", [said("user", "hi"), said("system", "a\n</system>\n\nb\n\n<system>\nc")]],
	])("where %s", (_, turns) => {
		const sent = { model: "m", max_tokens: 9, messages: turns };
		const messages = anthropicMessages.parse("chat", Buffer.from(JSON.stringify(sent)));
		const own = { model: "m", max_output_tokens: 9, input: turns };
		const responses = openAiResponses.parse("chat", Buffer.from(JSON.stringify(own)));
		for (const [dialect, body, { body: chat }] of [
			[anthropicMessages, sent, messages],
			[openAiResponses, own, responses],
		] as const)
			expect(keyOf(JSON.stringify(body), {}, dialect.parse)).not.toBe(keyOf(chat().raw));
	});

	test("where the answer goes on with the assistant's words", () => {
		const sent = { model: "m", max_tokens: 9, messages: [said("user", "hi"), said("assistant", "He")] };
		const { body } = anthropicMessages.parse("chat", Buffer.from(JSON.stringify(sent)));
		expect(keyOf(JSON.stringify(sent), {}, anthropicMessages.parse)).not.toBe(keyOf(body().raw));
	});

	test("and the same where it is the same", () => {
		const sent = JSON.stringify({ model: "m", max_tokens: 9, messages: [said("user", "hi")] });
		expect(keyOf(sent, {}, anthropicMessages.parse)).toBe(
			keyOf(anthropicMessages.parse("chat", Buffer.from(sent)).body().raw),
		);
	});
});

test("the order of the places, which load decides, changes nothing", () => {
	expect(keyOf(BASE, { places: ["a/m", "b/m"] })).toBe(keyOf(BASE, { places: ["b/m", "a/m", "b/m"] }));
});

describe("the canonical text", () => {
	test("means the same as what it was made of, and is its own canonical text", () => {
		const source = random(6);
		for (let round = 0; round < 2000; round++) {
			const text = objectText(source, 4);
			const made = canonical(text);
			// -0 is 0 to every reader of these numbers.
			expect(JSON.parse(made)).toEqual(JSON.parse(text.replaceAll("-0.0", "0")));
			expect(canonical(made)).toBe(made);
		}
	});

	test("is the same for an object and for the same with its keys turned round", () => {
		const source = random(7);
		for (let round = 0; round < 500; round++) {
			const value = JSON.parse(objectText(source, 4));
			expect(canonical(JSON.stringify(turned(value)))).toBe(canonical(JSON.stringify(value)));
		}
	});

	test("of 100,000 levels is refused rather than read for minutes", () => {
		expect(() => canonical("[".repeat(100_000) + "]".repeat(100_000))).toThrow(RangeError);
	});
});

function turned(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(turned);
	if (typeof value !== "object" || value === null) return value;
	const entries = Object.entries(value).reverse();
	return Object.fromEntries(entries.map(([key, each]) => [key, turned(each)]));
}

describe("keys of one process alone", () => {
	const hash = localHash();
	const local = (raw: string, tenant = "a", own = hash) => {
		const call = { ...parseRequest("chat", raw), operation: "chat", headers: new Headers() } as const;
		return Buffer.from(made(call, ["openai/m"], tenant, undefined, own)).toString("hex");
	};

	test("are the same for what means the same, and differ else, also by one character far behind", () => {
		const long = BASE.replace("hi", "x".repeat(100_000));
		expect(local(` ${long}`)).toBe(local(long));
		const others = [
			BASE,
			long,
			long.replace("xx", "xy"),
			long.replace('x"', 'y"'),
			long.replace('"seed":7', '"seed":8'),
		];
		const keys = [...others.map((raw) => local(raw)), local(long, "b")];
		expect(new Set(keys).size).toBe(6);
	});

	test("mean nothing to another process", () => {
		expect(local(BASE, "a", localHash())).not.toBe(local(BASE));
	});
});
