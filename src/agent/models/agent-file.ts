/** What the agent stores between two starts: `agent.json` and `agent-instance` in the data directory. Readable by its user alone. */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Static, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

const open = { additionalProperties: true } as const;

const AgentFileContent = Type.Object(
	{
		/** Of which the keys of the containers are made: those that outlive the agent were started with such. */
		vllm_key: Type.Optional(Type.String({ minLength: 16 })),
		/** The GPUs as they were last read: they are part of every container's hash, so a driver that fails at a start must not replace the containers. */
		accelerator: Type.Optional(Type.String()),
		driver: Type.Optional(Type.String()),
		/** What containers are made from, and rolls under way, by model: `ModelGenerations`, which its reader checks. */
		generations: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
		/** What API calls ordered and described, by model. */
		models: Type.Optional(
			Type.Record(
				Type.String(),
				Type.Object(
					{
						order: Type.Optional(Type.Union([Type.Literal("load"), Type.Literal("unload")])),
						/** As in the call, for a model that is not in the configuration. */
						spec: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
					},
					open,
				),
			),
		),
	},
	open,
);
export type Remembered = Static<typeof AgentFileContent>;

/** The files of a data directory that are the agent's: what it remembers, and who it is. */
export const AGENT_FILES = { memory: "agent.json", instance: "agent-instance" } as const;

/** The file of one data directory. */
export interface AgentFile {
	readonly content: Remembered;
	/** Writes it with these changes; one sentence where that fails: they then count until the agent ends. */
	update(changes: Partial<Remembered>): string | undefined;
}

/** Reads it; one that is missing, or no such file, counts as empty. Never throws. */
export function agentFile(dataDir: string): AgentFile {
	const file = join(dataDir, AGENT_FILES.memory);
	let content = read(file);
	return {
		get content() {
			return content;
		},
		update(changes) {
			content = { ...content, ...changes };
			return write(dataDir, file, `${JSON.stringify(content, null, "\t")}\n`);
		},
	};
}

function read(file: string): Remembered {
	try {
		const value: unknown = JSON.parse(readFileSync(file, "utf8"));
		return Value.Check(AgentFileContent, value) ? value : {};
	} catch {
		return {};
	}
}

function write(dataDir: string, file: string, text: string): string | undefined {
	try {
		mkdirSync(dataDir, { recursive: true });
		// Whole or not at all: half a file would lose the key of the running containers.
		writeFileSync(`${file}.new`, text, { mode: 0o600 });
		chmodSync(`${file}.new`, 0o600);
		renameSync(`${file}.new`, file);
		return undefined;
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		return `${file} can't be written (${code ?? message}): what API calls load or unload is forgotten at the next start`;
	}
}

/** The UUID of this installation, by which the router tells a changed address from a second agent of that name. `problem`: why it can't be stored. */
export interface Instance {
	readonly id: string;
	readonly problem?: string;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The instance of this data directory, in `agent-instance`; made if there is none. Never throws. */
export function agentInstance(dataDir: string): Instance {
	const file = join(dataDir, AGENT_FILES.instance);
	try {
		const stored = readInstance(file);
		if (stored) return { id: stored };
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
function readInstance(file: string): string | undefined {
	try {
		const text = readFileSync(file, "utf8").trim();
		return UUID.test(text) ? text : undefined;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}
