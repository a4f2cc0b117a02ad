/** Sessions whose spending is counted, by their keys and when they were used last: clients choose their names, and their windows are long. */

/** Sessions that are counted at once in one thread. */
export const MOST_SESSION_COUNTS = 20_000;

/** The name of a session's count. @param owner the id of its key; "" of none @param name what a client calls it, hashed: no `:` in it */
export const sessionCountId = (owner: string, name: string): string => `session:${owner}:${name}`;

/** Which of them makes room for another one: of the key that has most of them the one that was used least lately, so that nobody pushes out another's. */
export class SessionOrder {
	/** The names of counts of each key, the one that was used least lately first. */
	readonly #byOwner = new Map<string, Set<string>>();
	#size = 0;

	/** Sessions that are counted. */
	get size(): number {
		return this.#size;
	}

	/** A call of the session came. @param id by {@link sessionCountId} */
	used(id: string): void {
		const owner = ownerOf(id);
		let ids = this.#byOwner.get(owner);
		if (!ids) {
			ids = new Set();
			this.#byOwner.set(owner, ids);
		}
		if (!ids.delete(id)) this.#size++;
		ids.add(id);
	}

	/** It is counted no more. */
	dropped(id: string): void {
		const owner = ownerOf(id);
		const ids = this.#byOwner.get(owner);
		if (!ids?.delete(id)) return;
		this.#size--;
		if (ids.size === 0) this.#byOwner.delete(owner);
	}

	/** The one to drop; undefined where calls under way hold all of that key's. */
	next(isHeld: (id: string) => boolean): string | undefined {
		let most: Set<string> | undefined;
		for (const ids of this.#byOwner.values()) if (!most || ids.size > most.size) most = ids;
		for (const id of most ?? []) if (!isHeld(id)) return id;
		return undefined;
	}
}

/** Its key, by the name of its count. */
export const ownerOf = (id: string): string => id.slice(0, id.lastIndexOf(":"));
