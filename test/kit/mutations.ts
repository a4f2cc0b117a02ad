/** Request bodies that are nearly right, for fuzzing. */
import type { Random } from "./random.ts";
import { objectText, valueText } from "./random-json.ts";

/** Texts that have broken parsers. */
const ODD = [
	"null",
	"1e400",
	"-0",
	"12345678901234567890",
	'"\\ud800"',
	'"\\u0000"',
	"[]",
	"{}",
	"[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
	'"__proto__":{}',
	'"constructor":{"prototype":{}}',
	'"stream":true',
	'"stream_options":{"include_usage":true}',
	'"n":1000000',
	'"max_tokens":9007199254740993',
	'"tools":[{"type":"function"}]',
	'"response_format":{"type":"json_schema"}',
	'"user":"\\n\\r\\u001b[31m"',
	"/*",
	"\u2028",
	"\uFEFF",
	"\0",
];
const FIELDS = [
	"model",
	"messages",
	"stream",
	"user",
	"temperature",
	"n",
	"tools",
	"stop",
	"stream_options",
	"prompt",
	"input",
];

/** A body that was changed in up to four places; most are no JSON, or no call. */
export function mutated(random: Random, body: string): string {
	let text = body;
	for (let left = 1 + random.below(4); left > 0; left--) text = once(random, text);
	return text;
}

function once(random: Random, text: string): string {
	const at = random.below(text.length + 1);
	const to = Math.min(text.length, at + random.below(20));
	switch (random.below(9)) {
		case 0:
			return text.slice(0, at) + text.slice(to);
		case 1:
			return text.slice(0, at) + random.pick(ODD) + text.slice(at);
		case 2:
			return text.slice(0, at) + String.fromCharCode(random.below(0xffff)) + text.slice(at + 1);
		case 3:
			return text.slice(0, at) + text.slice(at, to).repeat(1 + random.below(50)) + text.slice(to);
		case 4:
			return text.slice(0, at);
		case 5:
			return withField(random, text, random.pick(FIELDS), valueText(random, 3));
		case 6:
			return withField(random, text, random.pick(FIELDS), random.pick(ODD));
		case 7:
			return `{"model":"echo/m","messages":[{"role":"user","content":${valueText(random, 2)}}],"x":${objectText(random, 3)}}`;
		default:
			return withField(random, text, "messages", "[".repeat(random.below(3000)));
	}
}

function withField(random: Random, text: string, name: string, value: string): string {
	const brace = text.indexOf(random.below(2) === 0 ? "{" : "}");
	const at = brace === -1 ? 0 : text[brace] === "{" ? brace + 1 : brace;
	const field = `"${name}":${value}`;
	return text[at - 1] === "{"
		? `${text.slice(0, at)}${field},${text.slice(at)}`
		: `${text.slice(0, at)},${field}${text.slice(at)}`;
}
