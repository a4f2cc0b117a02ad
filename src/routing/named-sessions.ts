/**
 * Where the last call of each session went, in the heap of one thread: by name; and by the hash of its name, as a process of several threads tells
 * of it that hands on what it knows, whose memory has no names.
 */
import { MOST_SESSIONS } from "./target-state.ts";

/** Two hashes of a session's name. */
export type SessionHash = readonly [hash: number, secondHash: number];

/** The same in every process and thread. */
export const sessionHash = (name: string): SessionHash => [
	Bun.hash.xxHash32(name, 0) | 0,
	Bun.hash.xxHash32(name, 1) | 0,
];

/** The last `MOST_SESSIONS` of them. */
export class NamedSessions {
	/** The most recent last. */
	readonly #named = new Map<string, string>();
	/** Those that had no call here yet, the most recent last. */
	readonly #hashed = new Map<string, readonly [hash: SessionHash, target: string]>();

	get(name: string): string | undefined {
		const target = this.#named.get(name);
		if (target !== undefined || this.#hashed.size === 0) return target;
		return this.#hashed.get(keyOf(sessionHash(name)))?.[1];
	}

	set(name: string, target: string): void {
		this.#named.delete(name);
		this.#named.set(name, target);
		if (this.#hashed.size > 0) this.#hashed.delete(keyOf(sessionHash(name)));
		this.#forget();
	}

	/** The last call of the session of this hash went there, before any that this process knows of by name. */
	setHashed(hash: SessionHash, target: string): void {
		const key = keyOf(hash);
		this.#hashed.delete(key);
		this.#hashed.set(key, [hash, target]);
		this.#forget();
	}

	/** Those that are known by name, the most recent last. */
	named(): Iterable<readonly [session: string, target: string]> {
		return this.#named;
	}

	/** Those that are known by their hashes alone, the most recent last. */
	hashed(): Iterable<readonly [hash: SessionHash, target: string]> {
		return this.#hashed.values();
	}

	#forget(): void {
		if (this.#named.size + this.#hashed.size <= MOST_SESSIONS) return;
		const older = this.#hashed.size > 0 ? this.#hashed : this.#named;
		for (const oldest of older.keys()) {
			older.delete(oldest);
			return;
		}
	}
}

const keyOf = ([hash, secondHash]: SessionHash): string => `${hash} ${secondHash}`;
