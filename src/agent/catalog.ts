/** The names an agent answers to: what its vLLM serves, and `local` for whichever that is. */
import { RouterError } from "../errors.ts";
import type { RoleCatalog } from "../http/role-plan.ts";
import { ModelList } from "../proxy/model-list.ts";
import type { CatalogEntry } from "../routing/catalog.ts";

/** How often vLLM is asked what it serves, ms: until it has said so (it loads for minutes), and from then on. */
const UNKNOWN_MS = 2_000;
const KNOWN_MS = 30_000;

/**
 * Every name goes to the one vLLM, which knows best what it serves; `local` and `local-…` become its first model. Until
 * that is known, `resolve` throws `upstream_unreachable` for them.
 */
export function agentCatalog(entries: readonly CatalogEntry[]): RoleCatalog {
	const vllm = entries.find(({ upstream }) => upstream.type === "vllm")!;
	const dummy = entries.find(({ upstream }) => upstream.name === "dummy")!;
	const target = ({ provider, upstream }: CatalogEntry, model: string) => ({
		id: `${upstream.name}/${model}`,
		provider,
		model,
	});
	/** Undefined while vLLM has not said it; one that is asked already is not asked twice. */
	const firstServed = (maxAgeMs: number) => list.served(vllm, maxAgeMs)[0];

	function find(name: string) {
		if (name === "dummy") return { targets: [target(dummy, name)], reason: "built in", label: name };
		const model = isLocal(name) ? (firstServed(KNOWN_MS) ?? name) : name.replace(/^(?:local|vllm)\//, "");
		return { targets: [target(vllm, model)], reason: "this host's vLLM", label: model };
	}

	function resolve(name: string) {
		// `local` itself would be a 404 of vLLM's. A call is reason enough to ask at once.
		if (isLocal(name) && firstServed(KNOWN_MS) === undefined && firstServed(0) === undefined) {
			throw new RouterError(
				"upstream_unreachable",
				`vLLM at ${new URL(vllm.upstream.baseUrl!).origin} has not said what it serves: is it running?`,
			);
		}
		return find(name);
	}

	function watch() {
		let timer: ReturnType<typeof setTimeout>;
		const look = () => {
			timer = setTimeout(look, firstServed(0) === undefined ? UNKNOWN_MS : KNOWN_MS);
		};
		look();
		return () => clearTimeout(timer);
	}

	const catalog: RoleCatalog = { entries, names: ["dummy"], find, resolve, watch };
	const list = new ModelList(catalog);
	return catalog;
}

function isLocal(name: string): boolean {
	return /^local(?:$|[-_])/.test(name);
}
