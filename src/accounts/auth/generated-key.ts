/** A key made on the first start, for a container that nobody has configured yet. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hashKey } from "./keys.ts";

/** The file of a data directory that has its hash. */
export const GENERATED_KEY_FILE = "generated-key.sha256";

/** What the start needs to know of it. */
export interface GeneratedKey {
	readonly hash: Buffer;
	/** Only on the start that made it: shown once, stored nowhere. */
	readonly secret?: string;
	/** Stores the hash for later starts; a sentence where that fails, so that the next start makes another key. */
	keep(): string | undefined;
}

/** The key of this data directory, made if there is none. Its hash alone is stored, in {@link GENERATED_KEY_FILE}. */
export function generatedKey(dataDir: string): GeneratedKey {
	const file = join(dataDir, GENERATED_KEY_FILE);
	const stored = read(file);
	if (stored instanceof Buffer) return { hash: stored, keep: () => undefined };
	const secret = `rk-${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url")}`;
	const hash = hashKey(secret);
	// A file that is there and can't be read is not written over: it may be readable again.
	return { hash, secret, keep: () => (typeof stored === "string" ? stored : write(file, hash)) };
}

/** The hash in the file; why it can't be read; undefined where there is none, or no hash in it. */
function read(file: string): Buffer | string | undefined {
	try {
		const hash = Buffer.from(readFileSync(file, "utf8").trim(), "hex");
		return hash.length === 32 ? hash : undefined;
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		return code === "ENOENT" ? undefined : message;
	}
}

function write(file: string, hash: Buffer): string | undefined {
	try {
		mkdirSync(dirname(file), { recursive: true });
		writeFileSync(file, `${hash.toString("hex")}\n`, { mode: 0o600 });
		chmodSync(file, 0o600);
		return undefined;
	} catch (error) {
		return (error as Error).message;
	}
}
