/** Every name that an agent has ever served a model by: prompts for it are meant for the house, and go to no vendor. */
import type { Store } from "../../store/store.ts";

/** Most names. An agent names at most some hundreds; more come only of one that makes names up. */
const MOST = 10_000;

/** Holds them; the store keeps them across restarts. */
export class ServedNames {
	#names: Set<string> | undefined;

	constructor(private readonly store: Pick<Store, "servedNames" | "addServedNames">) {}

	has(name: string): boolean {
		return this.#known().has(name);
	}

	/** Keeps those that are new. */
	add(names: Iterable<string>): void {
		const known = this.#known();
		const added: string[] = [];
		for (const name of names) {
			if (known.has(name) || known.size >= MOST) continue;
			known.add(name);
			added.push(name);
		}
		if (added.length > 0) this.store.addServedNames(added);
	}

	/** Read when the first call, or the first agent, comes. */
	#known(): Set<string> {
		this.#names ??= new Set(this.store.servedNames());
		return this.#names;
	}
}
