/** JSON texts of every legal kind, spaces and escapes included, for tests of code that reads JSON by hand. */
import type { Random } from "./random.ts";

const SCALARS = ["0", "-0.0", "1.10", "1e400", "12345678901234567890", "-5E-7", "true", "false", "null"];
const PIECES = [
	"a",
	"Z",
	" ",
	"\\\\",
	'\\"',
	"\\n",
	"\\/",
	"\\u0041",
	"\\ud83d\\ude42",
	"\\ud800",
	"é",
	"🙂",
	"{",
	"]",
	":",
];
const KEYS = [
	'"model"',
	'"__proto__"',
	'"constructor"',
	'"a\\"b"',
	'"\\\\"',
	'""',
	'"é🙂"',
	'"x y"',
	'"mod\\u0065l2"',
	'","',
];
const SPACES = ["", "", "", " ", "\n", "\t", "\r\n", "  "];

/** A string's text. */
export function stringText(random: Random): string {
	return `"${Array.from({ length: random.below(6) }, () => random.pick(PIECES)).join("")}"`;
}

/** A value's text, nested at most `depth` deep. */
export function valueText(random: Random, depth: number): string {
	const kind = random.below(depth > 0 ? 4 : 2);
	if (kind === 0) return random.pick(SCALARS);
	if (kind === 1) return stringText(random);
	return kind === 2 ? arrayText(random, depth) : objectText(random, depth);
}

function arrayText(random: Random, depth: number): string {
	const items = Array.from({ length: random.below(4) }, () => spaced(random, valueText(random, depth - 1)));
	return `[${items.length === 0 ? random.pick(SPACES) : items.join(",")}]`;
}

/** An object's text whose keys differ. */
export function objectText(random: Random, depth: number): string {
	const keys = KEYS.filter(() => random.below(3) === 0);
	const fields = keys.map((key) => `${spaced(random, key)}:${spaced(random, valueText(random, depth - 1))}`);
	return `{${fields.length === 0 ? random.pick(SPACES) : fields.join(",")}}`;
}

const spaced = (random: Random, text: string) => random.pick(SPACES) + text + random.pick(SPACES);
