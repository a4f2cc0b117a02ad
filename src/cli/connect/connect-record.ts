/** What `router connect` has written, so that `--undo` takes out that and nothing else: a file for each client. */
import { homedir } from "node:os";
import { join } from "node:path";
import type { Environment } from "../../config/interpolate.ts";
import { StartError } from "../../errors.ts";
import { readFound, removeMade, replaceText } from "./settings-file.ts";
import { isMapping } from "./settings-format.ts";
import type { FormatName, WrittenValue } from "./settings-merge.ts";

/** What was written for one client. */
export interface ConnectRecord {
	readonly files: readonly WrittenFile[];
	/** The key that was made for it. */
	readonly key?: MadeKey;
}

/** A key of this router's that was made for a client. */
export interface MadeKey {
	readonly id: string;
	readonly name: string;
	/** The router that was told to make it; without it the data directory of this machine has it. */
	readonly url?: string;
}

/** A file that was written to. */
export interface WrittenFile {
	readonly path: string;
	readonly format: FormatName;
	readonly values: readonly WrittenValue[];
	/** What the file was begun with, as it was new or empty: good for nothing once all else is gone. */
	readonly head: readonly WrittenValue[];
	/** SHA-256 of its text since. */
	readonly hash: string;
	readonly backups: readonly string[];
	/** The first of them has the text from before all this, and nobody else has edited the file between two writes. */
	readonly isUntouched: boolean;
	/** There was no such file. */
	readonly isNew: boolean;
	/** The folder that was made for it. */
	readonly folder?: string;
	/** The permissions that it had. */
	readonly mode?: number;
}

/** The user's home, as Node's and Python's programs find it. */
export function homeOf(env: Environment): string {
	const named = process.platform === "win32" ? env["USERPROFILE"] : env["HOME"];
	return named || homedir();
}

/** Where the record of a client is. */
export function recordPath(client: string, env: Environment): string {
	const state =
		process.platform === "win32"
			? env["LOCALAPPDATA"] || join(homeOf(env), "AppData", "Local")
			: env["XDG_STATE_HOME"] || join(homeOf(env), ".local", "state");
	return join(state, "router", `connect-${client}.json`);
}

/** The record; undefined where nothing was written. Throws StartError where it can't be read. */
export function readRecord(path: string): ConnectRecord | undefined {
	const { text } = readFound(path);
	if (text === undefined) return undefined;
	try {
		const record: unknown = JSON.parse(text);
		if (isMapping(record) && Array.isArray(record["files"])) return record as unknown as ConnectRecord;
	} catch {
		// Said below.
	}
	throw new StartError(`${path}, the record of what was written, can't be read; remove it to go on without`);
}

/** Writes the record; one without files is removed. Throws StartError. */
export function writeRecord(path: string, record: ConnectRecord): void {
	if (record.files.length === 0) removeMade(path, undefined);
	else replaceText(readFound(path), `${JSON.stringify(record, null, "\t")}\n`, 0o600);
}
