/** A client's files: what would be written to them, the writing, and the taking out. */
import { readFileSync, rmSync } from "node:fs";
import { StartError } from "../../errors.ts";
import type { ConnectRecord, WrittenFile } from "./connect-record.ts";
import { DOTENV } from "./dotenv-format.ts";
import { JSONC } from "./jsonc-format.ts";
import { lineDiff } from "./line-diff.ts";
import { backUp, type FoundFile, readFound, refuseReadOnly, removeMade, replaceText } from "./settings-file.ts";
import {
	edited,
	isMapping,
	type SettingEdit,
	SettingsError,
	type SettingsFormat,
	valueAt,
	withValue,
} from "./settings-format.ts";
import {
	type Conflict,
	type FileSettings,
	type FormatName,
	merged,
	takenOut,
	textHash,
	type WrittenValue,
} from "./settings-merge.ts";
import { TOML } from "./toml-format.ts";
import { YAML } from "./yaml-format.ts";

const FORMATS: Readonly<Record<FormatName, SettingsFormat>> = { jsonc: JSONC, toml: TOML, yaml: YAML, dotenv: DOTENV };

/** A file as it is, and as it would be. */
export interface PreparedFile {
	readonly file: FileSettings;
	readonly found: FoundFile;
	readonly text: string;
	readonly values: readonly WrittenValue[];
	readonly head: readonly WrittenValue[];
	readonly conflicts: readonly Conflict[];
	/** What is said of values that make the client use something else. */
	readonly rivals: readonly string[];
}

/** The settings alone, as they would stand in a new file. */
export function fragment({ format, settings }: FileSettings): string {
	return settings.reduce((text, { path, value }) => FORMATS[format].set(text, path, value), "");
}

/** Reads a file and works out what it would become; changes nothing. Throws StartError where it can't be read or edited. */
export function prepare(
	file: FileSettings,
	record: ConnectRecord,
	options: { readonly isOverwriting: boolean; readonly secret: string | undefined },
): PreparedFile {
	const found = readFound(file.path);
	const format = FORMATS[file.format];
	return naming(file.path, () => {
		const before = found.text ?? "";
		const current = format.parse(before);
		const own = found.text === undefined ? undefined : record.files.find(({ path }) => path === file.path);
		const isBegun = Object.keys(current).length > 0;
		const first = isBegun ? [] : file.settings.filter(({ isForNewFile }) => isForNewFile);
		const wanted = file.settings.filter(({ isForNewFile }) => !isForNewFile);
		const { edits, values, conflicts } = merged(current, wanted, own?.values ?? [], options);
		const head = isBegun ? (own?.head ?? []) : first.map(({ path, value }) => ({ path, written: value, depth: 0 }));
		const begun: SettingEdit[] = first.map(({ path, value }) => ({ path, value }));
		const rivals = (file.rivals ?? [])
			.filter(({ path }) => valueAt(current, path) !== undefined)
			.map(({ path, effect }) => `${file.path}: ${path.join(".")} is set, which ${effect}.`);
		const text = edited(format, before, [...begun, ...edits]);
		if (text !== found.text) refuseReadOnly(found);
		return { file, found, text, values, head, conflicts, rivals };
	});
}

/** Writes a prepared file, after a backup; returns the record with it, and lines for the user. Throws StartError. */
export function writePrepared(
	{ file, found, text, values, head }: PreparedFile,
	record: ConnectRecord,
	hasSecret: boolean,
): { readonly record: ConnectRecord; readonly lines: readonly string[] } {
	const { path, format } = file;
	const own = found.text === undefined ? undefined : record.files.find((each) => each.path === path);
	const hash = textHash(text);
	if (text === found.text) {
		const same = own ? { ...own, values } : undefined;
		return { record: same ? withFile(record, same) : record, lines: [`${path} has all of it already.\n`] };
	}
	const lines = [`${path}\n${lineDiff(found.text ?? "", text)}`];
	const backup = found.text === undefined ? undefined : backUp(found);
	const modeBefore = found.mode ?? 0o600;
	const mode = hasSecret ? modeBefore & 0o600 : modeBefore;
	const made = replaceText(found, text, mode);
	lines.push(`Written${backup === undefined ? "" : `; as it was before: ${backup}`}.\n`);
	if (mode !== modeBefore)
		lines.push(
			`It holds a key, so nobody but its owner may read it any more (${octal(mode)}, was ${octal(modeBefore)}).\n`,
		);
	const folder = own?.folder ?? made;
	const oldMode = own ? own.mode : found.mode;
	const written: WrittenFile = {
		path,
		format,
		values,
		head,
		hash,
		backups: [...(own?.backups ?? []), ...(backup === undefined ? [] : [backup])],
		isUntouched: own === undefined || (own.isUntouched && own.hash === textHash(found.text ?? "")),
		isNew: own?.isNew ?? found.text === undefined,
		...(folder !== undefined && { folder }),
		...(oldMode !== undefined && { mode: oldMode }),
	};
	return { record: withFile(record, written), lines };
}

function withFile(record: ConnectRecord, file: WrittenFile): ConnectRecord {
	return { ...record, files: [...record.files.filter(({ path }) => path !== file.path), file] };
}

function octal(mode: number): string {
	return mode.toString(8).padStart(4, "0");
}

/** Takes out of a file what was written to it; returns lines for the user. Throws StartError where it can't be read or edited. */
export function takeOut(file: WrittenFile): { readonly lines: readonly string[]; readonly notes: readonly string[] } {
	const { path, hash, isNew, isUntouched, backups } = file;
	const found = readFound(path);
	if (found.text === undefined) return { lines: [`${path} is gone.\n`], notes: [] };
	const { text: before } = found;
	const [first] = backups;
	const original =
		isUntouched && textHash(before) === hash && !isNew && first !== undefined ? backupText(first) : undefined;
	if (isUntouched && textHash(before) === hash && (isNew || original !== undefined)) {
		const lines = finish(file, found, original);
		for (const backup of backups) rmSync(backup, { force: true });
		return { lines, notes: [] };
	}
	return naming(path, () => {
		const format = FORMATS[file.format];
		const current = format.parse(before);
		const { edits, changed } = takenOut(current, file.values);
		const text = edited(format, before, edits);
		const left = file.head.reduce<unknown>(
			(settings, each) => withValue(settings, each.path, undefined),
			format.parse(text),
		);
		const isOver = isNew && isMapping(left) && Object.keys(left).length === 0 && !hasComment(text);
		const notes = changed.map(
			(value) => `${path}: ${value.path.join(".")} was changed since it was written, and is left.`,
		);
		if (backups.length > 0) notes.push(`${path} was edited since; the backups stay: ${backups.join(", ")}.`);
		return { lines: finish(file, found, isOver ? undefined : text), notes };
	});
}

/** Writes the text from before, or without what was ours; undefined removes the file. */
function finish({ folder, mode }: WrittenFile, found: FoundFile, text: string | undefined): string[] {
	const { path, target, text: before = "" } = found;
	if (text !== before) refuseReadOnly(found);
	if (text === undefined) {
		removeMade(target, folder);
		return [`${path}\n${lineDiff(before, "")}Removed.\n`];
	}
	if (text === before) return [`${path} has nothing of it any more.\n`];
	replaceText(found, text, mode ?? found.mode ?? 0o600);
	return [`${path}\n${lineDiff(before, text)}Taken out.\n`];
}

function hasComment(text: string): boolean {
	return /^\s*(?:#|\/\/)/m.test(text);
}

function backupText(backup: string): string | undefined {
	try {
		return readFileSync(backup, "utf8");
	} catch {
		return undefined;
	}
}

/** The key that was written earlier and is still there. */
export function writtenSecret({ files }: ConnectRecord): string | undefined {
	for (const { path, format, values } of files) {
		try {
			const settings = FORMATS[format].parse(readFound(path).text ?? "");
			for (const value of values) {
				const secret = secretIn(valueAt(settings, value.path), value.written);
				if (secret !== undefined) return secret;
			}
		} catch (error) {
			// A file that can't be read is said when it is prepared.
			if (!(error instanceof StartError)) throw error;
		}
	}
	return undefined;
}

function secretIn(found: unknown, written: unknown): string | undefined {
	if (typeof found === "string") return textHash(found) === written ? found : undefined;
	if (!isMapping(found) || !isMapping(written)) return undefined;
	for (const [name, inner] of Object.entries(written)) {
		const secret = secretIn(found[name], inner);
		if (secret !== undefined) return secret;
	}
	return undefined;
}

/** What `work` returns; what it says of a file's text gets the file's name. */
function naming<Result>(path: string, work: () => Result): Result {
	try {
		return work();
	} catch (error) {
		if (error instanceof SettingsError) throw new StartError(`${path} ${error.message} (it was left as it is)`);
		throw error;
	}
}
