/** JSON with comments and trailing commas, as editors and agents write their settings. */
import {
	isMapping,
	lineEndOf,
	lineOf,
	lineStart,
	nextLine,
	type SettingPath,
	type Settings,
	SettingsError,
	type SettingsFormat,
} from "./settings-format.ts";

/** A value, and where it stands: `start` and the offset behind it. */
interface Node {
	readonly start: number;
	readonly end: number;
	readonly value: unknown;
	/** Of an object, in order. */
	readonly members?: readonly Member[];
}
interface Member {
	readonly name: string;
	/** Of the name. */
	readonly start: number;
	readonly node: Node;
}

/** Indentation of a text that has none. */
const INDENT = "  ";

/** JSON and JSONC. What is set stands in strict JSON, so that a strict file stays strict. */
export const JSONC: SettingsFormat = {
	parse(text) {
		return (root(text)?.value ?? {}) as Settings;
	},
	set(text, path, value) {
		const eol = lineEndOf(text);
		let node = root(text);
		if (!node) return `${text}${rendered(nested(path, value), "", INDENT, eol)}${eol}`;
		for (const [depth, name] of path.entries()) {
			if (node.value === null) {
				value = nested(path.slice(depth), value);
				break;
			}
			if (!node.members) throw new SettingsError(`has something else where "${name}" would have to stand`);
			const member: Member | undefined = node.members.findLast((each) => each.name === name);
			if (!member) return inserted(text, node, name, nested(path.slice(depth + 1), value));
			node = member.node;
		}
		const written = rendered(value, indentAt(text, node.start), unitOf(text), eol);
		return text.slice(0, node.start) + written + text.slice(node.end);
	},
	remove(text, path) {
		let node = root(text);
		for (const name of path.slice(0, -1)) node = node?.members?.findLast((each) => each.name === name)?.node;
		const members = node?.members ?? [];
		const at = members.findLastIndex(({ name }) => name === path.at(-1));
		return at === -1 ? text : withoutMember(text, members, at);
	},
};

function nested(path: SettingPath, value: unknown): unknown {
	return path.reduceRight((inner, name) => ({ [name]: inner }), value);
}

function rendered(value: unknown, indent: string, unit: string, eol: string): string {
	return JSON.stringify(value, null, unit).split("\n").join(`${eol}${indent}`);
}

/** Behind the object's last member, or as its first. */
function inserted(text: string, { start, end, members = [] }: Node, name: string, value: unknown): string {
	const eol = lineEndOf(text);
	const unit = unitOf(text);
	const last = members.at(-1);
	const outer = indentAt(text, start);
	const member = (indent: string) => `${JSON.stringify(name)}: ${rendered(value, indent, unit, eol)}`;
	if (!last) {
		const rest = text.slice(start + 1, end - 1).trim() === "" ? "" : text.slice(start + 1, end - 1).trimEnd();
		return `${text.slice(0, start + 1)}${eol}${outer}${unit}${member(outer + unit)}${rest}${eol}${outer}${text.slice(end - 1)}`;
	}
	const comma = commaAfter(text, last.node.end);
	const head = comma === undefined ? `${text.slice(0, last.node.end)},` : text.slice(0, comma + 1);
	const tail = text.slice(comma === undefined ? last.node.end : comma + 1);
	const trailing = comma === undefined ? "" : ",";
	if (!text.slice(start, end).includes("\n")) return `${head} ${member("")}${trailing}${tail}`;
	// A comment behind the last member, in its line, stays with it.
	const [comment = ""] = /^[ \t]*(?:\/\/[^\r\n]*|\/\*[^\r\n]*?\*\/)?/.exec(tail) ?? [];
	const isComment = comment.trim() !== "";
	const behind = isComment ? comment : "";
	const indent = indentAt(text, last.start);
	return `${head}${behind}${eol}${indent}${member(indent)}${trailing}${tail.slice(behind.length)}`;
}

function withoutMember(text: string, members: readonly Member[], at: number): string {
	const { start, node } = members[at]!;
	const comma = commaAfter(text, node.end);
	const end = comma === undefined ? node.end : comma + 1;
	const before = comma === undefined && at > 0 ? commaAfter(text, members[at - 1]!.node.end) : undefined;
	const ownLines =
		text.slice(lineStart(text, start), start).trim() === "" && /^[ \t]*(?:\r?\n|$)/.test(text.slice(end));
	let from = ownLines ? lineStart(text, start) : start;
	let to = ownLines ? nextLine(text, end) : end;
	if (!ownLines && members.length === 1) {
		// `{ "a": 1 }` and an object whose only member fills it.
		from -= /\s*$/.exec(text.slice(0, start))![0].length;
		to += /^\s*/.exec(text.slice(end))![0].length;
	} else if (!ownLines && before !== undefined) from = before + 1;
	else if (!ownLines) to += /^[ \t]*/.exec(text.slice(end))![0].length;
	const head = before === undefined ? text.slice(0, from) : text.slice(0, before) + text.slice(before + 1, from);
	const result = head + text.slice(to);
	return members.length === 1 ? emptied(result, head.length) : result;
}

/** An object that lost its only member on a line of its own: `{\n}` → `{}`. */
function emptied(text: string, at: number): string {
	const head = text.slice(0, at).trimEnd();
	const tail = text.slice(at).trimStart();
	return head.endsWith("{") && tail.startsWith("}") ? head + tail : text;
}

/** The comma behind a value, past white space and comments. */
function commaAfter(text: string, end: number): number | undefined {
	const at = skipped(text, end);
	return text[at] === "," ? at : undefined;
}

function indentAt(text: string, at: number): string {
	return /^[ \t]*/.exec(text.slice(lineStart(text, at), at))![0];
}

/** One level of indentation, as the text has it. */
function unitOf(text: string): string {
	return /\{[ \t]*(?:\/\/[^\n]*)?\r?\n([ \t]+)"/.exec(text)?.[1] ?? INDENT;
}

const BLANK = /(?:[\s\uFEFF]|\/\/[^\n]*|\/\*[\s\S]*?\*\/)*/y;

/** Behind white space and comments. */
function skipped(text: string, at: number): number {
	BLANK.lastIndex = at;
	BLANK.test(text);
	return BLANK.lastIndex;
}

/** The object that the text is; undefined where it has nothing but white space and comments. Throws SettingsError. */
function root(text: string): Node | undefined {
	const start = skipped(text, 0);
	if (start === text.length) return undefined;
	const node = read(text, start, 0);
	const end = skipped(text, node.end);
	if (end < text.length) throw wrong(text, end);
	if (!isMapping(node.value)) throw new SettingsError("is no JSON object");
	return node;
}

const SCALAR = /"(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|true|false|null/y;
/** Deeper is nobody's settings, and would end the stack. */
const DEEPEST = 200;

function read(text: string, start: number, depth: number): Node {
	if (depth > DEEPEST) throw wrong(text, start);
	if (text[start] === "{") return readObject(text, start, depth);
	if (text[start] === "[") {
		const items: unknown[] = [];
		let at = skipped(text, start + 1);
		while (text[at] !== "]") {
			const item = read(text, at, depth + 1);
			items.push(item.value);
			at = separated(text, item.end, "]");
		}
		return { start, end: at + 1, value: items };
	}
	SCALAR.lastIndex = start;
	const [scalar] = SCALAR.exec(text) ?? [];
	if (scalar === undefined) throw wrong(text, start);
	try {
		return { start, end: start + scalar.length, value: JSON.parse(scalar) };
	} catch {
		throw wrong(text, start);
	}
}

function readObject(text: string, start: number, depth: number): Node {
	const members: Member[] = [];
	const value: Record<string, unknown> = {};
	let at = skipped(text, start + 1);
	while (text[at] !== "}") {
		const key = read(text, at, depth + 1);
		const colon = skipped(text, key.end);
		if (typeof key.value !== "string" || text[colon] !== ":") throw wrong(text, at);
		const node = read(text, skipped(text, colon + 1), depth + 1);
		members.push({ name: key.value, start: at, node });
		Object.defineProperty(value, key.value, {
			value: node.value,
			enumerable: true,
			configurable: true,
			writable: true,
		});
		at = separated(text, node.end, "}");
	}
	return { start, end: at + 1, value, members };
}

/** Behind the comma after a value, or at the closing bracket. */
function separated(text: string, end: number, closing: string): number {
	const at = skipped(text, end);
	if (text[at] === ",") return skipped(text, at + 1);
	if (text[at] === closing) return at;
	throw wrong(text, at);
}

function wrong(text: string, at: number): SettingsError {
	return new SettingsError(`is no JSON: line ${lineOf(text, at)} can't be read`);
}
