/** The store in `router.db` of the data directory: its tables of agents, agent tokens, model names and keys. */
import { type Change, DatabaseFile } from "./database-file.ts";
import { ledgerStore } from "./ledger-table.ts";
import { SAVE_KEY } from "./merge.ts";
import {
	allObjects,
	changeIn,
	findObject,
	listObjects,
	type ObjectChange,
	type ObjectKind,
	objectVersions,
	ownersOfObject,
	type SharedObjects,
	type StoredObject,
	saveChange,
	sharedRow,
} from "./object-table.ts";
import { responseTable } from "./response-table.ts";
import type { SharedRow } from "./shared-table.ts";
import type { Store, StoredAgent, StoredToken } from "./store.ts";
import type { WriterThread } from "./writer.ts";
import { CHANGES_BESIDE } from "./writer-table.ts";

const SAVE_AGENT = `INSERT OR REPLACE INTO agents (name, instance, endpoint, models, gpus, version, registered_at, heard_at)
	VALUES ($name, $instance, $endpoint, $models, $gpus, $version, $registered_at, $heard_at)`;
const ADD_TOKEN = "INSERT OR IGNORE INTO agent_tokens (hash, created_at) VALUES (?, ?)";
const REVOKE_TOKEN =
	"INSERT INTO agent_tokens (hash, created_at, revoked_at) VALUES (?1, ?2, ?2) ON CONFLICT DO UPDATE SET revoked_at = ?2";

/**
 * The store of a data directory. Opens nothing before the first read or write, and makes no file before the first write. A directory or
 * file that can't be used is reported to `onProblem`, once until it can be used again: the store then is in memory, or its changes wait
 * there, and `recover` writes them once that is possible, which is reported to `onRecovered`.
 */
export function sqliteStore(
	dataDir: string,
	onProblem: (sentence: string) => void,
	onRecovered: (sentence: string) => void = () => {},
	startThread?: () => WriterThread,
): Store {
	return new SqliteStore(dataDir, onProblem, onRecovered, startThread);
}

class SqliteStore extends DatabaseFile implements Store {
	readonly ledger = ledgerStore(this);
	onObject: SharedObjects["onObject"];
	#objectsTold: Promise<void> = Promise.resolve();
	hasObjects = true;
	readonly responses = responseTable(this);
	/** Changes of agents' tokens that wait, by the token's hash: reading must include them. */
	readonly #unwrittenTokens = new Map<string, StoredToken & { readonly isRevoked: boolean }>();

	get writerId(): string {
		return this.writer.id;
	}

	changesBeside(writer: string): number {
		const counts = this.read((from) => from.query(CHANGES_BESIDE).values(writer, this.writer.id) as [number][]);
		return counts[0]?.[0] ?? 0;
	}

	agents(): StoredAgent[] {
		return this.read((from) =>
			from.query("SELECT * FROM agents ORDER BY registered_at, name").all().flatMap(storedAgentOf),
		);
	}

	saveAgents(agents: readonly StoredAgent[]): void {
		if (agents.length === 0) return;
		this.write(agents.map((agent) => [`agent ${agent.name}`, (to) => to.query(SAVE_AGENT).run(agentRowOf(agent))]));
	}

	removeAgent(name: string): void {
		this.write([[`agent ${name}`, (to) => to.query("DELETE FROM agents WHERE name = ?").run(name)]]);
	}

	servedNames(): string[] {
		const rows = this.read((from) => from.query("SELECT name FROM served_names").all() as { name: string }[]);
		return rows.map(({ name }) => name);
	}

	addServedNames(names: readonly string[]): void {
		const now = Date.now();
		const insert = "INSERT OR IGNORE INTO served_names (name, first_at) VALUES (?, ?)";
		this.write(names.map((name) => [`name ${name}`, (to) => to.query(insert).run(name, now)]));
	}

	agentTokens(): StoredToken[] {
		const rows = this.read(
			(from) =>
				from.query("SELECT * FROM agent_tokens WHERE revoked_at IS NULL ORDER BY created_at").all() as TokenRow[],
		);
		const stored = rows.map(({ hash, created_at }) => ({ hash: Buffer.from(hash), createdAt: created_at }));
		const unwritten = this.#pruneTokens();
		if (unwritten.size === 0) return stored;
		const added = [...unwritten.values()].filter(({ isRevoked }) => !isRevoked);
		return [...stored.filter(({ hash }) => !unwritten.has(hash.toString("hex"))), ...added];
	}

	addAgentToken(hash: Buffer): boolean {
		// A revoked one stays so.
		if (this.#pruneTokens().get(hash.toString("hex"))?.isRevoked) return this.write([]);
		const createdAt = Date.now();
		return this.#writeToken(hash, createdAt, false, (to) => to.query(ADD_TOKEN).run(hash, createdAt));
	}

	revokeAgentToken(hash: Buffer): boolean {
		const createdAt = Date.now();
		return this.#writeToken(hash, createdAt, true, (to) => to.query(REVOKE_TOKEN).run(hash, createdAt));
	}

	revokedAgentTokens(): Buffer[] {
		const rows = this.read(
			(from) => from.query("SELECT * FROM agent_tokens WHERE revoked_at IS NOT NULL").all() as TokenRow[],
		);
		const revoked = new Map<string, Buffer>(
			rows.map(({ hash }) => [Buffer.from(hash).toString("hex"), Buffer.from(hash)]),
		);
		for (const [name, { hash, isRevoked }] of this.#pruneTokens()) if (isRevoked) revoked.set(name, hash);
		return [...revoked.values()];
	}

	keys(): string[] {
		const rows = this.tryRead((from) => from.query("SELECT value FROM keys").all() as { value: string }[]);
		if (!this.isInMemory) this.isUnreadable = rows === undefined;
		return (rows ?? []).map(({ value }) => value);
	}

	saveKeys(keys: readonly { readonly id: string; readonly value: string }[]): boolean {
		return this.write(keys.map(({ id, value }) => [`key ${id}`, (to) => to.query(SAVE_KEY).run(id, value)]));
	}

	saveObject(object: StoredObject): void {
		this.#changeObject(object, false);
	}

	removeObject(object: StoredObject): void {
		this.#changeObject({ ...object, value: undefined }, true);
	}

	lookForObjects(): void {
		const some = this.tryRead((from) => from.query("SELECT 1 FROM objects LIMIT 1").all());
		this.hasObjects = some === undefined || some.length > 0;
	}

	objectOwners(kind: ObjectKind, id: string): string[] {
		return this.read((from) => ownersOfObject(from, kind, id));
	}

	object(owner: string, kind: ObjectKind, id: string): StoredObject | undefined {
		return this.read((from) => findObject(from, owner, kind, id))[0];
	}

	objects(owner: string, kind: ObjectKind, after: string | undefined, limit: number): StoredObject[] {
		return this.read((from) => listObjects(from, owner, kind, after, limit));
	}

	objectRows(): SharedRow[] {
		return this.read(allObjects).map(sharedRow);
	}

	takeObjects(rows: readonly SharedRow[]): SharedRow[] {
		const changes = rows.flatMap(changeIn);
		// Threads of one file read there what another one has written.
		const isNew = (change: ObjectChange) =>
			!this.read((from) => objectVersions(from, change)).some((known) => known >= change.changedAt);
		this.hasObjects ||= changes.length > 0;
		const news = changes.filter(isNew);
		this.#writeObjects(news);
		return news.map(sharedRow);
	}

	objectsTold(): Promise<void> {
		return this.#objectsTold;
	}

	#changeObject(object: StoredObject, isRemoved: boolean): void {
		// Of two changes in one millisecond the later one must be seen to be later.
		const [before = 0] = this.read((from) => objectVersions(from, object));
		const change = { ...object, changedAt: Math.max(Date.now(), before + 1), isRemoved };
		this.#writeObjects([change]);
		const told = this.onObject?.(sharedRow(change));
		this.#objectsTold = Promise.allSettled([this.#objectsTold, told]).then(() => {});
	}

	#writeObjects(changes: readonly ObjectChange[]): void {
		if (changes.length === 0) return;
		this.hasObjects = true;
		this.write(
			changes.map((each) => [`object ${sharedRow(each).field} ${each.changedAt}`, (to) => saveChange(to, each)]),
		);
	}

	#writeToken(hash: Buffer, createdAt: number, isRevoked: boolean, change: Change): boolean {
		const name = hash.toString("hex");
		const isWritten = this.write([[`token ${name}`, change]]);
		if (this.isWaiting(`token ${name}`)) this.#unwrittenTokens.set(name, { hash, createdAt, isRevoked });
		return isWritten;
	}

	/** The tokens whose change still waits. */
	#pruneTokens(): ReadonlyMap<string, StoredToken & { readonly isRevoked: boolean }> {
		for (const name of this.#unwrittenTokens.keys()) {
			if (!this.isWaiting(`token ${name}`)) this.#unwrittenTokens.delete(name);
		}
		return this.#unwrittenTokens;
	}
}

interface TokenRow {
	readonly hash: Uint8Array;
	readonly created_at: number;
}

interface AgentRow {
	name: string;
	instance: string | null;
	endpoint: string;
	models: string;
	gpus: string | null;
	version: string | null;
	registered_at: number;
	heard_at: number;
}

/** The row of an agent. */
function agentRowOf({ instance, gpus, version, models, registeredAt, heardAt, ...rest }: StoredAgent) {
	return {
		name: rest.name,
		endpoint: rest.endpoint,
		instance: instance ?? null,
		models: JSON.stringify(models),
		gpus: gpus ? JSON.stringify(gpus) : null,
		version: version ?? null,
		registered_at: registeredAt,
		heard_at: heardAt,
	} satisfies AgentRow;
}

/** The agent of a row; none where another program has written invalid JSON into it. */
function storedAgentOf(value: unknown): StoredAgent[] {
	const row = value as AgentRow;
	try {
		return [
			{
				name: row.name,
				endpoint: row.endpoint,
				models: JSON.parse(row.models),
				registeredAt: row.registered_at,
				heardAt: row.heard_at,
				...(row.instance === null ? {} : { instance: row.instance }),
				...(row.gpus === null ? {} : { gpus: JSON.parse(row.gpus) }),
				...(row.version === null ? {} : { version: row.version }),
			},
		];
	} catch {
		return [];
	}
}
