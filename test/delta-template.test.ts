/** Chunks that are sent on unread: only those that a parse would have found whole, valid, and nothing but text. */
import { describe, expect, test } from "bun:test";
import { DeltaTemplate } from "../src/providers/delta-template.ts";

const chunk = (delta: object, rest: object = {}) =>
	`data: ${JSON.stringify({ id: "a", model: "m", choices: [{ index: 0, delta, finish_reason: null }], ...rest })}\n\n`;
const bytes = (text: string) => new TextEncoder().encode(text);

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
			expect(template.matches(bytes(raw))).toBe(true);
			expect(template.matchesEvent(raw)).toBe(true);
		});
	}

	test("also many of them at once", () => {
		expect(template.matches(bytes(["a", "b", "c"].map((content) => chunk({ content })).join("")))).toBe(true);
	});

	test("with padding that differs, as OpenAI's obfuscation does", () => {
		const padded = learnt(chunk({ content: "one" }, { obfuscation: "xyz" }));
		expect(padded.matches(bytes(chunk({ content: "other" }, { obfuscation: "q" })))).toBe(true);
	});

	test("after a shape with text that is no ASCII", () => {
		expect(learnt(chunk({ content: "é模" })).matches(bytes(chunk({ content: "plain" })))).toBe(true);
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
			expect(subject.matches(bytes(text))).toBe(false);
			expect(subject.matchesEvent(text)).toBe(false);
		});
	}
});

test("a shape without text teaches nothing", () => {
	expect(learnt(chunk({ role: "assistant" })).matches(bytes(chunk({ role: "assistant" })))).toBe(false);
});

test("a text field's name inside a text is text", () => {
	const template = learnt(chunk({ content: 'say "content":"x"' }));
	expect(template.matches(bytes(chunk({ content: "else" })))).toBe(true);
	expect(template.matches(bytes(chunk({ content: "x" }, { error: {} })))).toBe(false);
});

test("learning stops where chunks are never alike, so that it costs nothing", () => {
	const template = new DeltaTemplate();
	for (let i = 0; i < 20; i++) template.learn(chunk({ content: "x" }, { created: i }));
	expect(template.matches(bytes(chunk({ content: "y" }, { created: 19 })))).toBe(false);
	expect(template.matches(bytes(chunk({ content: "y" }, { created: 7 })))).toBe(true);
});
