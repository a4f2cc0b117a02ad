/** The names an agent answers to: its own models, what a vLLM that already ran serves, and `local` for one that is ready. */

import { ModelList } from "../api/model-list.ts";
import { RouterError } from "../errors.ts";
import type { Provider, Target } from "../providers/provider.ts";
import { type Catalog, type CatalogEntry, modelNotFound } from "../routing/catalog.ts";
import type { Route } from "../routing/route.ts";

/** How often that vLLM is asked what it serves, ms: until it has said so (it loads for minutes), and from then on. */
const UNKNOWN_INTERVAL_MS = 2_000;
const KNOWN_INTERVAL_MS = 30_000;

/** The models in containers, as far as names go. */
export interface ContainerModels {
	/** Those that calls may ask for. */
	names(): readonly string[];
	/** The provider of a model, and how many containers it is meant to have; undefined for one that is not the agent's. */
	find(name: string): { readonly provider: Provider; readonly replicas: number } | undefined;
	/** The one that is meant by `local`: the first that is ready, else the first that may be. */
	defaultModel(): string | undefined;
}

/** The catalog of an agent. */
export interface AgentCatalog extends Catalog {
	/** Begins to ask the vLLM that already ran what it serves, now and then. Returns how to end that. */
	watch(): () => void;
}

/**
 * The agent's own models come first; every other name goes to the vLLM that already ran, where there is one, which knows
 * best what it serves. `local` and `local-…` are the first model that is ready; while the vLLM has not said what it serves
 * `resolve` throws `upstream_unreachable` for them.
 */
export function agentCatalog(entries: readonly CatalogEntry[], own: ContainerModels): AgentCatalog {
	const vllm = entries.find(({ upstream }) => upstream.type === "vllm");
	const dummy = entries.find(({ upstream }) => upstream.name === "dummy")!;
	const target = ({ provider, upstream }: CatalogEntry, model: string): Target => ({
		id: `${upstream.name}/${model}`,
		provider,
		model,
	});
	/** Undefined while vLLM has not said it; one that is asked already is not asked twice. */
	const firstServed = (maxAgeMs: number) => vllm && list.served(vllm, maxAgeMs)[0];

	/** As many targets as containers, so that a call which one of them fails is tried at another. */
	function containerRoute(name: string): Route | undefined {
		const found = own.find(name);
		if (!found) return undefined;
		const { provider, replicas } = found;
		const each: Target = { id: `vllm/${name}`, provider, model: name };
		return { targets: Array.from({ length: replicas }, () => each), reason: "this host's model", label: name };
	}

	function find(name: string): Route | undefined {
		if (name === "dummy") return { targets: [target(dummy, name)], reason: "built in", label: name };
		const bare = name.replace(/^(?:local|vllm)\//, "");
		const found = containerRoute(name) ?? containerRoute(bare);
		if (found) return found;
		if (isLocal(name)) {
			const any = own.defaultModel();
			if (any !== undefined) return containerRoute(any);
		}
		if (!vllm) return undefined;
		const model = isLocal(name) ? (firstServed(KNOWN_INTERVAL_MS) ?? name) : bare;
		return { targets: [target(vllm, model)], reason: "this host's vLLM", label: model };
	}

	function resolve(name: string): Route {
		// `local` itself would be a 404 of vLLM's. A call is reason enough to ask at once.
		const isUnknown = isLocal(name) && own.defaultModel() === undefined;
		if (vllm && isUnknown && firstServed(KNOWN_INTERVAL_MS) === undefined && firstServed(0) === undefined) {
			throw new RouterError(
				"upstream_unreachable",
				`vLLM at ${new URL(vllm.upstream.baseUrl!).origin} has not said what it serves: is it running?`,
			);
		}
		const found = find(name);
		if (found) return found;
		if (own.names().length === 0) {
			const how = "start it with --model, list some under agent.models, or POST /models/{name}/load";
			throw new RouterError("model_not_found", `This agent has no model yet: ${how}.`, { param: "model" });
		}
		throw modelNotFound(name, own.names());
	}

	function watch() {
		if (!vllm) return () => {};
		let timer: ReturnType<typeof setTimeout>;
		const look = () => {
			timer = setTimeout(look, firstServed(0) === undefined ? UNKNOWN_INTERVAL_MS : KNOWN_INTERVAL_MS);
		};
		look();
		return () => clearTimeout(timer);
	}

	const catalog: AgentCatalog = {
		entries,
		get names() {
			return [...own.names(), "dummy"];
		},
		find,
		resolve,
		watch,
	};
	const list = new ModelList(catalog);
	return catalog;
}

function isLocal(name: string): boolean {
	return /^local(?:$|[-_])/.test(name);
}
