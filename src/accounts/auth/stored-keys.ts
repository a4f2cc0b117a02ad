/** Keys that were created at run time, stored in this replica's own database and looked up in memory. */
import { randomBytes } from "node:crypto";
import { Type } from "@sinclair/typebox";
import { RouterError } from "../../errors.ts";
import { LazyCheck } from "../../lazy-check.ts";
import type { Store } from "../../store/store.ts";
import { type KeyStore, mergedKey, type NewKey, type StoredKey } from "./key-store.ts";
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

/** The keys of a store. Nothing is read until one is asked for. */
export class StoredKeys implements KeyStore {
	readonly #store: StoredKeysOptions["store"];
	readonly #wall: () => number;
	readonly #time: () => number;
	readonly #byId = new Map<string, StoredKey>();
	readonly #byHash = new Map<string, StoredKey>();
	/** When the hashes of secrets that were replaced end at the latest, on the clock that never goes back. */
	readonly #endsAt = new Map<string, number>();
	readonly #listeners = new Set<(key: StoredKey) => void>();
	readonly #mergeListeners = new Set<(keys: readonly StoredKey[]) => void>();
	/** The store's, when it was last read. */
	#version: number | undefined;
	#lookedAt = Number.NEGATIVE_INFINITY;

	constructor({ store, wall = Date.now, time = () => performance.now() }: StoredKeysOptions) {
		this.#store = store;
		this.#wall = wall;
		this.#time = time;
	}

	/** None was ever created, not even one that was revoked. */
	get isEmpty(): boolean {
		this.#look();
		// A file that can't be read must not let everyone in.
		return this.#byId.size === 0 && this.#store.isUnreadable !== true;
	}

	find(hash: string): StoredKey | undefined {
		this.#look();
		const key = this.#byHash.get(hash);
		if (!key || key.revokedAt !== undefined) return undefined;
		if (key.hash === hash) return key;
		// By both clocks: the wall clock may be set back, the other one begins anew with the process.
		const isOver = !key.previous || this.#wall() >= key.previous.until || this.#time() >= (this.#endsAt.get(hash) ?? 0);
		return isOver ? undefined : key;
	}

	list(): readonly StoredKey[] {
		this.#look();
		return [...this.#byId.values()].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
	}

	create(asked: NewKey, configured: readonly string[] = []): { readonly key: StoredKey; readonly secret: string } {
		this.#look();
		if (this.#active(asked.name) || configured.includes(asked.name)) {
			throw new RouterError("key_name_taken", `There is a key called "${asked.name}": take another name.`, {
				param: "name",
			});
		}
		const secret = newSecret();
		const now = this.#wall();
		const key = { id: `key_${Bun.randomUUIDv7()}`, ...asked, ...hashed(secret), createdAt: now, changedAt: now };
		return { key: this.#change(key), secret };
	}

	/** Changes what a key may do. @param change the key as it is to be; what it throws is thrown, and nothing changes */
	edit(which: string, change: (key: StoredKey) => StoredKey): StoredKey | undefined {
		this.#look();
		const key = this.#active(which);
		return key && this.#change({ ...change(key), changedAt: this.#after(key) });
	}

	revoke(which: string): StoredKey | undefined {
		this.#look();
		const key = this.#active(which);
		if (!key) return undefined;
		const now = this.#after(key);
		return this.#change({ ...key, previous: undefined, revokedAt: now, changedAt: now });
	}

	rotate(which: string, overlapMs: number): { readonly key: StoredKey; readonly secret: string } | undefined {
		this.#look();
		const key = this.#active(which);
		if (!key) return undefined;
		const secret = newSecret();
		const now = this.#after(key);
		const previous = overlapMs > 0 ? { hash: key.hash, until: this.#wall() + overlapMs } : undefined;
		return { key: this.#change({ ...key, ...hashed(secret), previous, rotatedAt: now, changedAt: now }), secret };
	}

	merge(keys: readonly StoredKey[]): readonly StoredKey[] {
		this.#look();
		const merged = new Map<string, StoredKey>();
		for (const key of keys) {
			const known = merged.get(key.id) ?? this.#byId.get(key.id);
			const now = mergedKey(key, known);
			if (now !== known) merged.set(key.id, now);
		}
		const newer = [...merged.values()];
		if (newer.length === 0) return newer;
		this.#save(newer);
		for (const listener of this.#mergeListeners) listener(newer);
		return newer;
	}

	/** Takes over what is stored already: another thread of this process has changed these keys. */
	take(keys: readonly StoredKey[]): void {
		for (const key of keys) this.#take(key);
	}

	onChange(listener: (key: StoredKey) => void): () => void {
		this.#listeners.add(listener);
		return () => void this.#listeners.delete(listener);
	}

	/** Tells of keys that other replicas have changed, which `onChange` does not: those know. */
	onMerge(listener: (keys: readonly StoredKey[]) => void): void {
		this.#mergeListeners.add(listener);
	}

	/** Notices what other processes have changed, also while no calls come. Returns how to end that. */
	watch(): () => void {
		this.#look();
		const timer = setInterval(() => this.#look(), WATCH_MS);
		timer.unref();
		return () => clearInterval(timer);
	}

	/** Reads the keys anew where another process has changed the store. */
	#look(): void {
		const now = this.#time();
		if (now - this.#lookedAt < LOOK_MS) return;
		this.#lookedAt = now;
		const found = this.#store.version();
		if (found === this.#version) return;
		const isFirst = this.#version === undefined;
		const texts = this.#store.keys();
		// What can't be read is asked for again.
		if (this.#store.isUnreadable !== true) this.#version = found;
		for (const text of texts) {
			const key = keyIn(text);
			const taken = key && this.#take(key);
			if (taken && !isFirst) this.#notify(taken);
		}
	}

	/** What is stored already. Returns the key as it is now; undefined where that is as it was. */
	#take(key: StoredKey): StoredKey | undefined {
		const known = this.#byId.get(key.id);
		const merged = mergedKey(key, known);
		if (merged === known) return undefined;
		this.#put(merged);
		return merged;
	}

	#put(key: StoredKey): void {
		const before = this.#byId.get(key.id);
		for (const hash of before ? hashesOf(before) : []) this.#byHash.delete(hash);
		if (before?.previous && before.previous.hash !== key.previous?.hash) this.#endsAt.delete(before.previous.hash);
		if (key.previous && !this.#endsAt.has(key.previous.hash)) {
			this.#endsAt.set(key.previous.hash, this.#time() + key.previous.until - this.#wall());
		}
		this.#byId.set(key.id, key);
		for (const hash of hashesOf(key)) this.#byHash.set(hash, key);
	}

	#save(keys: readonly StoredKey[]): void {
		for (const key of keys) this.#put(key);
		this.#store.saveKeys(keys.map((key) => ({ id: key.id, value: JSON.stringify(key) })));
	}

	#change(key: StoredKey): StoredKey {
		this.#save([key]);
		this.#notify(key);
		return key;
	}

	#notify(key: StoredKey): void {
		for (const listener of this.#listeners) listener(key);
	}

	/** By id or name, of those that are not revoked. */
	#active(which: string): StoredKey | undefined {
		for (const key of this.#byId.values()) {
			if (key.revokedAt === undefined && (key.id === which || key.name === which)) return key;
		}
		return undefined;
	}

	/** Of two changes in one millisecond the later one must be seen to be later. */
	#after(key: StoredKey): number {
		return Math.max(this.#wall(), key.changedAt + 1);
	}
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

const HASH = Type.String({ pattern: "^[0-9a-f]{64}$" });
const many = Type.Optional(Type.Number({ minimum: 0 }));

/** A key as JSON: what stands in a database or comes from Redis may be of another version. */
const KEY = new LazyCheck(
	Type.Object({
		id: Type.String({ minLength: 1 }),
		name: Type.String({ minLength: 1 }),
		team: Type.Optional(Type.String()),
		hash: HASH,
		previous: Type.Optional(Type.Object({ hash: HASH, until: Type.Number() })),
		prefix: Type.Optional(Type.String()),
		models: Type.Array(Type.String()),
		limits: Type.Object({ rpm: many, tpm: many, concurrency: many, input: many, session_usd: many }),
		budget: Type.Optional(
			Type.Object({
				usd: Type.Number(),
				per: Type.Union([Type.Literal("day"), Type.Literal("month"), Type.Literal("total")]),
			}),
		),
		engineFields: Type.Optional(Type.Boolean()),
		tracesContents: Type.Optional(Type.Boolean()),
		role: Type.Optional(Type.Literal("viewer")),
		createdAt: Type.Number(),
		rotatedAt: Type.Optional(Type.Number()),
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
