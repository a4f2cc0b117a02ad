/** What this replica is called among those that share a Redis: the same after a restart, as its ledger is. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The name of a replica, 12 hex digits. */
export interface Replica {
	readonly name: string;
	/** Writes a name that was made now to the data directory. One that can't be written is another one after a restart. */
	keep(): void;
}

/** The replica of a data directory: the name in `replica.id`, or one made now. Writes nothing. Never throws. */
export function replicaOf(dataDir: string): Replica {
	const file = join(dataDir, "replica.id");
	try {
		const name = readFileSync(file, "utf8").trim();
		if (/^[0-9a-f]{12}$/.test(name)) return { name, keep: () => {} };
	} catch (error) {
		// A file that is there and can't be read is not written over: it may be readable again.
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") return { name: newName(), keep: () => {} };
	}
	const name = newName();
	return { name, keep: () => write(dataDir, file, name) };
}

const newName = (): string => randomBytes(6).toString("hex");

function write(dataDir: string, file: string, name: string): void {
	try {
		mkdirSync(dataDir, { recursive: true });
		writeFileSync(file, `${name}\n`, { mode: 0o600 });
	} catch {
		// The database in the same directory can't be written either, and is reported.
	}
}
