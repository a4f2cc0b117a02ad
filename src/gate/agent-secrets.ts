/** The secret that the router shows each agent: derived from one of its own, so that there is nothing to store for an agent. */
import { createHmac, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Who the secret is for. */
export interface AgentIdentity {
	readonly name: string;
	readonly instance?: string | undefined;
	readonly endpoint: string;
}

/** Makes secrets. */
export interface AgentSecrets {
	/** An instance keeps its secret wherever it moves; an agent without one has one for its endpoint. */
	of(agent: AgentIdentity): string;
	/** Why the router's own secret, and with it every agent's, will be another one after a restart; a sentence. */
	readonly problem?: string;
}

const BYTES = 32;

/** The secrets of a data directory. Makes `agent-secret.key` (mode 0600) if there is none. Never throws. */
export function agentSecrets(dataDir: string): AgentSecrets {
	const file = join(dataDir, "agent-secret.key");
	const { key, problem } = serverKey(file);
	return {
		of({ name, instance, endpoint }) {
			// NUL stands in none of them, so that no two agents make the same text.
			const text = instance === undefined ? `endpoint\0${name}\0${endpoint}` : `instance\0${name}\0${instance}`;
			return createHmac("sha256", key).update(text).digest("base64url");
		},
		...(problem ? { problem } : {}),
	};
}

function serverKey(file: string): { key: Buffer; problem?: string } {
	try {
		const kept = read(file);
		if (kept) return { key: kept };
		const key = randomBytes(BYTES);
		mkdirSync(dirname(file), { recursive: true });
		writeFileSync(file, `${key.toString("hex")}\n`, { mode: 0o600 });
		return { key };
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		const problem = `${file} can't be used (${code ?? message}): after a restart agents refuse this router until they have registered again.`;
		return { key: randomBytes(BYTES), problem };
	}
}

/** Undefined where there is no file, or no key in it. */
function read(file: string): Buffer | undefined {
	try {
		const key = Buffer.from(readFileSync(file, "utf8").trim(), "hex");
		return key.length === BYTES ? key : undefined;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}
