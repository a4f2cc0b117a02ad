/** A bounded set of 32-bit numbers that forgets those used longest ago. */

/**
 * Two generations: what is used goes into the young one; when that holds half of all, it becomes the old one and what the old one
 * held is forgotten. So it keeps at least the last `size / 2` that were used and at most `size`. An exact order would cost a
 * deletion at each use, four times as much.
 */
export class LruSet {
	#young = new Set<number>();
	#old = new Set<number>();

	constructor(private readonly size: number) {}

	/** How many it holds; one in both generations counts twice. */
	get count(): number {
		return this.#young.size + this.#old.size;
	}

	/** Uses this one. */
	add(value: number): void {
		this.#young.add(value);
		if (this.#young.size < this.size / 2) return;
		this.#old = this.#young;
		this.#young = new Set();
	}

	has(value: number): boolean {
		return this.#young.has(value) || this.#old.has(value);
	}

	clear(): void {
		this.#young.clear();
		this.#old.clear();
	}
}
