/** What all formats of clients' settings files have in common: values at paths, and edits that are checked before anybody writes them. */
import { StartError } from "../../errors.ts";

/** A value's path: names of mappings; in a list of mappings that have a `name`, that name. */
export type SettingPath = readonly string[];
/** A file's content as plain values. */
export type Settings = Readonly<Record<string, unknown>>;

/** Reads and edits texts of one format. Whatever is not edited stays as it is: comments, order, indentation, line ends. Pure. */
export interface SettingsFormat {
	/** Throws SettingsError where the text is not of this format, or is no mapping. An empty text is an empty mapping. */
	parse(text: string): Settings;
	/** Sets a value; mappings above it are added. Throws SettingsError where the layout leaves no room for it. */
	set(text: string, path: SettingPath, value: unknown): string;
	/** Takes a value out, with its name. */
	remove(text: string, path: SettingPath): string;
}

/** A settings file can't be read or edited. The message says why, without the file's name. */
export class SettingsError extends StartError {}

/** An edit: `value` undefined takes out what is there. */
export interface SettingEdit {
	readonly path: SettingPath;
	readonly value: unknown;
}

export function isMapping(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value at a path; undefined where there is none. */
export function valueAt(settings: unknown, path: SettingPath): unknown {
	let value = settings;
	for (const name of path) {
		if (Array.isArray(value)) value = value.find((item) => isMapping(item) && item["name"] === name);
		else if (isMapping(value) && Object.hasOwn(value, name)) value = value[name];
		else return undefined;
	}
	return value;
}

/**
 * The text with all edits made, after the result was read again: what it says now must be what it said before, but for the edits.
 * Throws SettingsError where it is not, since a file with an unusual layout is its owner's to edit.
 */
export function edited(format: SettingsFormat, text: string, edits: readonly SettingEdit[]): string {
	let result = text;
	let wanted: unknown = format.parse(text);
	for (const { path, value } of edits) {
		if (value === undefined && valueAt(wanted, path) === undefined) continue;
		wanted = withValue(wanted, path, value);
		result = value === undefined ? format.remove(result, path) : format.set(result, path, value);
	}
	let found: unknown;
	try {
		found = format.parse(result);
	} catch {
		throw unusual();
	}
	if (!Bun.deepEquals(withoutEmpty(found), withoutEmpty(wanted))) throw unusual();
	return result;
}

/** Without mappings that hold nothing: TOML knows a table only by what is in it. */
function withoutEmpty(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(withoutEmpty);
	if (!isMapping(value)) return value;
	const inner = Object.entries(value).map(([name, each]) => [name, withoutEmpty(each)] as const);
	return Object.fromEntries(inner.filter(([, each]) => !isMapping(each) || Object.keys(each).length > 0));
}

function unusual(): SettingsError {
	return new SettingsError("is laid out in a way that can't be edited safely: add the printed settings by hand");
}

/** A copy with another value at a path; undefined takes out what is there. Throws SettingsError where something else than a mapping is in the way. */
export function withValue(settings: unknown, [name, ...rest]: SettingPath, value: unknown): unknown {
	if (name === undefined) return value;
	const isUnset = settings === undefined || settings === null;
	if (Array.isArray(settings) || (isUnset && isMapping(value) && value["name"] === name)) {
		const items: readonly unknown[] = Array.isArray(settings) ? settings : [];
		const isNamed = (item: unknown) => isMapping(item) && item["name"] === name;
		if (value === undefined && rest.length === 0) return items.filter((item) => !isNamed(item));
		if (!items.some(isNamed)) return [...items, withValue(undefined, rest, value)];
		return items.map((item) => (isNamed(item) ? withValue(item, rest, value) : item));
	}
	if (!isUnset && !isMapping(settings)) {
		throw new SettingsError(`has something else where "${name}" would have to stand`);
	}
	const copy: Record<string, unknown> = { ...settings };
	const inner = withValue(copy[name], rest, value);
	if (inner === undefined) delete copy[name];
	else copy[name] = inner;
	return copy;
}

/** The line end that a text uses. */
export function lineEndOf(text: string): string {
	return text.includes("\r\n") ? "\r\n" : "\n";
}

/** Where the line that holds `at` begins. */
export function lineStart(text: string, at: number): number {
	return text.lastIndexOf("\n", at - 1) + 1;
}

/** Behind the line end of the line that holds `at`. */
export function nextLine(text: string, at: number): number {
	const end = text.indexOf("\n", at);
	return end === -1 ? text.length : end + 1;
}

/** The line of an offset, from 1. */
export function lineOf(text: string, at: number): number {
	return text.slice(0, at).split("\n").length;
}

/** With a line end, unless it is empty. */
export function endedLine(text: string): string {
	return text === "" || text.endsWith("\n") ? text : text + lineEndOf(text);
}
