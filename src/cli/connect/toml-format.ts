/** TOML, as far as a client's settings need edits: strings, lists of strings and tables of them. */
import {
	endedLine,
	isMapping,
	lineEndOf,
	lineOf,
	lineStart,
	nextLine,
	type SettingPath,
	type Settings,
	SettingsError,
	type SettingsFormat,
	valueAt,
} from "./settings-format.ts";

/** A `key = value`, or the `[table]` that opens a section. */
interface Statement {
	/** The whole path: of a key with that of its table. Undefined in an element of an array of tables. */
	readonly path: SettingPath | undefined;
	readonly isHeader: boolean;
	readonly start: number;
	/** Of the value; of a header the offset of its line. */
	readonly valueStart: number;
	readonly end: number;
}

/** Codex's `config.toml` and the like. */
export const TOML: SettingsFormat = {
	parse(text) {
		try {
			return Bun.TOML.parse(text.replace(/^\uFEFF/, "")) as Settings;
		} catch (error) {
			throw new SettingsError(
				`is no TOML: ${error instanceof Error ? error.message.replace(/^TOML Parse error: /, "") : "it can't be read"}`,
			);
		}
	},
	set(text, path, value) {
		if (!isMapping(value)) return withKey(text, path, value);
		const current = valueAt(TOML.parse(text), path);
		const stale = isMapping(current) ? Object.keys(current).filter((name) => !Object.hasOwn(value, name)) : [];
		const cleaned = stale.reduce((result, name) => TOML.remove(result, [...path, name]), text);
		return Object.entries(value).reduce((result, [name, inner]) => TOML.set(result, [...path, name], inner), cleaned);
	},
	remove(text, path) {
		const all = statements(text);
		const isWithin = ({ path: own }: Statement) => own !== undefined && startsWith(own, path);
		const gone = all.filter(isWithin);
		return gone.reduceRight((result, statement) => withoutLines(result, statement), text);
	},
};

/** A line of its own: TOML has no other place where a key is sure to belong to its table. */
function withKey(text: string, path: SettingPath, value: unknown): string {
	const eol = lineEndOf(text);
	const all = statements(text);
	const there = all.find((each) => !each.isHeader && each.path !== undefined && samePath(each.path, path));
	const written = JSON.stringify(value);
	if (there) return text.slice(0, there.valueStart) + written + text.slice(there.end);
	const line = `${bareKey(path.at(-1)!)} = ${written}${eol}`;
	const table = path.slice(0, -1);
	const opening = all.findIndex(({ isHeader }) => isHeader);
	if (table.length === 0) {
		const last = all.slice(0, opening === -1 ? all.length : opening).at(-1);
		// A key behind a table would be that table's; a byte order mark stays the first.
		const first = text.startsWith("\uFEFF") ? 1 : 0;
		const at = last ? nextLine(text, last.end) : opening === -1 ? text.length : first;
		const gap = last || opening === -1 ? "" : eol;
		return (at === first ? text.slice(0, at) : endedLine(text.slice(0, at))) + line + gap + text.slice(at);
	}
	const header = all.findLastIndex((each) => each.isHeader && each.path !== undefined && samePath(each.path, table));
	if (header === -1) {
		const before = endedLine(text);
		const gap = before === "" ? "" : eol;
		return `${before}${gap}[${table.map(bareKey).join(".")}]${eol}${line}`;
	}
	const next = all.findIndex(({ isHeader }, at) => isHeader && at > header);
	const last = all[(next === -1 ? all.length : next) - 1]!;
	const at = nextLine(text, last.end);
	return endedLine(text.slice(0, at)) + line + text.slice(at);
}

/** Without the statement's lines; a header takes the empty line above it along. */
function withoutLines(text: string, { start, end, isHeader }: Statement): string {
	const from = lineStart(text, start);
	const head = text.slice(0, from);
	return (isHeader ? head.replace(/(\n)\r?\n$/, "$1") : head) + text.slice(nextLine(text, end));
}

function bareKey(name: string): string {
	return /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name);
}

function samePath(one: SettingPath, other: SettingPath): boolean {
	return one.length === other.length && startsWith(one, other);
}

function startsWith(path: SettingPath, beginning: SettingPath): boolean {
	return beginning.every((name, at) => path[at] === name);
}

const BLANK = /(?:[ \t\r\n\uFEFF]|#[^\n]*)*/y;
const KEY = /[ \t]*(?:([A-Za-z0-9_-]+)|("(?:[^"\\\n]|\\.)*")|'([^'\n]*)')[ \t]*(\.?)/y;
/** What a value is made of; strings come first, so that nothing in them counts. */
const PART =
	/"""[\s\S]*?"{3,5}(?!")|'''[\s\S]*?'{3,5}(?!')|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|#[^\n]*|[[\]{}]|\n|[^"'#[\]{}\n]+/y;

/** All statements, in order. The text was parsed before: what can't be read here is an unusual layout. */
function statements(text: string): Statement[] {
	const found: Statement[] = [];
	let table: SettingPath | undefined = [];
	let at = 0;
	for (;;) {
		at = matchEnd(BLANK, text, at);
		if (at >= text.length) return found;
		const start = at;
		if (text[at] === "[") {
			const isElement = text.startsWith("[[", at);
			const { path, end } = dotted(text, at + (isElement ? 2 : 1));
			table = isElement ? undefined : path;
			at = nextLine(text, end) === text.length ? text.length : nextLine(text, end) - 1;
			found.push({ path: table, isHeader: true, start, valueStart: start, end: end + (isElement ? 2 : 1) });
			continue;
		}
		const { path, end } = dotted(text, at);
		if (text[end] !== "=") throw unreadable(text, at);
		const valueStart = end + 1 + /^[ \t]*/.exec(text.slice(end + 1))![0].length;
		at = valueEnd(text, valueStart);
		const value = text.slice(valueStart, at).trimEnd();
		found.push({
			path: table && [...table, ...path],
			isHeader: false,
			start,
			valueStart,
			end: valueStart + value.length,
		});
	}
}

/** A dotted key, and the offset behind it. */
function dotted(text: string, start: number): { path: string[]; end: number } {
	const path: string[] = [];
	let at = start;
	for (;;) {
		KEY.lastIndex = at;
		const match = KEY.exec(text);
		if (!match) throw unreadable(text, start);
		const [all, bare, double, single, dot] = match;
		path.push(bare ?? single ?? String(JSON.parse(double!)));
		at += all.length;
		if (dot === "") return { path, end: at };
	}
}

/** Where a value ends: at the end of its line, or at a comment, outside of strings and brackets. */
function valueEnd(text: string, start: number): number {
	let depth = 0;
	let at = start;
	while (at < text.length) {
		const part = text.slice(at, matchEnd(PART, text, at));
		if (part === "") throw unreadable(text, at);
		if (depth === 0 && (part === "\n" || part.startsWith("#"))) return at;
		if (part === "[" || part === "{") depth++;
		if (part === "]" || part === "}") depth--;
		at += part.length;
	}
	return at;
}

function matchEnd(pattern: RegExp, text: string, at: number): number {
	pattern.lastIndex = at;
	return pattern.test(text) ? pattern.lastIndex : at;
}

function unreadable(text: string, at: number): SettingsError {
	return new SettingsError(
		`has a line ${lineOf(text, at)} that can't be edited safely: add the printed settings by hand`,
	);
}
