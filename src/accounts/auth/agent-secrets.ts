/** The secret that the router shows each agent: derived from one of its own, so that there is nothing to store for an agent. */
import { createHmac, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The file of a data directory that has the key. */
export const AGENT_SECRET_FILE = "agent-secret.key";

/** The agent that a secret is for. */
export interface AgentIdentity {
	readonly name: string;
	readonly instance?: string | undefined;
	readonly endpoint: string;
}

/** What secrets are derived from. Routers that share a Redis have the same: of several the oldest. */
export interface SecretKey {
	/** 32 bytes, hex. */
	readonly hex: string;
	/** When it was made, Unix time, ms. */
	readonly since: number;
}

/** Makes secrets. */
export interface AgentSecrets {
	/** An instance keeps its secret wherever it moves; an agent without one has one for its endpoint. */
	of(agent: AgentIdentity): string;
	readonly key: SecretKey;
	/** Takes another router's key where that is older, for good: every agent's secret is another one then. False where it is not. */
	adopt(key: SecretKey): boolean;
	/** Why the router's own secret, and with it every agent's, will be another one after a restart; a sentence. */
	readonly problem?: string | undefined;
}

const BYTES = 32;

/**
 * The secrets of a data directory. `agent-secret.key` (mode 0600) is read, or made if there is none, when the first secret is asked
 * for. Never throws.
 * @param onProblem called then with why the key could not be read or written
 */
export function agentSecrets(dataDir: string, onProblem?: (problem: string) => void): AgentSecrets {
	const file = join(dataDir, AGENT_SECRET_FILE);
	let current: { key: SecretKey; problem: string | undefined } | undefined;
	const loaded = () => {
		if (current) return current;
		current = serverKey(file);
		if (current.problem !== undefined) onProblem?.(current.problem);
		return current;
	};
	return {
		of({ name, instance, endpoint }) {
			// NUL stands in none of them, so that no two agents make the same text.
			const text = instance === undefined ? `endpoint\0${name}\0${endpoint}` : `instance\0${name}\0${instance}`;
			return createHmac("sha256", Buffer.from(loaded().key.hex, "hex")).update(text).digest("base64url");
		},
		get key() {
			return loaded().key;
		},
		adopt(other) {
			const { key } = loaded();
			const isOlder = other.since < key.since || (other.since === key.since && other.hex < key.hex);
			if (!isOlder || !/^[0-9a-f]{64}$/.test(other.hex)) return false;
			current = { key: other, problem: store(file, other) };
			return true;
		},
		get problem() {
			return loaded().problem;
		},
	};
}

function serverKey(file: string): { key: SecretKey; problem: string | undefined } {
	const made = { hex: randomBytes(BYTES).toString("hex"), since: Date.now() };
	try {
		const stored = read(file);
		return stored ? { key: stored, problem: undefined } : { key: made, problem: store(file, made) };
	} catch (error) {
		return { key: made, problem: problemOf(file, error) };
	}
}

/** Undefined where it is stored, else why it is not. */
function store(file: string, { hex, since }: SecretKey): string | undefined {
	try {
		mkdirSync(dirname(file), { recursive: true });
		writeFileSync(file, `${hex}\n${since}\n`, { mode: 0o600 });
		return undefined;
	} catch (error) {
		return problemOf(file, error);
	}
}

function problemOf(file: string, error: unknown): string {
	const { code, message } = error as NodeJS.ErrnoException;
	return `${file} can't be used (${code ?? message}): after a restart agents refuse this router until they have registered again.`;
}

/** Undefined where there is no file, or no key in it. */
function read(file: string): SecretKey | undefined {
	try {
		const [hex = "", since] = readFileSync(file, "utf8").split("\n");
		return /^[0-9a-f]{64}$/.test(hex) ? { hex, since: Number(since) || 0 } : undefined;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}
