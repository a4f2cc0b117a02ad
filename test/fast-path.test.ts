/** Chunks that are sent on unread: only those that a parse would have found whole, valid, and nothing but text. */
import { describe, expect, test } from "bun:test";
import { DeltaTemplate } from "../src/providers/openai/fast-path.ts";

const chunk = (delta: object, rest: object = {}) =>
	`data: ${JSON.stringify({ id: "a", model: "m", choices: [{ index: 0, delta, finish_reason: null }], ...rest })}\n\n`;
const bytes = (text: string) => Buffer.from(text);
/** Whether a chunk is sent on as it came. */
const isPlain = (template: DeltaTemplate, chunk: Buffer) => template.passThrough(chunk) === chunk;

function learnt(raw: string): DeltaTemplate {
	const template = new DeltaTemplate();
	template.learn(raw);
	return template;
}

describe("a chunk is plain", () => {
	const template = learnt(chunk({ content: "one" }));

	for (const text of ["two", "", "ünï €", "模型", 'a \\"quoted\\" word', "line\\nline", "tab\\tback\\\\slash"]) {
		test(`with other text: ${text}`, () => {
			const raw = chunk({ content: "one" }).replace("one", text);
			expect(() => JSON.parse(raw.slice(6))).not.toThrow();
			expect(isPlain(template, bytes(raw))).toBe(true);
			expect(template.matchesEvent(raw)).toBe(true);
		});
	}

	test("also many of them at once", () => {
		expect(isPlain(template, bytes(["a", "b", "c"].map((content) => chunk({ content })).join("")))).toBe(true);
	});

	test("with padding that differs, as OpenAI's obfuscation does", () => {
		const padded = learnt(chunk({ content: "one" }, { obfuscation: "xyz" }));
		expect(isPlain(padded, bytes(chunk({ content: "other" }, { obfuscation: "q" })))).toBe(true);
	});

	test("after a shape with text that is no ASCII", () => {
		expect(isPlain(learnt(chunk({ content: "é模" })), bytes(chunk({ content: "plain" })))).toBe(true);
	});
});

test("of several events those alike are taken, from any on, up to the first other one", () => {
	const template = learnt(chunk({ content: "one" }));
	const [first, alike] = [chunk({ role: "assistant" }), chunk({ content: "é" }) + chunk({ content: "b" })];
	const whole = bytes(`${first}${alike}data: [DONE]\n\n`);
	expect(template.passThrough(whole)).toBeUndefined();
	expect(new TextDecoder().decode(template.passThrough(whole, first.length))).toBe(alike);
	expect([template.length, template.events]).toEqual([bytes(alike).length, 2]);
});

describe("events that are numbered", () => {
	const event = (number: number | string, delta: string, more = "") =>
		`event: x\ndata: {"type":"x","sequence_number":${number},"item":"a","delta":"${delta}","logprobs":[]${more}}\n\n`;
	const numbered = (from: number, count: number, more = "") =>
		Array.from({ length: count }, (_, at) => event(from + at, "w".repeat(at % 5), more)).join("");

	test.each([
		["of one text", ""],
		["of two texts", ',"obfuscation":"xyz"'],
	])("are taken whatever their numbers come to: %s", (_, more) => {
		const template = learnt(event(1, "a", more));
		const whole = bytes(numbered(7, 120, more) + event(5, "b", more) + numbered(998, 30, more));
		expect(template.passThrough(whole)).toBe(whole);
		expect(template.events).toBe(151);
		expect(isPlain(template, bytes(event(12345, "c", more)))).toBe(true);
	});

	test.each([
		["that begins with a 0", "07"],
		["that is too long for one", "1234567890"],
		["that is negative", "-7"],
		["with a fraction", "7.5"],
		["that is a text", '"77"'],
		["of letters", "7a"],
	])("are read from a number on %s", (_, number) => {
		const template = learnt(event(10, "a"));
		const before = numbered(11, 3);
		const taken = template.passThrough(bytes(before + event(number, "b") + event(15, "c")));
		expect([new TextDecoder().decode(taken), template.events]).toEqual([before, 3]);
	});

	test.each([1, 4, 40])("are taken up to where a chunk is cut, %d bytes before its end", (left) => {
		const template = learnt(event(10, "a", ',"obfuscation":"q"'));
		const whole = numbered(11, 4, ',"obfuscation":"q"');
		const taken = template.passThrough(bytes(whole.slice(0, -left)));
		expect(new TextDecoder().decode(taken)).toBe(numbered(11, 3, ',"obfuscation":"q"'));
	});
});

describe("a chunk is read", () => {
	const template = learnt(chunk({ content: "one" }));
	const cases: Record<string, string> = {
		"before anything was learnt": "",
		"with a finish reason": chunk({ content: "x" }).replace("null", '"stop"'),
		"with usage": chunk({ content: "x" }, { usage: { prompt_tokens: 1 } }),
		"with an error": chunk({ content: "x" }, { error: { message: "no" } }),
		"with another field in the delta": chunk({ content: "x", tool_calls: [] }),
		"with another field of the same length": chunk({ kontent: "x" }),
		"for another choice": chunk({ content: "x" }).replace('"index":0', '"index":1'),
		"cut inside its text": chunk({ content: "word" }).slice(0, -30),
		"cut behind its text": chunk({ content: "word" }).slice(0, -1),
		"with a raw line end in its text": chunk({ content: "one" }).replace("one", "o\nn"),
		"with an escape that JSON does not know": chunk({ content: "one" }).replace("one", "\\x"),
		"with a code point escape": chunk({ content: "one" }).replace("one", "\\u00e9"),
		"ended inside an escape": chunk({ content: "one" }).replace('one"', '\\"'),
		"followed by [DONE]": `${chunk({ content: "x" })}data: [DONE]\n\n`,
		"that is a comment": ": keep-alive\n\n",
		"that is garbage": "data: {]\n\n",
	};
	for (const [what, raw] of Object.entries(cases)) {
		test(what, () => {
			const subject = raw === "" ? new DeltaTemplate() : template;
			const text = raw || chunk({ content: "x" });
			expect(isPlain(subject, bytes(text))).toBe(false);
			expect(subject.matchesEvent(text)).toBe(false);
		});
	}
});

test("a shape without text teaches nothing", () => {
	expect(isPlain(learnt(chunk({ role: "assistant" })), bytes(chunk({ role: "assistant" })))).toBe(false);
});

test("a text field's name inside a text is text", () => {
	const template = learnt(chunk({ content: 'say "content":"x"' }));
	expect(isPlain(template, bytes(chunk({ content: "else" })))).toBe(true);
	expect(isPlain(template, bytes(chunk({ content: "x" }, { error: {} })))).toBe(false);
});

test("learning stops where chunks are never alike, so that it costs nothing", () => {
	const template = new DeltaTemplate();
	for (let i = 0; i < 20; i++) template.learn(chunk({ content: "x" }, { created: i }));
	expect(isPlain(template, bytes(chunk({ content: "y" }, { created: 19 })))).toBe(false);
	expect(isPlain(template, bytes(chunk({ content: "y" }, { created: 7 })))).toBe(true);
});

describe("a chunk that tells the tokens so far", () => {
	const usage = (output: number) => ({ prompt_tokens: 5, total_tokens: 5 + output, completion_tokens: output });
	const counting = (content: string, output: number) => chunk({ content }, { usage: usage(output) });
	/** Learnt from a chunk of which the client is not told the usage. */
	function hiding(): DeltaTemplate {
		const raw = counting("one", 1);
		const template = new DeltaTemplate();
		template.learn(raw, { start: raw.indexOf(',"usage"'), end: raw.length - 3 });
		return template;
	}
	const text = (plain: Uint8Array | undefined) => plain && new TextDecoder().decode(plain);

	test("is sent on without them where its client has not asked, and they are known", () => {
		const template = hiding();
		expect(text(template.passThrough(bytes(counting(" two é", 3))))).toBe(chunk({ content: " two é" }));
		expect([template.output, template.trimmed]).toEqual([3, 3]);
	});

	test("is sent on without them also where several come at once, with counts of another length", () => {
		const template = hiding();
		const several = [counting("a", 9), counting("b", 10), counting("", 1000)].join("");
		expect(text(template.passThrough(bytes(several)))).toBe(
			["a", "b", ""].map((content) => chunk({ content })).join(""),
		);
		expect(template.output).toBe(1000);
	});

	test("is sent on as it came where its client has asked", () => {
		const template = learnt(counting("one", 1));
		expect(isPlain(template, bytes(counting("two", 22)))).toBe(true);
		expect(template.output).toBe(22);
	});

	test("keeps its bytes, and its count is not taken, where anything behind it must be read", () => {
		const template = hiding();
		const both = bytes(counting("a", 2) + chunk({ content: "b" }, { error: {} }));
		const before = both.slice();
		expect(template.passThrough(both)).toBeUndefined();
		expect(both).toEqual(before);
		expect(template.output).toBe(0);
	});

	test.each(["5.5", "-1", "007", "1e3", '"5"', "12345678901"])("is read where a count is %s", (count) => {
		const raw = counting("x", 1).replace('"completion_tokens":1', `"completion_tokens":${count}`);
		expect(hiding().passThrough(bytes(raw))).toBeUndefined();
	});

	test.each([
		["a word", [["one", 1]], 1],
		[
			"white space of its own",
			[
				["one", 1],
				[" ", 2],
			],
			1,
		],
		[
			"several of these",
			[
				["one", 1],
				[" ", 2],
				["\n", 4],
			],
			1,
		],
		[
			"white space behind a word in one chunk",
			[
				["one", 1],
				[" two\n", 4],
			],
			3,
		],
		[
			"a word behind white space",
			[
				["one", 1],
				["\n", 2],
				[" two", 3],
			],
			3,
		],
		[
			"an escaped backslash before an n",
			[
				["one", 1],
				["\\n", 3],
			],
			3,
		],
	] as [string, [string, number][], number][])(
		"says how many stand before the white space at its end: %s",
		(_, said, solid) => {
			const template = hiding();
			for (const [content, output] of said) template.passThrough(bytes(counting(content, output)));
			expect(template.trimmed).toBe(solid);
		},
	);
});

test("text that is no UTF-8 is read", () => {
	const template = learnt(chunk({ content: "one" }));
	const broken = bytes(chunk({ content: "aXb" }));
	broken[broken.indexOf(0x58)] = 0xff;
	expect(template.passThrough(broken)).toBeUndefined();
});
