/** Keys that were created at run time, stored in this replica's own database and looked up in memory. */
import { randomBytes } from "node:crypto";
import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { RouterError } from "../../errors.ts";
import type { Store } from "../../store/store.ts";
import { isNewer, type KeyStore, type NewKey, type StoredKey } from "./key-store.ts";
import { hashKey } from "./keys.ts";

/**
 * How soon a change is noticed that another process has made in the database (`router keys revoke`), ms: sooner than that process can
 * end, so that nobody finds a new key refused.
 */
const LOOK_MS = 2;
/** The same while no calls come, ms. */
const WATCH_MS = 1_000;
/** Characters of a secret that are stored to recognise it by. */
const PREFIX = 7;

/** Where keys are stored. */
export interface StoredKeysOptions {
	readonly store: Pick<Store, "keys" | "saveKeys" | "version"> & Partial<Pick<Store, "isUnreadable">>;
	/** Unix time, ms. */
	readonly wall?: () => number;
	/** ms; never goes back. */
	readonly time?: () => number;
}

/** A KeyStore that can be told to look after its database. */
export interface StoredKeys extends KeyStore {
	/** None was ever created, not even one that was revoked. */
	readonly isEmpty: boolean;
	/** Notices what other processes have changed, also while no calls come. Returns how to end that. */
	watch(): () => void;
}

/** The keys of a store. Reads nothing until it is asked. */
export function createStoredKeys({
	store,
	wall = Date.now,
	time = () => performance.now(),
}: StoredKeysOptions): StoredKeys {
	const byId = new Map<string, StoredKey>();
	const byHash = new Map<string, StoredKey>();
	/** When the hashes of secrets that were replaced end at the latest, on the clock that never goes back. */
	const endsAt = new Map<string, number>();
	const listeners = new Set<(key: StoredKey) => void>();
	let version: number | undefined;
	let lookedAt = Number.NEGATIVE_INFINITY;

	const put = (key: StoredKey) => {
		const before = byId.get(key.id);
		for (const hash of before ? hashesOf(before) : []) byHash.delete(hash);
		if (before?.previous && before.previous.hash !== key.previous?.hash) endsAt.delete(before.previous.hash);
		if (key.previous && !endsAt.has(key.previous.hash)) {
			endsAt.set(key.previous.hash, time() + key.previous.until - wall());
		}
		byId.set(key.id, key);
		for (const hash of hashesOf(key)) byHash.set(hash, key);
	};
	const notify = (key: StoredKey) => {
		for (const listener of listeners) listener(key);
	};
	const look = () => {
		const now = time();
		if (now - lookedAt < LOOK_MS) return;
		lookedAt = now;
		const found = store.version();
		if (found === version) return;
		const isFirst = version === undefined;
		const texts = store.keys();
		// What can't be read is asked for again.
		if (store.isUnreadable !== true) version = found;
		for (const text of texts) {
			const key = keyIn(text);
			if (!key || !isNewer(key, byId.get(key.id)) || byId.get(key.id)?.changedAt === key.changedAt) continue;
			put(key);
			if (!isFirst) notify(key);
		}
	};
	const save = (keys: readonly StoredKey[]) => {
		for (const key of keys) put(key);
		store.saveKeys(keys.map((key) => ({ id: key.id, value: JSON.stringify(key) })));
	};
	const change = (key: StoredKey): StoredKey => {
		save([key]);
		notify(key);
		return key;
	};
	const active = (which: string) =>
		[...byId.values()].find((key) => key.revokedAt === undefined && (key.id === which || key.name === which));
	/** Of two changes in one millisecond the later one must be seen to be later. */
	const after = (key: StoredKey) => Math.max(wall(), key.changedAt + 1);

	return {
		get isEmpty() {
			look();
			// A file that can't be read must not let everyone in.
			return byId.size === 0 && store.isUnreadable !== true;
		},
		find(hash) {
			look();
			const key = byHash.get(hash);
			if (!key || key.revokedAt !== undefined) return undefined;
			if (key.hash === hash) return key;
			// By both clocks: the wall clock may be set back, the other one begins anew with the process.
			const isOver = !key.previous || wall() >= key.previous.until || time() >= (endsAt.get(hash) ?? 0);
			return isOver ? undefined : key;
		},
		list() {
			look();
			return [...byId.values()].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
		},
		create(asked: NewKey, configured = []) {
			look();
			if (active(asked.name) || configured.includes(asked.name)) {
				throw new RouterError("key_name_taken", `There is a key called "${asked.name}": take another name.`, {
					param: "name",
				});
			}
			const secret = newSecret();
			const now = wall();
			const key = { id: `key_${Bun.randomUUIDv7()}`, ...asked, ...hashed(secret), createdAt: now, changedAt: now };
			return { key: change(key), secret };
		},
		revoke(which) {
			look();
			const key = active(which);
			if (!key) return undefined;
			const now = after(key);
			return change({ ...key, previous: undefined, revokedAt: now, changedAt: now });
		},
		rotate(which, overlapMs) {
			look();
			const key = active(which);
			if (!key) return undefined;
			const secret = newSecret();
			const now = after(key);
			const previous = overlapMs > 0 ? { hash: key.hash, until: wall() + overlapMs } : undefined;
			return { key: change({ ...key, ...hashed(secret), previous, changedAt: now }), secret };
		},
		merge(keys) {
			look();
			const newer = keys.filter((key) => isNewer(key, byId.get(key.id)) && !isSame(key, byId.get(key.id)));
			if (newer.length > 0) save(newer);
			return newer;
		},
		onChange(listener) {
			listeners.add(listener);
			return () => void listeners.delete(listener);
		},
		watch() {
			look();
			const timer = setInterval(look, WATCH_MS);
			timer.unref();
			return () => clearInterval(timer);
		},
	};
}

function newSecret(): string {
	return `rk-${randomBytes(32).toString("base64url")}`;
}

function hashed(secret: string) {
	return { hash: hashKey(secret).toString("hex"), prefix: secret.slice(0, PREFIX) };
}

function hashesOf({ hash, previous }: StoredKey): string[] {
	return previous ? [hash, previous.hash] : [hash];
}

function isSame(key: StoredKey, held: StoredKey | undefined): boolean {
	return held !== undefined && key.changedAt === held.changedAt && key.hash === held.hash;
}

const HASH = Type.String({ pattern: "^[0-9a-f]{64}$" });
const many = Type.Optional(Type.Number({ minimum: 0 }));

/** A key as JSON: what stands in a database or comes from Redis may be of another version. */
const KEY = TypeCompiler.Compile(
	Type.Object({
		id: Type.String({ minLength: 1 }),
		name: Type.String({ minLength: 1 }),
		team: Type.Optional(Type.String()),
		hash: HASH,
		previous: Type.Optional(Type.Object({ hash: HASH, until: Type.Number() })),
		prefix: Type.Optional(Type.String()),
		models: Type.Array(Type.String()),
		limits: Type.Object({ rpm: many, tpm: many, concurrency: many, input: many }),
		budget: Type.Optional(
			Type.Object({
				usd: Type.Number(),
				per: Type.Union([Type.Literal("day"), Type.Literal("month"), Type.Literal("total")]),
			}),
		),
		createdAt: Type.Number(),
		revokedAt: Type.Optional(Type.Number()),
		changedAt: Type.Number(),
	}),
);

/** The key in a JSON text; undefined where there is none. */
export function keyIn(text: string): StoredKey | undefined {
	try {
		const value: unknown = JSON.parse(text);
		return KEY.Check(value) ? value : undefined;
	} catch {
		return undefined;
	}
}
