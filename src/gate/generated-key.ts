/** A key made on the first start, for a container that nobody has configured yet. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hashKey } from "./keys.ts";

/** What the start needs to know of it. */
export interface GeneratedKey {
	readonly hash: Buffer;
	/** Only on the start that made it: shown once, stored nowhere. */
	readonly secret?: string;
	/** Why it could not be kept; the next start makes another. */
	readonly problem?: string;
}

/** The key of this data directory, made if there is none. Its hash alone is kept, in `generated-key.sha256`. */
export function generatedKey(dataDir: string): GeneratedKey {
	const file = join(dataDir, "generated-key.sha256");
	try {
		const kept = Buffer.from(readFileSync(file, "utf8").trim(), "hex");
		if (kept.length === 32) return { hash: kept };
	} catch (error) {
		// The first start: there is no such file yet. Any other reason shows again when it is written.
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") return made(file, (error as Error).message);
	}
	return made(file);
}

function made(file: string, readProblem?: string): GeneratedKey {
	const secret = `rk-${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url")}`;
	const hash = hashKey(secret);
	if (readProblem) return { hash, secret, problem: readProblem };
	try {
		mkdirSync(join(file, ".."), { recursive: true });
		writeFileSync(file, `${hash.toString("hex")}\n`, { mode: 0o600 });
		chmodSync(file, 0o600);
		return { hash, secret };
	} catch (error) {
		return { hash, secret, problem: (error as Error).message };
	}
}
