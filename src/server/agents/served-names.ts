/** Every name that an agent has ever served a model by: prompts for it are meant for the user's own machines, and go to no vendor. */
import type { Store } from "../../store/store.ts";

/** Most names. An agent names at most some hundreds; more come only of one that makes names up. */
const MOST = 10_000;

/** Holds them in memory; the store keeps them across restarts. */
export class ServedNames {
	/** The names. A plain set: each call for a model looks into it. */
	readonly all: ReadonlySet<string>;
	readonly #names = new Set<string>();
	#isLoaded = false;

	constructor(
		private readonly store: Pick<Store, "servedNames" | "addServedNames"> & Partial<Pick<Store, "isUnreadable">>,
	) {
		this.all = this.#names;
	}

	/** Reads the names of before, once. What can't be read now is read when it is called again. */
	load(): void {
		if (this.#isLoaded) return;
		for (const name of this.store.servedNames()) this.#names.add(name);
		this.#isLoaded = this.store.isUnreadable !== true;
	}

	/** Adds those that are new. */
	add(names: Iterable<string>): void {
		this.load();
		const added: string[] = [];
		for (const name of names) {
			if (this.#names.has(name) || this.#names.size >= MOST) continue;
			this.#names.add(name);
			added.push(name);
		}
		if (added.length > 0) this.store.addServedNames(added);
	}
}
