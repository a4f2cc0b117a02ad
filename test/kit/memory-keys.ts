/** Keys of a replica, in memory: what the mirror needs of the real store. */
import { type KeyStore, mergedKey, type StoredKey } from "../../src/accounts/auth/key-store.ts";

/** A store whose clock the test winds. */
export function memoryKeys(now: () => number): KeyStore {
	const keys = new Map<string, StoredKey>();
	const listeners = new Set<(key: StoredKey) => void>();
	const change = (key: StoredKey): StoredKey => {
		keys.set(key.id, key);
		for (const listener of listeners) listener(key);
		return key;
	};
	const hashOf = (secret: string) => new Bun.CryptoHasher("sha256").update(secret).digest("hex");
	const of = (which: string) => [...keys.values()].find(({ id, name }) => id === which || name === which);
	return {
		find: (hash) => [...keys.values()].find((key) => key.hash === hash && key.revokedAt === undefined),
		list: () => [...keys.values()],
		create(key) {
			const secret = `rk-${key.name}`;
			const made = { ...key, id: `id-${key.name}`, hash: hashOf(secret), createdAt: now(), changedAt: now() };
			return { key: change(made), secret };
		},
		revoke(which) {
			const key = of(which);
			return key && change({ ...key, revokedAt: now(), changedAt: now() });
		},
		rotate(which, overlapMs) {
			const key = of(which);
			if (!key) return undefined;
			const secret = `rk-${key.name}-${now()}`;
			const previous = { hash: key.hash, until: now() + overlapMs };
			return { key: change({ ...key, previous, hash: hashOf(secret), rotatedAt: now(), changedAt: now() }), secret };
		},
		merge(others) {
			return others.filter((other) => {
				const known = keys.get(other.id);
				const merged = mergedKey(other, known);
				keys.set(other.id, merged);
				return merged !== known;
			});
		},
		onChange(listener) {
			listeners.add(listener);
			return () => void listeners.delete(listener);
		},
	};
}
