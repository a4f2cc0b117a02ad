/** Reading and editing JSON as text: what is not edited stays as it came, byte for byte. */
import { describe, expect, test } from "bun:test";
import { addField, type Field, fieldNamed, fieldsOf, removeField, repeatedKey, splice } from "../src/openai/json.ts";
import { random } from "./kit/random.ts";
import { objectText } from "./kit/random-json.ts";

/** 600 objects, with space before and after, as clients may send them. */
const TEXTS = Array.from({ length: 600 }, (_, seed) => {
	const source = random(seed);
	return source.pick(["", " ", "\r\n"]) + objectText(source, 3) + source.pick(["", "\n"]);
});
/** `JSON.parse` without prototypes in the way: `__proto__` is a key like any other. */
const parsed = (text: string) => new Map(Object.entries(JSON.parse(text)));
const keyText = (text: string, field: Field) => text.slice(field.keyStart, field.start);

describe("fieldsOf", () => {
	test("agrees with JSON.parse about every key and value, in order", () => {
		for (const text of TEXTS) {
			const read = fieldsOf(text).map(({ key, start, end }) => [key, JSON.parse(text.slice(start, end))] as const);
			expect(read.map(([key]) => key)).toEqual([...parsed(text).keys()]);
			expect(new Map(read)).toEqual(parsed(text));
		}
	});

	test("gives values without the spaces around them, and keys with their quotes", () => {
		for (const text of TEXTS) {
			for (const field of fieldsOf(text)) {
				const value = text.slice(field.start, field.end);
				expect(value).toBe(value.trim());
				expect(text[field.keyStart]).toBe('"');
			}
		}
	});

	test("does not mistake a brace, quote or comma inside a string for one outside", () => {
		const text = '{"a":"}\\"{,","b\\"c":"\\\\","d":[{"e":"]"}]}';
		expect(fieldsOf(text).map(({ key, start, end }) => [key, text.slice(start, end)])).toEqual([
			["a", '"}\\"{,"'],
			['b"c', '"\\\\"'],
			["d", '[{"e":"]"}]'],
		]);
	});

	test("reads 100,000 levels of nesting without a stack", () => {
		const deep = "[".repeat(100_000) + "]".repeat(100_000);
		const text = `{"a":${deep},"b":1}`;
		expect(fieldsOf(text).map(({ key }) => key)).toEqual(["a", "b"]);
	});
});

describe("repeatedKey", () => {
	test("finds a key that is written in two ways", () => {
		expect(repeatedKey(fieldsOf('{"model":1,"x":2,"mod\\u0065l":3}'))).toBe("model");
	});

	test.each(["__proto__", "constructor", "toString"])("takes %s for a key like any other", (key) => {
		expect(repeatedKey(fieldsOf(`{"${key}":1}`))).toBeUndefined();
		expect(repeatedKey(fieldsOf(`{"${key}":1,"${key}":2}`))).toBe(key);
	});

	test("costs no square of the number of keys: 150,000 of them would take a minute", () => {
		const fields = fieldsOf(`{${Array.from({ length: 150_000 }, (_, index) => `"k${index}":0`).join(",")}}`);
		expect(fields.length).toBe(150_000);
		expect(repeatedKey(fields)).toBeUndefined();
		expect(repeatedKey([...fields, fields[7]!])).toBe("k7");
	});
});

describe("edits", () => {
	test("a replaced value is the only change", () => {
		for (const text of TEXTS) {
			for (const { key, start, end } of fieldsOf(text)) {
				const edited = splice(text, [{ start, end, insert: '"new"' }]);
				expect(parsed(edited)).toEqual(parsed(text).set(key, "new"));
				expect(edited.slice(0, start)).toBe(text.slice(0, start));
				expect(edited.slice(start + 5)).toBe(text.slice(end));
			}
		}
	});

	test("a removed field leaves the others as they came, and valid JSON", () => {
		for (const text of TEXTS) {
			const fields = fieldsOf(text);
			for (const field of fields) {
				const edited = splice(text, [removeField(fields, field)]);
				const left = parsed(text);
				left.delete(field.key);
				expect(parsed(edited)).toEqual(left);
				const others = fields.filter((each) => each !== field);
				expect(fieldsOf(edited).map((each) => edited.slice(each.keyStart, each.end))).toEqual(
					others.map((each) => text.slice(each.keyStart, each.end)),
				);
			}
		}
	});

	test("an added field stands first, and all that was there follows unchanged", () => {
		for (const text of TEXTS) {
			const open = text.indexOf("{");
			const fields = fieldsOf(text);
			const edited = splice(text, [addField(open, fields.length === 0, 'new"key', "[1e400]")]);
			expect(parsed(edited)).toEqual(new Map([['new"key', [Number.POSITIVE_INFINITY]], ...parsed(text)]));
			expect(edited.slice(0, open + 1)).toBe(text.slice(0, open + 1));
			expect(edited.endsWith(text.slice(open + 1))).toBe(true);
		}
	});

	test("several at once are made wherever they stand, in any order given", () => {
		const text = '{ "a" : 1 , "b":{"c":12345678901234567890}, "d":[] }';
		const fields = fieldsOf(text);
		const b = fieldNamed(fields, "b")!;
		const d = fieldNamed(fields, "d")!;
		const edits = [
			{ start: d.start, end: d.end, insert: "null" },
			addField(text.indexOf("{"), false, "x", "1"),
			addField(text.indexOf("{"), false, "y", "2"),
			addField(b.start, false, "z", "3"),
		];
		expect(splice(text, edits)).toBe('{"x":1,"y":2, "a" : 1 , "b":{"z":3,"c":12345678901234567890}, "d":null }');
	});

	test("none at all gives the very text", () => {
		expect(splice(" {} ", [])).toBe(" {} ");
	});

	test("of a key that stands twice, the last counts, as for JSON.parse", () => {
		const text = '{"usage":1,"usage":2}';
		const field = fieldNamed(fieldsOf(text), "usage")!;
		expect(text.slice(field.start, field.end)).toBe("2");
		expect(keyText(text, field)).toBe('"usage":');
	});
});
