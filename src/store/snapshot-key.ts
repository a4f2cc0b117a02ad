/** What hashes of prompts in the ledger are made with: a key of the data directory, in a file beside the database. */
import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makePrivate } from "./private-file.ts";

/** The file of a data directory that has the key. No backup has it: who reads one must not be able to try guesses of what prompts said. */
export const SNAPSHOT_KEY_FILE = "snapshot.key";

const BYTES = 16;

/**
 * The key of a data directory, 16 bytes, made if there is none: all threads and processes of one directory have the same, also after a restart.
 * Where the file can't be read or written it is one of this thread alone: the ledger can't be written there either, and that is reported. Never throws.
 */
export function snapshotKey(dataDir: string): Uint8Array {
	const file = join(dataDir, SNAPSHOT_KEY_FILE);
	const made = randomBytes(BYTES);
	try {
		return read(file) ?? kept(dataDir, file, made);
	} catch {
		return made;
	}
}

/** Several may make one at once: the first that has its name is everybody's, and it is never there in part. */
function kept(dataDir: string, file: string, made: Buffer): Uint8Array {
	mkdirSync(dataDir, { recursive: true });
	const part = `${file}.${randomBytes(4).toString("hex")}.part`;
	try {
		writeFileSync(part, `${made.toString("hex")}\n`, { mode: 0o600, flag: "wx" });
		makePrivate(part);
		try {
			linkSync(part, file);
		} catch {
			// Another was first; or what is there is no key; or the file system has no links.
			if (!read(file)) renameSync(part, file);
		}
	} finally {
		rmSync(part, { force: true });
	}
	return read(file) ?? made;
}

/** Undefined where there is no file, or no key in it. Throws where it can't be read: it is not written over, it may be readable again. */
function read(file: string): Uint8Array | undefined {
	try {
		const hex = readFileSync(file, "utf8").trim();
		return /^[0-9a-f]{32}$/.test(hex) ? Buffer.from(hex, "hex") : undefined;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}
