/** Values kept for later calls, the least used given up first. In this process only: another replica does not know them. */

/** Bytes of one UTF-16 unit, as the worst case. */
const UNIT = 2;

/** Strings by key, at most `limit` bytes of them. */
export class Lru {
	/** In the order of their last use. */
	readonly #values = new Map<string, string>();
	#size = 0;

	constructor(private readonly limit: number) {}

	/** What is held, bytes. */
	get size(): number {
		return this.#size;
	}

	/** The value; from now on the one used last. */
	get(key: string): string | undefined {
		const value = this.#values.get(key);
		if (value === undefined) return undefined;
		this.#values.delete(key);
		this.#values.set(key, value);
		return value;
	}

	/** Keeps a value in place of any before it. One that is no use keeping, larger than an eighth of all, is not. */
	put(key: string, value: string): void {
		this.#remove(key);
		const size = sizeOf(key, value);
		if (size > this.limit / 8) return;
		this.#values.set(key, value);
		this.#size += size;
		for (const oldest of this.#values.keys()) {
			if (this.#size <= this.limit) return;
			this.#remove(oldest);
		}
	}

	#remove(key: string): void {
		const value = this.#values.get(key);
		if (value === undefined) return;
		this.#values.delete(key);
		this.#size -= sizeOf(key, value);
	}
}

const sizeOf = (key: string, value: string): number => (key.length + value.length) * UNIT;
