/**
 * Agents that have not registered: the configuration says their addresses, by `LOCAL_AGENT_URL` or `providers.<name>.base_url`. What they
 * serve is known once their lists have been read, and prompts for it are meant for the user's own machines as those of registered agents are.
 */
import { type Upstream, withoutSecrets } from "../providers/registry.ts";
import type { Fleet } from "./agent-targets.ts";

/** An agent's address is configured. The default, which every router has, is nobody's word that there is an agent. */
export const hasOwnAddress = ({ type, isAddressSet = false }: Upstream): boolean => type === "local" && isAddressSet;

/** Those of one configuration. */
export class AddressedAgents<Entry extends { readonly upstream: Upstream }> {
	readonly entries: readonly Entry[];
	/** What is stored beside the names of models, once an agent has been heard: its address, by which no model is called. */
	readonly #marks = new Map<Entry, string>();
	/** What each last said it serves. */
	readonly #names = new Map<Entry, ReadonlySet<string>>();
	readonly #asked = new Set<Entry>();

	constructor(
		entries: readonly Entry[],
		private readonly fleet: Pick<Fleet, "served" | "learn">,
	) {
		this.entries = fleet.learn ? entries.filter(({ upstream }) => hasOwnAddress(upstream)) : [];
		for (const entry of this.entries) this.#marks.set(entry, withoutSecrets(entry.upstream.baseUrl!));
	}

	/**
	 * Remembers what one serves, its address beside it: an agent that has none must not look like one that was never heard. Undefined: it
	 * was asked, and has not answered.
	 */
	learn(entry: Entry, names: readonly string[] | undefined): void {
		const mark = this.#marks.get(entry);
		if (mark === undefined) return;
		this.#asked.add(entry);
		if (!names) return;
		// Every agent has a `dummy` of its own, and so has the router.
		const served = names.filter((name) => name !== "dummy");
		this.#names.set(entry, new Set(served));
		this.fleet.learn?.([...served, mark]);
	}

	/** The one that a model's plain name leads to: one that lists it, else one that has not been heard since the start, and may. */
	serving(name: string): Entry | undefined {
		const listed = this.entries.find((entry) => this.#names.get(entry)?.has(name));
		return listed ?? this.entries.find((entry) => !this.#names.has(entry));
	}

	/** One that has never said what it has, neither now nor before a restart: a name that nobody knows may be a model of its. */
	get silent(): Entry | undefined {
		for (const [entry, mark] of this.#marks) if (!this.fleet.served.has(mark)) return entry;
		return undefined;
	}

	/** Each has been asked since the start, whether it answered or not. */
	get isAsked(): boolean {
		return this.#asked.size === this.entries.length;
	}

	/** Why a name that nobody knows may be a model of an agent; undefined where each has said what it has. */
	get unheard(): string | undefined {
		const { silent } = this;
		if (!silent) return undefined;
		const { name, row, type } = silent.upstream;
		const setting =
			name === type ? `${row.baseUrlVariable} or providers.${name}.base_url` : `providers.${name}.base_url`;
		return (
			`the agent at the address of ${setting} has not said yet which models it has, and prompts for those go to no vendor by a ` +
			"name with a `*`; ask for `provider/model` to say where this one goes"
		);
	}
}
