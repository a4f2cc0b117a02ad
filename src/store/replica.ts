/** What this replica is called among those that share a Redis: the same after a restart, as its ledger is. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The name of a data directory, made if it has none. One that can't be kept is another one after a restart. */
export function replicaName(dataDir: string): string {
	const file = join(dataDir, "replica.id");
	try {
		const kept = readFileSync(file, "utf8").trim();
		if (/^[0-9a-f]{12}$/.test(kept)) return kept;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") return fresh();
	}
	const name = fresh();
	try {
		mkdirSync(dataDir, { recursive: true });
		writeFileSync(file, `${name}\n`, { mode: 0o600 });
	} catch {
		// Said already, when the database could not be opened there.
	}
	return name;
}

const fresh = (): string => randomBytes(6).toString("hex");
