/** Which values of a client's settings are written, which are left to their owner, and how they are taken out again. Pure. */
import { hashKey } from "../../accounts/auth/keys.ts";
import { isMapping, type SettingEdit, type SettingPath, type Settings, valueAt, withValue } from "./settings-format.ts";

/** A value that a client needs: a text, a list of texts, or a mapping that is this router's as a whole. */
export interface ClientSetting {
	readonly path: SettingPath;
	readonly value: unknown;
	/** The router's address or key. Where another value is left nothing is written: half of it would send the key elsewhere. */
	readonly isEssential?: boolean;
	/** Only a file that is new, or empty, gets it. */
	readonly isForNewFile?: boolean;
	/** What the user can do where another value is left alone. */
	readonly instead?: string;
}

/** The formats of settings files. */
export type FormatName = "jsonc" | "toml" | "yaml" | "dotenv";

/** A file, and what has to stand in it. */
export interface FileSettings {
	readonly path: string;
	readonly format: FormatName;
	readonly settings: readonly ClientSetting[];
	/** Values that make the client use something else than this router, and what they do. */
	readonly rivals?: readonly { readonly path: readonly string[]; readonly effect: string }[];
}

/** A value as it is recorded when it was written. */
export interface WrittenValue {
	readonly path: SettingPath;
	/** A key in it is a hash. */
	readonly written: unknown;
	/** What stood there and was replaced. */
	readonly previous?: unknown;
	/** How many names of the path were there before: the mappings below them were added with the value. */
	readonly depth: number;
}

/** Somebody else's value, where the client needs another one. */
export interface Conflict {
	readonly setting: ClientSetting;
	readonly found: unknown;
}

/** What becomes of a file. */
export interface Merge {
	readonly edits: readonly SettingEdit[];
	/** Recorded once the edits are written. */
	readonly values: readonly WrittenValue[];
	readonly conflicts: readonly Conflict[];
}

/**
 * Sets what is wanted in `current`, where nothing else stands. `ours` was written before: it is replaced, and taken out where it is no
 * longer wanted. `isOverwriting` replaces somebody else's values, too. `secret`: the key among the values.
 */
export function merged(
	current: Settings,
	wanted: readonly ClientSetting[],
	ours: readonly WrittenValue[],
	{ isOverwriting, secret }: { readonly isOverwriting: boolean; readonly secret: string | undefined },
): Merge {
	const stale = ours.filter(({ path }) => !wanted.some((setting) => isSame(setting.path, path)));
	const edits: SettingEdit[] = [...takenOut(current, stale).edits];
	const values: WrittenValue[] = [];
	const conflicts: Conflict[] = [];
	for (const setting of wanted) {
		const { path, value } = setting;
		const found = valueAt(current, path);
		const own = ours.find((each) => isSame(each.path, path));
		const written = sealed(value, secret);
		if (found === undefined) {
			edits.push({ path, value });
			values.push({ path, written, depth: depthOf(current, path) });
		} else if (own && holds(found, own.written)) {
			const next = isMapping(value) ? combined(remainder(found, own.written), value) : value;
			if (!Bun.deepEquals(next, found)) edits.push({ path, value: next });
			values.push({ ...own, written });
		} else if (!holds(found, written)) {
			// Nothing is nobody's: `model:` in YAML, `KEY=` among variables.
			const isNothing = found === null || found === "";
			if (!isOverwriting && !isNothing) conflicts.push({ setting, found });
			else {
				edits.push({ path, value });
				values.push({ path, written, previous: found, depth: path.length });
			}
		}
	}
	return { edits, values, conflicts };
}

/** The edits that take out what was written, and the values that were changed since, which are left. */
export function takenOut(
	current: Settings,
	ours: readonly WrittenValue[],
): { readonly edits: readonly SettingEdit[]; readonly changed: readonly WrittenValue[] } {
	const there = ours.filter(({ path }) => valueAt(current, path) !== undefined);
	const gone = there.filter(({ path, written }) => holds(valueAt(current, path), written));
	const edits: SettingEdit[] = gone.map(({ path, previous }) => ({ path, value: previous }));
	let left = edits.reduce<unknown>((settings, { path, value }) => withValue(settings, path, value), current);
	// The mappings that were added with a value go with it, the inner ones first, unless they hold something else by now.
	const added = gone.flatMap(({ path, depth }) => path.slice(depth, -1).map((_, at) => path.slice(0, depth + at + 1)));
	for (const path of added.toSorted((a, b) => b.length - a.length)) {
		if (!isEmpty(valueAt(left, path))) continue;
		left = withValue(left, path, undefined);
		edits.push({ path, value: undefined });
	}
	return { edits, changed: there.filter((value) => !gone.includes(value)) };
}

/** SHA-256 of a text, as it is recorded. */
export function textHash(text: string): string {
	return `sha256:${hashKey(text).toString("hex")}`;
}

function isSame(one: SettingPath, other: SettingPath): boolean {
	return Bun.deepEquals(one, other);
}

function isEmpty(value: unknown): boolean {
	return Array.isArray(value) ? value.length === 0 : isMapping(value) && Object.keys(value).length === 0;
}

/** How many names of a path are there. */
function depthOf(settings: Settings, path: SettingPath): number {
	const missing = path.findIndex((_, at) => valueAt(settings, path.slice(0, at + 1)) === undefined);
	return missing === -1 ? path.length : missing;
}

/** With the key's hash for the key. */
function sealed(value: unknown, secret: string | undefined): unknown {
	if (typeof value === "string") return value === secret ? textHash(value) : value;
	if (!isMapping(value)) return value;
	return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, sealed(inner, secret)]));
}

/** Whether a value is the one that was written; a mapping may have got further entries since. */
function holds(found: unknown, written: unknown): boolean {
	if (isMapping(written)) {
		return isMapping(found) && Object.entries(written).every(([name, inner]) => holds(found[name], inner));
	}
	return Bun.deepEquals(found, written) || (typeof found === "string" && textHash(found) === written);
}

/** What a mapping has besides the entries that were written. */
function remainder(found: unknown, written: unknown): Record<string, unknown> {
	if (!isMapping(found) || !isMapping(written)) return {};
	const entries = Object.entries(found).flatMap(([name, inner]): [string, unknown][] => {
		if (!Object.hasOwn(written, name)) return [[name, inner]];
		const further = remainder(inner, written[name]);
		return Object.keys(further).length > 0 ? [[name, further]] : [];
	});
	return Object.fromEntries(entries);
}

/** The second mapping, with what the first has besides. */
function combined(first: Record<string, unknown>, second: Record<string, unknown>): Record<string, unknown> {
	const result: Record<string, unknown> = { ...second };
	for (const [name, value] of Object.entries(first)) {
		const other = second[name];
		if (other === undefined) result[name] = value;
		else if (isMapping(value) && isMapping(other)) result[name] = combined(value, other);
	}
	return result;
}
