/** The table of what providers keep for keys: whose it is, and who has it. A row that was removed stays, so that no other replica brings it back. */
import type { Sql } from "./connection.ts";
import type { SharedRow } from "./shared-table.ts";

/** What providers keep. */
export type ObjectKind = "file" | "batch";

/** What names one. */
export interface ObjectName {
	/** The id of the key that made it; "" where there were no keys. */
	readonly owner: string;
	readonly kind: ObjectKind;
	/** The provider's. */
	readonly id: string;
}

/** A file or a batch. */
export interface StoredObject extends ObjectName {
	/** Its provider's name in the configuration. */
	readonly provider: string;
	/** Unix time, ms. */
	readonly createdAt: number;
	/** What the provider last said of it, JSON; undefined where nobody has asked. */
	readonly value: string | undefined;
}

/** The table, as calls see it. */
export interface ObjectStore {
	/** There may be some. A field: each call looks at it. */
	readonly hasObjects: boolean;
	saveObject(object: StoredObject): void;
	removeObject(object: StoredObject): void;
	/** Undefined where this owner has none of that id. */
	object(owner: string, kind: ObjectKind, id: string): StoredObject | undefined;
	/** Whose one of that id is. */
	objectOwners(kind: ObjectKind, id: string): string[];
	/** An owner's, the newest first, from the one behind `after` on. */
	objects(owner: string, kind: ObjectKind, after: string | undefined, limit: number): StoredObject[];
	/** Resolves when all threads of the process know of what was changed here, be it that none of it can be written. */
	objectsTold(): Promise<void>;
}

/** The table, as other replicas see it. */
export interface SharedObjects {
	/** Hears of each change made here. A promise that it returns ends when all threads of the process know. */
	onObject: ((row: SharedRow) => unknown) | undefined;
	/** Finds out whether there are any: until then there may be. */
	lookForObjects(): void;
	objectRows(): SharedRow[];
	/** Takes over rows of other replicas and threads; what is newer here stays. Those that were news. */
	takeObjects(rows: readonly SharedRow[]): SharedRow[];
}

/** A row: its version is when it was changed, Unix time, ms. */
export interface ObjectChange extends StoredObject {
	readonly changedAt: number;
	readonly isRemoved: boolean;
}

const COLUMNS = "owner, kind, id, provider, created_at, value, changed_at, removed";
/** Saves a row, where no newer one is there. */
export const SAVE_OBJECT = `INSERT INTO objects (${COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
	ON CONFLICT DO UPDATE SET provider = excluded.provider, changed_at = excluded.changed_at, removed = excluded.removed,
	value = CASE WHEN excluded.removed THEN NULL ELSE coalesce(excluded.value, objects.value) END
	WHERE excluded.changed_at > objects.changed_at`;
/** What is copied between databases. */
export const ALL_OBJECTS = `SELECT ${COLUMNS} FROM objects`;
const OF_OWNER = "owner = ?1 AND kind = ?2 AND removed = 0";
const BEHIND = "(created_at, id) < (SELECT created_at, id FROM objects WHERE owner = ?1 AND kind = ?2 AND id = ?3)";
const ORDER = "ORDER BY created_at DESC, id DESC";

/** Saves a change. */
export function saveChange(to: Sql, change: ObjectChange): void {
	const { owner, kind, id, provider, createdAt, value, changedAt, isRemoved } = change;
	to.query(SAVE_OBJECT).run(owner, kind, id, provider, createdAt, value ?? null, changedAt, isRemoved ? 1 : 0);
}

/** One, as a list of none or one. */
export function findObject(from: Sql, owner: string, kind: ObjectKind, id: string): ObjectChange[] {
	const rows = from.query(`SELECT ${COLUMNS} FROM objects WHERE ${OF_OWNER} AND id = ?3`).all(owner, kind, id);
	return (rows as ObjectRow[]).map(changeOf);
}

/** See {@link ObjectStore.objects}. */
export function listObjects(
	from: Sql,
	owner: string,
	kind: ObjectKind,
	after: string | undefined,
	limit: number,
): ObjectChange[] {
	const select = `SELECT ${COLUMNS} FROM objects WHERE ${OF_OWNER}`;
	const rows =
		after === undefined
			? from.query(`${select} ${ORDER} LIMIT ?3`).all(owner, kind, limit)
			: from.query(`${select} AND ${BEHIND} ${ORDER} LIMIT ?4`).all(owner, kind, after, limit);
	return (rows as ObjectRow[]).map(changeOf);
}

/** When it was changed last, removed or not; none where it never was. */
export function objectVersions(from: Sql, { owner, kind, id }: ObjectName): number[] {
	const rows = from
		.query("SELECT changed_at FROM objects WHERE owner = ?1 AND kind = ?2 AND id = ?3")
		.all(owner, kind, id);
	return (rows as Pick<ObjectRow, "changed_at">[]).map(({ changed_at }) => changed_at);
}

/** See {@link ObjectStore.objectOwners}. */
export function ownersOfObject(from: Sql, kind: ObjectKind, id: string): string[] {
	const rows = from.query("SELECT owner FROM objects WHERE kind = ?1 AND id = ?2 AND removed = 0").all(kind, id);
	return (rows as Pick<ObjectRow, "owner">[]).map(({ owner }) => owner);
}

/** All, those that were removed among them. */
export function allObjects(from: Sql): ObjectChange[] {
	return (from.query(ALL_OBJECTS).all() as ObjectRow[]).map(changeOf);
}

/** A change as replicas exchange it. */
export function sharedRow({
	owner,
	kind,
	id,
	changedAt,
	provider,
	createdAt,
	value,
	isRemoved,
}: ObjectChange): SharedRow {
	const field = JSON.stringify([owner, kind, id]);
	return { field, version: changedAt, value: JSON.stringify([provider, createdAt, value ?? null, isRemoved]) };
}

/** The change in a row of another replica's; none where it is of another version of the router. */
export function changeIn({ field, version, value }: SharedRow): ObjectChange[] {
	try {
		const [owner, kind, id] = JSON.parse(field) as unknown[];
		const [provider, createdAt, said, isRemoved] = JSON.parse(value) as unknown[];
		const isName = typeof owner === "string" && (kind === "file" || kind === "batch") && typeof id === "string";
		if (!isName || typeof provider !== "string" || !Number.isSafeInteger(createdAt)) return [];
		const changedAt = Math.trunc(version);
		const text = typeof said === "string" ? said : undefined;
		return [
			{
				owner,
				kind,
				id,
				provider,
				createdAt: createdAt as number,
				value: text,
				changedAt,
				isRemoved: isRemoved === true,
			},
		];
	} catch {
		return [];
	}
}

interface ObjectRow {
	readonly owner: string;
	readonly kind: ObjectKind;
	readonly id: string;
	readonly provider: string;
	readonly created_at: number;
	readonly value: string | null;
	readonly changed_at: number;
	readonly removed: number;
}

const changeOf = ({ created_at, value, changed_at, removed, ...rest }: ObjectRow): ObjectChange => ({
	...rest,
	createdAt: created_at,
	value: value ?? undefined,
	changedAt: changed_at,
	isRemoved: removed === 1,
});
