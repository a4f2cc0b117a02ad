/** YAML, as far as a client's settings need edits: texts at the top, and lists of mappings that have a `name`. */
import { isMap, isScalar, isSeq, type Pair, parseDocument, type YAMLMap, type YAMLSeq } from "yaml";
import {
	endedLine,
	isMapping,
	lineEndOf,
	lineStart,
	type SettingPath,
	type Settings,
	SettingsError,
	type SettingsFormat,
} from "./settings-format.ts";

/** aider's `.aider.conf.yml` and Continue's `config.yaml`. The text is cut and pasted, since writing a document anew moves its white space. */
export const YAML: SettingsFormat = {
	parse(text) {
		return (mapping(text)?.toJSON() ?? {}) as Settings;
	},
	set(text, path, value) {
		const [key, name, ...rest] = path;
		if (key === undefined || rest.length > 0) throw new SettingsError("can't hold that");
		return name === undefined ? withText(text, key, value) : withItem(text, key, name, value);
	},
	remove(text, [key, name]: SettingPath) {
		const pair = key === undefined ? undefined : pairOf(text, key);
		if (!pair) return text;
		if (name === undefined) return cut(text, rangeOf(pair.key)[0], rangeOf(pair.value ?? pair.key)[1]);
		const items = isSeq(pair.value) ? pair.value.items : [];
		const item = items.find((each) => isMap(each) && each.get("name") === name);
		if (!item) return text;
		const [start, end] = rangeOf(item);
		if (items.length > 1) return cut(text, start, end);
		// An empty value would be null.
		const [, colon] = rangeOf(pair.key);
		return `${text.slice(0, colon)}: []${text.slice(contentEnd(text, end))}`;
	},
};

function mapping(text: string): YAMLMap | undefined {
	const document = parseDocument(text, { uniqueKeys: true });
	const [error] = document.errors;
	if (error) throw new SettingsError(`is no YAML: ${error.message.split("\n")[0]!.replace(/:$/, "")}`);
	const { contents } = document;
	if (contents === null || (isScalar(contents) && contents.value === null)) return undefined;
	if (!isMap(contents)) throw new SettingsError("is no YAML mapping");
	return contents;
}

function pairOf(text: string, key: string): Pair | undefined {
	return mapping(text)?.items.find((pair) => isScalar(pair.key) && pair.key.value === key);
}

/** Where a node starts, and the offset behind it. */
function rangeOf(node: unknown): readonly [start: number, end: number] {
	const { range } = node as { range?: readonly [number, number, number] | null };
	if (!range) throw new SettingsError("has a layout that can't be edited safely: add the printed settings by hand");
	return [range[0], range[1]];
}

/** JSON strings and lists are YAML, too, and no word in them is taken for anything else. */
function withText(text: string, key: string, value: unknown): string {
	const pair = pairOf(text, key);
	const written = JSON.stringify(value);
	if (!pair) return `${endedLine(text)}${key}: ${written}${lineEndOf(text)}`;
	const [start, end] = rangeOf(pair.value);
	const gap = /[\s]/.test(text[start - 1] ?? "") ? "" : " ";
	return text.slice(0, start) + gap + written + text.slice(start === end ? end : contentEnd(text, end));
}

function withItem(text: string, key: string, name: string, value: unknown): string {
	if (!isMapping(value)) throw new SettingsError("can't hold that");
	const eol = lineEndOf(text);
	const pair = pairOf(text, key);
	if (!pair) return `${endedLine(text)}${key}:${eol}${item(value, "  ", eol)}${eol}`;
	const list = pair.value;
	const isEmpty = list === null || (isScalar(list) && list.value === null) || (isSeq(list) && list.items.length === 0);
	if (isEmpty) {
		const [, colon] = rangeOf(pair.key);
		const end = isSeq(list) ? rangeOf(list)[1] : colon + 1;
		return `${text.slice(0, colon)}:${eol}${item(value, "  ", eol)}${text.slice(end)}`;
	}
	if (!isSeq(list) || list.flow)
		throw new SettingsError(`has a list "${key}" that can't be edited safely: add the printed settings by hand`);
	return withItemOf(text, list, name, value);
}

function withItemOf(text: string, list: YAMLSeq, name: string, value: Record<string, unknown>): string {
	const eol = lineEndOf(text);
	const there = list.items.find((each) => isMap(each) && each.get("name") === name);
	const [start, end] = rangeOf(there ?? list.items.at(-1));
	const from = lineStart(text, start);
	const indent = /^[ \t]*/.exec(text.slice(from))![0];
	const to = contentEnd(text, end);
	if (there) return text.slice(0, from) + item(value, indent, eol) + text.slice(to);
	return `${text.slice(0, to)}${eol}${item(value, indent, eol)}${text.slice(to)}`;
}

/** `- name: "…"` and the other fields below it, without a line end. */
function item(fields: Record<string, unknown>, indent: string, eol: string): string {
	return Object.entries(fields)
		.map(([key, value], at) => `${indent}${at === 0 ? "- " : "  "}${key}: ${JSON.stringify(value)}`)
		.join(eol);
}

/** Without these characters and what their lines hold besides. */
function cut(text: string, start: number, end: number): string {
	const to = contentEnd(text, end);
	const behind = /^[ \t]*(?:#[^\n]*)?(?:\r?\n|$)/.exec(text.slice(to))?.[0].length ?? 0;
	return text.slice(0, lineStart(text, start)) + text.slice(to + behind);
}

/** A node's range may reach over empty lines and comments behind it, which are not its own: the offset behind its last line of content. */
function contentEnd(text: string, end: number): number {
	const lines = text.slice(0, end).split("\n");
	while (lines.length > 1 && /^\s*(?:#.*)?$/.test(lines.at(-1)!)) lines.pop();
	return lines.join("\n").replace(/\s+$/, "").length;
}
