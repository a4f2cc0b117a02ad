/**
 * Blocks of KV cache: in use, idle but still known by their content (the prefix cache, oldest given up first), or
 * empty. As in vLLM, a block is known once it is full, by its tokens and all before it.
 */

import type { KvListener } from "./kv-events.ts";

/** One engine's blocks. */
export class KvCache {
	/** By content, with how many requests use it. */
	readonly #active = new Map<bigint, number>();
	/** In the order in which they became idle. */
	readonly #idle = new Set<bigint>();
	/** Not full yet, so nobody else's. */
	#open = 0;

	/** `total` blocks. `caching: false`: none is remembered. `listener`: told of blocks that are given up. */
	constructor(
		readonly total: number,
		readonly caching: boolean,
		private readonly listener?: Pick<KvListener, "removed" | "cleared">,
	) {}

	/** From 0 to 1, as `vllm:kv_cache_usage_perc`. */
	get usage(): number {
		return (this.#active.size + this.#open) / this.total;
	}

	/** Blocks that a request could get now. */
	get available(): number {
		return this.total - this.#active.size - this.#open;
	}

	/** How many of these, from the first on, are there already. */
	known(hashes: readonly bigint[]): number {
		const missing = hashes.findIndex((hash) => !this.#active.has(hash) && !this.#idle.has(hash));
		return missing < 0 ? hashes.length : missing;
	}

	/** Blocks it would take from what is available, for these full ones and `open` more. */
	cost(hashes: readonly bigint[], open: number): number {
		return hashes.filter((hash) => !this.#active.has(hash)).length + open;
	}

	/** Takes a full block into use, from the idle ones where it is known. Whether it was not. */
	take(hash: bigint): boolean {
		const isNew = !this.#idle.delete(hash) && !this.#active.has(hash);
		this.#active.set(hash, (this.#active.get(hash) ?? 0) + 1);
		this.#trim();
		return isNew;
	}

	/** Takes an empty block. */
	open(): void {
		this.#open++;
		this.#trim();
	}

	/** Gives up an open block, filled or not. */
	close(): void {
		this.#open--;
	}

	/** Ends a request's use of its blocks; the last becomes idle first, so that common beginnings stay longest. */
	release(hashes: readonly bigint[]): void {
		for (const hash of hashes.toReversed()) {
			const left = this.#active.get(hash)! - 1;
			if (left > 0) this.#active.set(hash, left);
			else {
				this.#active.delete(hash);
				if (this.caching) this.#idle.add(hash);
				else this.listener?.removed(hash);
			}
		}
	}

	/** Forgets what is idle. */
	reset(): void {
		this.#idle.clear();
		this.listener?.cleared();
	}

	#trim(): void {
		for (const oldest of this.#idle) {
			if (this.#active.size + this.#open + this.#idle.size <= this.total) return;
			this.#idle.delete(oldest);
			this.listener?.removed(oldest);
		}
	}
}
