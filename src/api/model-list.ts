/** Which models the upstreams say they serve, asked now and then and remembered. Never in a call's way. */
import { parseBounded } from "../openai/json.ts";
import type { ListedModel } from "../providers/listed-model.ts";
import { isLocal } from "../providers/locality.ts";
import { type ListedLifecycle, listedLifecycle, type ModelLifecycle } from "../providers/model-lifecycle.ts";
import { isOk, type Provider } from "../providers/provider.ts";
import { readText } from "../proxy/net/read-body.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";
import type { Route } from "../routing/route.ts";
import { steadyTime } from "../steady-time.ts";

/** One model, as `GET /v1/models` shows it (OpenAI's Model object, spec v2.3.0), with what is known of its end. */
export interface Model extends ListedLifecycle {
	readonly id: string;
	readonly object: "model";
	/** Unix time, s; 0 where the upstream doesn't say. */
	readonly created: number;
	readonly owned_by: string;
	/** Of a LoRA adapter: the model that it changes, as vLLM lists it. */
	readonly parent?: string;
}

/** How long a list counts as fresh, ms; how long a failure is not asked again; how long a client waits for a first list. */
const FRESH_MS = 60_000;
const FAILED_MS = 10_000;
const WAIT_MS = 2_000;
/** How long an error waits for the names that it might hint at, ms. */
const HINT_MS = 500;
/** Largest list read, bytes. OpenRouter's, the longest there is, has 0.6 MB. */
const MAX_LIST = 16 * 1024 * 1024;
/** Pages asked for; a vendor's have 1,000 models each. */
const MAX_PAGES = 10;

interface Kept {
	models: Model[];
	/** The upstream's own names. */
	served: string[];
	/** False until the upstream has answered once. */
	isKnown: boolean;
	/** It has been waited for in vain: until it answers nobody waits for it again. */
	isLate: boolean;
	askedAt: number;
	pending: Promise<void> | undefined;
}

/** The lists of all upstreams of a catalog. */
export class ModelList {
	readonly #kept = new Map<CatalogEntry, Kept>();

	constructor(private readonly catalog: Catalog) {}

	/** Configured names first, then what agents serve, then what each upstream lists, under the names that reach it here. Never throws. */
	async all(): Promise<Model[]> {
		const { catalog } = this;
		const certain = catalog.names.map((id) => namedModel(id, "router", catalog));
		const agents = (catalog.agentModels?.() ?? []).map((id) => namedModel(id, "local", catalog));
		// Which names with a `*` lead to another upstream depends on what these have.
		await Promise.all((catalog.addressed ?? []).map((entry) => this.#listOf(entry)));
		const lists = await Promise.all(catalog.entries.map((entry) => this.#listOf(entry)));
		// A configured name is its owner's, whatever an upstream has by it.
		const found = [...certain, ...lists.flat(), ...agents, ...certain];
		const byId = new Map(found.map((model) => [model.id, model]));
		return [...byId.values()];
	}

	/** What one upstream lists, under the names that reach it here; the others are not asked. Never throws. */
	of(entry: CatalogEntry): Promise<readonly Model[]> {
		return this.#listOf(entry);
	}

	/** The names of `all`, for a hint: what has not been said within HINT_MS is left out. Never throws. */
	async namesForHint(): Promise<string[]> {
		const { catalog } = this;
		await Promise.race([Promise.all(catalog.entries.map((entry) => this.#listOf(entry))), Bun.sleep(HINT_MS)]);
		const listed = catalog.entries.flatMap((entry) => this.#keptFor(entry).models.map(({ id }) => id));
		return [...catalog.names, ...(catalog.agentModels?.() ?? []), ...listed];
	}

	/** Asks an upstream in the background what it serves, unless it is being asked. */
	ask(entry: CatalogEntry): void {
		const kept = this.#keptFor(entry);
		kept.pending ??= this.#ask(entry, kept);
	}

	/**
	 * What an upstream last said it serves, in its own words; asked again in the background where the last answer, or the
	 * lack of one, is older than `maxAgeMs`.
	 */
	served(entry: CatalogEntry, maxAgeMs: number): readonly string[] {
		const kept = this.#keptFor(entry);
		if (steadyTime() - kept.askedAt > maxAgeMs) kept.pending ??= this.#ask(entry, kept);
		return kept.served;
	}

	/** Has an upstream asked where its last answer, or the lack of one, is older than `maxAgeMs`. Resolves once that is over. Never throws. */
	async refresh(entry: CatalogEntry, maxAgeMs: number): Promise<void> {
		const kept = this.#keptFor(entry);
		if (steadyTime() - kept.askedAt > maxAgeMs) kept.pending ??= this.#ask(entry, kept);
		await kept.pending;
	}

	/** Whether the upstream has said what it serves. */
	isKnown(entry: CatalogEntry): boolean {
		return this.#kept.get(entry)?.isKnown ?? false;
	}

	async #listOf(entry: CatalogEntry): Promise<Model[]> {
		const kept = this.#keptFor(entry);
		const age = steadyTime() - kept.askedAt;
		if (age > (kept.isKnown ? FRESH_MS : FAILED_MS)) kept.pending ??= this.#ask(entry, kept);
		// A known list is shown while it is asked for again.
		if (!kept.isKnown && kept.pending && !kept.isLate) {
			const late = Bun.sleep(WAIT_MS).then(() => true);
			kept.isLate = (await Promise.race([kept.pending, late])) === true && !kept.isKnown;
			if (kept.isLate) this.catalog.learn?.(entry, undefined);
		}
		return kept.models;
	}

	#keptFor(entry: CatalogEntry): Kept {
		let kept = this.#kept.get(entry);
		if (!kept) {
			kept = {
				models: [],
				served: [],
				isKnown: false,
				isLate: false,
				askedAt: Number.NEGATIVE_INFINITY,
				pending: undefined,
			};
			this.#kept.set(entry, kept);
		}
		return kept;
	}

	async #ask(entry: CatalogEntry, kept: Kept): Promise<void> {
		const { provider, upstream } = entry;
		try {
			const listed = await fetchList(provider);
			if (!listed) return;
			kept.served = listed.map(({ id }) => id);
			this.catalog.learn?.(entry, kept.served);
			learnLifecycles(provider, listed);
			// Every agent has a `dummy` of its own; one is enough.
			const others = isLocal(upstream) ? listed.filter(({ id }) => id !== "dummy") : listed;
			kept.models = others.flatMap(({ id, created, owned_by, parent, lifecycle }) => {
				const facts = {
					object: "model" as const,
					created: Number.isSafeInteger(created) ? Number(created) : 0,
					owned_by: typeof owned_by === "string" ? owned_by : upstream.name,
					...(typeof parent === "string" && parent !== "" && { parent: this.#parentName(upstream.name, parent, kept) }),
					...listedLifecycle(lifecycle),
				};
				return this.#namesFor(upstream.name, id).map((name) => ({ id: name, ...facts }));
			});
			kept.isKnown = true;
		} catch {
			// An upstream that can't be asked keeps its last list; calls to it say what is wrong.
		} finally {
			kept.askedAt = steadyTime();
			kept.pending = undefined;
			if (!kept.isKnown) this.catalog.learn?.(entry, undefined);
		}
	}

	/** A parent that the upstream doesn't list has no name here. */
	#parentName(provider: string, parent: string, { served }: Kept): string {
		return (served.includes(parent) ? this.#namesFor(provider, parent)[0] : undefined) ?? parent;
	}

	/** The upstream's own name where that leads to it here, else `provider/name`; and the names with a `*` in `models:` that lead there, too. */
	#namesFor(provider: string, model: string): readonly string[] {
		const { catalog } = this;
		const id = `${provider}/${model}`;
		// Agents' models are listed as `local/name`, registered or not.
		const isAgents = catalog.addressed?.some(({ upstream }) => upstream.name === provider);
		const own = (isAgents ? [id] : [model, id]).find((name) => catalog.find(name)?.targets[0]?.id === id);
		return [...(own === undefined ? [] : [own]), ...(catalog.patternNames?.(provider, model) ?? [])];
	}
}

const lists = new WeakMap<Catalog, ModelList>();

/** The lists of a catalog's upstreams: one a catalog, whoever asks. A reload makes another catalog. */
export function listsOf(catalog: Catalog): ModelList {
	let known = lists.get(catalog);
	if (!known) {
		known = new ModelList(catalog);
		lists.set(catalog, known);
	}
	return known;
}

/** Has the agents that are known by their addresses asked in the background for what they serve. */
export function askAddressedAgents(catalog: Catalog): void {
	for (const entry of catalog.addressed ?? []) listsOf(catalog).ask(entry);
}

/** A model that no upstream has said more of; an adapter of an agent's has its parent. */
export function namedModel(id: string, owner: string, catalog: Catalog): Model {
	const parent = catalog.parentOf?.(id);
	const end = listedLifecycle(routeLifecycle(catalog.find(id)));
	return { id, object: "model", created: 0, owned_by: owner, ...(parent !== undefined && { parent }), ...end };
}

/** A name ends with the last of its targets: nothing is known where one of them goes on. */
function routeLifecycle(route: Route | undefined): ModelLifecycle | undefined {
	let last: ModelLifecycle | undefined;
	for (const { provider, model } of route?.targets ?? []) {
		const own = provider.lifecycles?.get(model);
		if (!own) return undefined;
		if (!last || endOf(own) > endOf(last)) last = own;
	}
	return last;
}

const endOf = ({ retiresAt = Number.POSITIVE_INFINITY, isRetired }: ModelLifecycle): number =>
	isRetired ? 0 : retiresAt;

/** Keeps what a list says of models that retire where answers of that upstream are headed, with whichever of its keys they were asked for. */
function learnLifecycles(provider: Provider, listed: readonly ListedModel[]): void {
	const known = new Map(listed.flatMap(({ id, lifecycle }) => (lifecycle ? [[id, lifecycle]] : [])));
	const lifecycles = known.size > 0 ? known : undefined;
	for (const each of [provider, ...(provider.otherAccounts ?? [])]) each.lifecycles = lifecycles;
}

/** All pages of an upstream's list; undefined where it can't be asked, or gives none. */
async function fetchList(provider: Provider): Promise<ListedModel[] | undefined> {
	const signal = AbortSignal.timeout(WAIT_MS * 2);
	let models: ListedModel[] | undefined;
	let after: string | undefined;
	for (let page = 0; page < MAX_PAGES; page++) {
		const request = provider.listRequest(after);
		if (!request) return models;
		const response = await provider.transport.send(request, signal);
		const text = await readText(response, MAX_LIST);
		const listed = isOk(response) ? provider.readList(parseBounded(text)) : undefined;
		if (!listed) return undefined;
		models = [...(models ?? []), ...listed.models];
		after = listed.next;
		if (!after) return models;
	}
	return models;
}
