/** The UUID of this installation: by it the router tells a changed address from a second agent of that name. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** An instance, and why it will be another one at the next start, where it can't be kept. */
export interface Instance {
	readonly id: string;
	readonly problem?: string;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The instance of this data directory, in `agent-instance`; made if there is none. Never throws. */
export function agentInstance(dataDir: string): Instance {
	const file = join(dataDir, "agent-instance");
	try {
		const kept = read(file);
		if (kept) return { id: kept };
		const id = crypto.randomUUID();
		mkdirSync(dataDir, { recursive: true });
		writeFileSync(file, `${id}\n`, { mode: 0o600 });
		return { id };
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		const problem = `${file} can't be used (${code ?? message}): after a restart the router may take 15 s to believe that this is the same agent`;
		return { id: crypto.randomUUID(), problem };
	}
}

/** What the file holds; undefined where there is none, or no UUID in it. */
function read(file: string): string | undefined {
	try {
		const text = readFileSync(file, "utf8").trim();
		return UUID.test(text) ? text : undefined;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}
