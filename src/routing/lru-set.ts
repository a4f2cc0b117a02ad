/** A bounded set of 32-bit numbers that forgets those used longest ago. */

/**
 * Two generations: what is used goes into the newer one; when that holds half of all, it becomes the older one and what the older one
 * held is forgotten. So it keeps at least the last `size / 2` that were used and at most `size`. An exact order would cost a
 * deletion at each use, four times as much.
 */
export class LruSet {
	#newer = new Set<number>();
	#older = new Set<number>();

	constructor(private readonly size: number) {}

	/** How many it holds; one in both generations counts twice. */
	get count(): number {
		return this.#newer.size + this.#older.size;
	}

	/** Uses this one. */
	add(value: number): void {
		this.#newer.add(value);
		if (this.#newer.size < this.size / 2) return;
		this.#older = this.#newer;
		this.#newer = new Set();
	}

	has(value: number): boolean {
		return this.#newer.has(value) || this.#older.has(value);
	}

	clear(): void {
		this.#newer.clear();
		this.#older.clear();
	}
}
