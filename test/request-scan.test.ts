/** One scan over a request's bytes against JSON.parse and TypeBox: what it lets through they let through, and it reads the same. */
import { describe, expect, test } from "bun:test";
import { isAscii, isUtf8 } from "node:buffer";
import { join } from "node:path";
import { Kind, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { parseRequest, requestOf } from "../src/dialects/openai-chat.ts";
import { RouterError } from "../src/errors.ts";
import { canonicalBytes } from "../src/openai/canonical-bytes.ts";
import { canonical, JsonTooLarge, parseWithFields } from "../src/openai/json.ts";
import { WINDOW } from "../src/openai/json-index-code.ts";
import { OPERATIONS, type Operation } from "../src/openai/operations.ts";
import { ParsedBody } from "../src/openai/parsed-body.ts";
import { indexed, requestScan, utf16Length } from "../src/openai/request-scan.ts";
import { needing } from "./kit/needing.ts";
import { type Random, random } from "./kit/random.ts";
import { stringText, valueText } from "./kit/random-json.ts";
import { recordings } from "./kit/recordings.ts";
import { settingsOf } from "./kit/request-settings.ts";

const OPERATION_NAMES = Object.keys(OPERATIONS) as Operation[];
const SCANS = Object.fromEntries(OPERATION_NAMES.map((name) => [name, requestScan(OPERATIONS[name].request)]));
const SPACES = ["", "", "", "", " ", "\n\t", "\r\n"];

/** The same by JSON.parse and TypeBox; undefined where they refuse it. */
function parsedAndChecked(operation: Operation, bytes: Buffer): ParsedBody | undefined {
	try {
		const raw = bytes.toString();
		const { value, fields, repeated } = parseWithFields(raw);
		if (repeated !== undefined || !Value.Check(OPERATIONS[operation].request, value)) return undefined;
		return ParsedBody.of(raw, fields, value as ParsedBody["value"]);
	} catch (thrown) {
		if (thrown instanceof SyntaxError || thrown instanceof RangeError || thrown instanceof JsonTooLarge)
			return undefined;
		throw thrown;
	}
}

/** All that is told of a body. */
function told(operation: Operation, body: ParsedBody) {
	const { facts, stream } = requestOf(operation, body);
	return {
		fields: body.fields.map(({ key, keyStart, start, end }) => ({ key, keyStart, start, end })),
		settings: settingsOf({ facts, stream }),
		looks: [facts.usesLiveData(), facts.isReasoning("gpt-4o"), facts.cachesForHour(), facts.routingField()],
		sizes: facts.promptSizes(),
		content: facts.promptContent(),
		canonical: facts.canonical(new Set(["model"])).toString(),
	};
}

/** Compares both; says whether the scan let it through. */
function compare(operation: Operation, bytes: Buffer): boolean {
	const fields = SCANS[operation]!(bytes);
	if (!fields) return false;
	const expected = isUtf8(bytes) ? parsedAndChecked(operation, bytes) : undefined;
	if (!expected) throw new Error(`The scan takes what is none: ${JSON.stringify(bytes.toString())}`);
	expect(indexed.isAscii).toBe(isAscii(bytes));
	const { canonical: text, ...facts } = told(operation, new ParsedBody(bytes, fields, undefined, indexed.isAscii));
	expect({ ...facts, canonical: text }).toEqual(told(operation, expected));
	const kept = expected.fields.filter(({ key }) => key !== "model").sort((a, b) => (a.key < b.key ? -1 : 1));
	const written = kept.map((field) => `${JSON.stringify(field.key)}:${canonical(expected.textOf(field))},`);
	expect(text).toBe(written.join(""));
	const isPlain = expected.fields.every((field) => !/[^\0-\x7f]|\\/.test(expected.textOf(field)));
	if (isPlain) expect(canonicalBytes(expected, new Set(["model"]))?.toString()).toBe(text);
	return true;
}

/** A text that the schema allows, or seldom another. */
function textFor(schema: TSchema, source: Random): string {
	if (source.below(150) === 0) return valueText(source, 2);
	const times = (most: number, one: () => string) =>
		Array.from({ length: (schema["minItems"] ?? 0) + source.below(most) }, one);
	const spaced = (text: string) => source.pick(SPACES) + text + source.pick(SPACES);
	switch (schema[Kind]) {
		case "String":
			return schema["minLength"] ? `"${source.pick(["m", "box/mé", "\\u00e9"])}"` : stringText(source);
		case "Number":
			return source.pick(["0", "1", "0.7", "-1.5e-3", "1E2"]);
		case "Integer":
			return source.pick(["1", "2", "100", "2.0", "1e3"]);
		case "Boolean":
			return source.pick(["true", "false"]);
		case "Null":
			return "null";
		case "Array":
			return `[${times(4, () => spaced(textFor(schema["items"], source))).join(",")}]`;
		case "Union":
			return textFor(source.pick(schema["anyOf"] as TSchema[]), source);
		case "Object": {
			const required: string[] = schema["required"] ?? [];
			const entries = Object.entries(schema["properties"] as Record<string, TSchema>)
				.filter(([name]) => required.includes(name) || source.below(6) === 0)
				.map(([name, inner]) => `${spaced(JSON.stringify(name))}:${spaced(textFor(inner, source))}`);
			if (source.below(4) === 0) entries.push(`"extra ${source.pick(["é", "x", "models"])}":${valueText(source, 2)}`);
			return `{${source.below(2) ? entries.join(",") : entries.toReversed().join(",")}}`;
		}
		default:
			return valueText(source, 2);
	}
}

describe("bodies as the schemas allow them", () => {
	test.each(OPERATION_NAMES)("%s: nearly all that is good needs no parse, and is read the same", (operation) => {
		let [good, scanned] = [0, 0];
		for (let seed = 0; seed < 1500; seed++) {
			const bytes = Buffer.from(textFor(OPERATIONS[operation].request, random(seed)));
			if (parsedAndChecked(operation, bytes)) good++;
			if (compare(operation, bytes)) scanned++;
		}
		expect(good).toBeGreaterThan(700);
		expect(scanned / good).toBeGreaterThan(0.8);
	});

	test.each(OPERATION_NAMES)("%s: one wrong byte is seen wherever it stands", (operation) => {
		const bytes = [...'"\\{}[]:,0e.-tnu \n\u0001é'].map((each) => Buffer.from(each));
		let refused = 0;
		for (let seed = 0; seed < 400; seed++) {
			const source = random(seed);
			const good = Buffer.from(textFor(OPERATIONS[operation].request, source));
			for (let round = 0; round < 12; round++) {
				const at = source.below(good.length);
				const insert = source.below(4) === 0 ? Buffer.alloc(0) : source.pick(bytes);
				const wrong = Buffer.concat([good.subarray(0, at), insert, good.subarray(at + source.below(2))]);
				if (!compare(operation, wrong)) refused++;
			}
		}
		expect(refused).toBeGreaterThan(1000);
	});
});

const RECORDED = ["openai", "openrouter", "venice", "vllm", "xai"].flatMap(recordings);
needing("recordings").test("recorded requests need no parse", () => {
	let count = 0;
	for (const { request } of RECORDED) {
		if (!request.body) continue;
		const text = JSON.stringify(request.body);
		for (const bytes of [text, JSON.stringify(request.body, undefined, 2), escaped(text)].map((each) =>
			Buffer.from(each),
		)) {
			for (const operation of OPERATION_NAMES) {
				if (!parsedAndChecked(operation, bytes)) continue;
				expect(compare(operation, bytes)).toBe(true);
				count++;
			}
		}
	}
	expect(count).toBeGreaterThan(10);
});

/** As Python's `json.dumps` writes it. */
function escaped(text: string): string {
	return text.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const chat = (extra: string) => `{"model":"m","messages":[{"role":"user","content":"hi"}],"extra":${extra}}`;

describe("what JSON.parse refuses", () => {
	test.each([
		...["", "01", "1.", ".5", "-", "+1", "1e", "1e+", "0x1", "1_0", "--1", "1.e1", "NaN", "Infinity", "tru", "truex"],
		...["nul", "True", "undefined", "1 2", "true false", '"a" "b"', '"a"b', 'b"a"', '1"a"', '"a"1', "'a'", '"', '"\\"'],
		...[
			'"\\x"',
			'"\\u12"',
			'"\\u12g4"',
			'"\\u123',
			'"\n"',
			'"\t"',
			'"\u0000"',
			'"\u001f"',
			"\u0001",
			"\u00a0",
			"\ufeff1",
		],
		...[
			"[",
			"]",
			"[1,]",
			"[,1]",
			"[1 2]",
			"[1}",
			"[1:2]",
			"{",
			"}",
			'{"a"}',
			'{"a":}',
			'{"a":1,}',
			'{,"a":1}',
			"{a:1}",
		],
		...[
			'{"a" 1}',
			'{"a"::1}',
			'{"a":1 "b":2}',
			'{"a":1]',
			"{1:2}",
			'{"a":1}}',
			"[]]",
			"1,",
			"1}",
			"/**/1",
			"1//",
			"\\",
		],
		...['{"a":"b"', '"a', "[[[", '{"a":{"b":[', ":", ",", '"\\', "-01", "-a", "00", "1e1.5", '{"a":1,"b"}', '["a":1]'],
	])("is refused: %j", (extra) => {
		const bytes = Buffer.from(chat(extra));
		expect(() => JSON.parse(bytes.toString())).toThrow();
		expect(SCANS["chat"]!(bytes)).toBeUndefined();
		expect(() => parseRequest("chat", bytes)).toThrow(RouterError);
	});

	test.each(["", " ", "[]", "null", '"a"', "1", "{}{}", '{"model":"m"', "[{}", '{"model":"m"}x'])(
		"or is no request: %j",
		(text) => expect(SCANS["chat"]!(Buffer.from(text))).toBeUndefined(),
	);
});

test.each([
	...[
		"-0",
		"0",
		"0.0",
		"-1.5E+10",
		"1e400",
		"12345678901234567890",
		"[]",
		"{}",
		"[ ]",
		"{ }",
		'""',
		"[[],{}]",
		" 1 ",
		"\n[\t1\r]",
	],
	...['"\\u0000"', '"\\ud800"', '"\\/"', '"\\\\"', '"\\\\\\""', '"é🙂\u2028\u007f"', '{"":{"":""}}', '{"a":1,"a":2}'],
])("what JSON.parse takes is taken: %j", (extra) => {
	expect(compare("chat", Buffer.from(chat(extra)))).toBe(true);
});

test("escapes and quotes are seen at every place of a block, and of a window", () => {
	const pieces = ['\\"', "\\\\", "\\u00e9", "é", "\\n", "x"];
	for (const before of [0, WINDOW - 140]) {
		for (let pad = 0; pad < 140; pad++) {
			const source = random(before + pad);
			const text = Array.from({ length: 40 }, () => source.pick(pieces)).join("");
			const bytes = Buffer.from(
				chat(`{"a${"x".repeat(before + pad)}":"${text}","b":[tru${pad % 2 ? "e" : "u"},"${text}"]}`),
			);
			expect(compare("chat", bytes)).toBe(pad % 2 === 1);
			const wrong = Buffer.from(chat(`"${"x".repeat(before + pad)}\\u00g0"`));
			expect(SCANS["chat"]!(wrong)).toBeUndefined();
		}
	}
});

test("each byte is taken in a text, and behind a backslash, as JSON.parse takes it, wherever it stands", () => {
	for (const pad of [0, 5, 63, 64, WINDOW - 60, WINDOW - 51, WINDOW - 50]) {
		for (const before of ["", "\\", "\\u", "\\u00e", "\\u00e9", "\\\\", "é"]) {
			for (let byte = 0; byte < 256; byte++) {
				const [head, tail] = chat(`"${"x".repeat(pad)}${before}|${byte === 0x22 ? "" : "0000"}"`).split("|") as [
					string,
					string,
				];
				const bytes = Buffer.concat([Buffer.from(head), Buffer.from([byte]), Buffer.from(tail)]);
				expect(compare("chat", bytes)).toBe(isUtf8(bytes) && parsedAndChecked("chat", bytes) !== undefined);
			}
		}
	}
});

test("bytes that are no UTF-8 are refused as such, wherever they stand", () => {
	for (const pad of [0, 70, WINDOW - 45, WINDOW]) {
		for (const wrong of [
			[0xff],
			[0xc3],
			[0xe2, 0x82],
			[0xed, 0xa0, 0x80],
			[0xc0, 0x80],
			[0x80],
			[0xf5, 0x80, 0x80, 0x80],
		]) {
			const [head, tail] = chat(`"${"x".repeat(pad)}|"`).split("|") as [string, string];
			const bytes = Buffer.concat([Buffer.from(head), Buffer.from(wrong), Buffer.from(tail)]);
			expect(() => parseRequest("chat", bytes)).toThrow("The body is no valid UTF-8.");
		}
	}
});

test("a text's length is that of its decoded characters, whatever they are and wherever they stand", () => {
	const characters = ["a", "\x7f", "\x80", "é", "\u07ff", "\u0800", "本", "\uffff", "🙂", "\u{10ffff}"];
	for (const before of [0, 1, 13, 63, 64, 200, WINDOW - 70, WINDOW - 3, WINDOW, 2 * WINDOW - 1]) {
		for (const character of characters) {
			for (const count of [1, 2, 70]) {
				const text = "-".repeat(before) + character.repeat(count);
				expect(utf16Length(Buffer.from(text))).toBe(text.length);
			}
		}
		const mixed = "-".repeat(before) + characters.join("").repeat(300);
		expect(utf16Length(Buffer.from(mixed))).toBe(mixed.length);
	}
	expect(utf16Length(Buffer.alloc(0))).toBe(0);
});

test("what a scan leaves to JSON.parse: keys with escapes, deep nesting, more structure than there is room for", () => {
	for (const extra of ['{"x":1},"\\u0061":1', `${"[".repeat(70)}${"]".repeat(70)}`, `[${"1,".repeat(70_000)}1]`]) {
		const bytes = Buffer.from(chat(extra));
		expect([SCANS["chat"]!(bytes), parseRequest("chat", bytes).body().raw]).toEqual([undefined, bytes.toString()]);
	}
});

test("a scan reads one text after another: nothing of the last is left", () => {
	const good = Buffer.from(chat("1"));
	const fields = SCANS["chat"]!(good);
	for (const other of ['{"model":"m","mess', chat('"\\'), chat(`"${"x".repeat(WINDOW)}`)]) {
		SCANS["chat"]!(Buffer.from(other));
		expect(SCANS["chat"]!(good)).toEqual(fields!);
	}
});

test.each<[string, TSchema]>([
	["a keyword", Type.String({ pattern: "a" })],
	["a minimum length", Type.String({ minLength: 2 })],
	["a type", Type.Literal("a")],
	["closed objects", Type.Object({}, { additionalProperties: false })],
	["two numbers", Type.Union([Type.Number(), Type.Integer()])],
])("a schema that a scan can't check is refused when it is compiled: %s", (_, schema) => {
	expect(() => requestScan(Type.Object({ a: schema }))).toThrow(TypeError);
});

test("a processor without vectors has all parsed", () => {
	const script = `
		const { parseRequest } = await import("./src/dialects/openai-chat.ts");
		const { indexText, utf16Length } = await import("./src/openai/request-scan.ts");
		const bytes = Buffer.from(${JSON.stringify(chat("1"))});
		console.log(indexText(bytes), parseRequest("chat", bytes).facts.model, utf16Length(Buffer.from("é🙂")));`;
	const run = (env: Record<string, string>) =>
		Bun.spawnSync([process.execPath, "-e", script], { cwd: join(import.meta.dir, ".."), env }).stdout.toString();
	expect([run({}), run({ BUN_JSC_useWasmSIMD: "0" })]).toEqual(["true m 3\n", "false m 3\n"]);
});
