/** Keys of all replicas: each holds all of them in its own database, and publishes its changes to the others. */
import { type Static, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import type { SharedRedis } from "../../store/redis.ts";
import type { RedisBus } from "../../store/redis-bus.ts";
import { type SharedRow, SharedTable } from "../../store/shared-table.ts";
import { type KeyStore, type StoredKey, secretVersion, tieOf } from "./key-store.ts";

/** A year: replicas that are there renew it, and each has all keys in its own database. */
const TTL_MS = 365 * 86_400_000;
/** Added to the version of revoked keys: a revocation is the last word. */
const REVOKED = 2 ** 50;

const optional = Type.Optional;
const limit = optional(Type.Integer({ minimum: 0 }));

/** What another replica may say of a key. */
const KeyRow = Type.Object({
	id: Type.String({ minLength: 1, maxLength: 64 }),
	name: Type.String({ minLength: 1, maxLength: 64 }),
	team: optional(Type.String({ maxLength: 64 })),
	hash: Type.String({ pattern: "^[0-9a-f]{64}$" }),
	previous: optional(Type.Object({ hash: Type.String({ pattern: "^[0-9a-f]{64}$" }), until: Type.Number() })),
	prefix: optional(Type.String({ maxLength: 16 })),
	models: Type.Array(Type.String({ minLength: 1 })),
	limits: Type.Object({
		rpm: limit,
		tpm: limit,
		concurrency: limit,
		input: limit,
		session_usd: optional(Type.Number({ minimum: 0 })),
	}),
	budget: optional(
		Type.Object({
			usd: Type.Number({ minimum: 0 }),
			per: Type.Union([Type.Literal("day"), Type.Literal("month"), Type.Literal("total")]),
		}),
	),
	engineFields: optional(Type.Boolean()),
	tracesContents: optional(Type.Boolean()),
	role: optional(Type.Literal("viewer")),
	createdAt: Type.Number(),
	rotatedAt: optional(Type.Number()),
	revokedAt: optional(Type.Number()),
	changedAt: Type.Number(),
});
const check = new LazyCheck(KeyRow);

/**
 * Keeps a store's keys the same as the other replicas'. A key whose secret was replaced has two rows, the version that was changed last and the one
 * whose secret was made last, which may be of replicas that had not heard of each other. Returns how to end it.
 */
export function mirrorKeys(redis: SharedRedis, bus: RedisBus, store: KeyStore): () => () => void {
	const table = new SharedTable(redis, bus, "keys", TTL_MS, {
		take: (rows) => void store.merge(rows.flatMap((row) => keyOf(row) ?? [])),
		rows: () => store.list().flatMap(rowsOf),
	});
	return () => {
		const close = table.open();
		const unhear = store.onChange((key) => void table.put(rowsOf(key)));
		return () => {
			unhear();
			close();
		};
	};
}

function rowsOf(key: StoredKey): SharedRow[] {
	const value = JSON.stringify(key);
	// Nothing is said of a revoked key but that.
	const version = key.changedAt + (key.revokedAt === undefined ? tieOf(key) : REVOKED);
	const rows = [{ field: key.id, version, value }];
	const made = secretVersion(key);
	if (made !== undefined) rows.push({ field: `${key.id}:secret`, version: made, value });
	return rows;
}

function keyOf({ value }: SharedRow): StoredKey | undefined {
	try {
		const key: unknown = JSON.parse(value);
		return check.Check(key) ? (key as Static<typeof KeyRow>) : undefined;
	} catch {
		return undefined;
	}
}
