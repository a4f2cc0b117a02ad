/** The names an agent answers to: what its vLLM serves, and `local` for whichever that is. */
import { ModelList } from "../proxy/model-list.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";

/** Every name goes to the one vLLM, which knows best what it serves; `local` and `local-…` become its first model. */
export function agentCatalog(entries: readonly CatalogEntry[]): Catalog {
	const vllm = entries.find(({ upstream }) => upstream.type === "vllm")!;
	const dummy = entries.find(({ upstream }) => upstream.name === "dummy")!;
	const target = ({ provider, upstream }: CatalogEntry, model: string) => ({
		id: `${upstream.name}/${model}`,
		provider,
		model,
	});

	function find(name: string) {
		if (name === "dummy") return { targets: [target(dummy, name)], reason: "built in" };
		const model = /^local(?:$|[-_])/.test(name)
			? (list.served(vllm)[0] ?? name)
			: name.replace(/^(?:local|vllm)\//, "");
		return { targets: [target(vllm, model)], reason: "this host's vLLM" };
	}

	const catalog: Catalog = { entries, names: ["dummy"], find, resolve: find };
	const list = new ModelList(catalog);
	list.served(vllm);
	return catalog;
}
