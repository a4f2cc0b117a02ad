/** `router backup` and `router restore`: the data directory as one file, whether or not a router runs on it. */
import { resolve } from "node:path";
import { AGENT_SECRET_FILE } from "../accounts/auth/agent-secrets.ts";
import { GENERATED_KEY_FILE } from "../accounts/auth/generated-key.ts";
import { AGENT_FILES } from "../agent/models/agent-file.ts";
import type { Config } from "../config/schema.ts";
import { type BackupCounts, restoreBackup, writeBackup } from "../store/backup.ts";

/** What a directory has beside its database. A router's identity towards others (`replica.id`) is not taken along: the copy is another router. Nor is `snapshot.key`. */
const FILES = [AGENT_SECRET_FILE, GENERATED_KEY_FILE, ...Object.values(AGENT_FILES)];

/** Writes a backup; returns a line for the user. Throws StartError where that fails; nothing is written then. */
export function backUpCommand(file: string, { data_dir }: Pick<Config, "data_dir">, cwd: string): string {
	return `wrote ${file}: ${said(writeBackup(data_dir, resolve(cwd, file), FILES))}\n`;
}

/** Adds a backup to the data directory; returns a line for the user. Throws StartError where that fails. */
export function restoreCommand(file: string, { data_dir }: Pick<Config, "data_dir">, cwd: string): string {
	const added = restoreBackup(resolve(cwd, file), data_dir);
	return `${data_dir} has all of ${file} now; it lacked ${said(added)}\n`;
}

function said({ calls, keys, files }: BackupCounts): string {
	const count = (number: number, one: string) => `${number.toLocaleString("en-US")} ${one}${number === 1 ? "" : "s"}`;
	return [count(calls, "call"), count(keys, "key"), ...(files.length > 0 ? [files.join(", ")] : [])].join(", ");
}
