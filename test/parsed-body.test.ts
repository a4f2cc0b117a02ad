/** The values of a request's fields, of which nothing else is parsed. */
import { expect, test } from "bun:test";
import { fieldsOf } from "../src/openai/json.ts";
import { ParsedBody } from "../src/openai/parsed-body.ts";

/** A body of one field, of which nobody has made anything yet. */
function bodyOf(json: string): ParsedBody {
	const text = `{"a": ${json} , "b":[1]}`;
	const places = fieldsOf(text).map(({ key, keyStart, start, end }) => {
		const [from, to] = [start, end].map((at) => Buffer.byteLength(text.slice(0, at)));
		return { key, keyStart, start: from!, end: to!, levels: 0, items: 0 };
	});
	return new ParsedBody(Buffer.from(text), places);
}

test.each([
	...["true", "false", "null", "0", "-0", "1.5", "-2e3", "12345678901234567890", '""', '"a"', '"true"', '"null"'],
	...['"a\\"b"', '"\\u0041"', '"\\\\"', '"\\n"', '"é模😀"', '"\\ud83d\\ude00"', '"\ufeffa"', '"a/b:c@d"', '"\u2028"'],
	...["[]", '["t"]', "{}", '{"t":"f"}', `"${"x".repeat(2000)}"`, `"${"é".repeat(600)}\\n"`],
])("the value of %s is what a parse makes of it", (json) => {
	const body = bodyOf(json);
	expect(body.at("a")).toEqual(JSON.parse(json));
	expect(body.at("b")).toEqual([1]);
});
