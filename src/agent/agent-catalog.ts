/** The names an agent answers to: its own models, what a vLLM that already runs serves, and `local` for one that is ready. */

import { ModelList } from "../api/model-list.ts";
import { RouterError } from "../errors.ts";
import type { Target } from "../providers/provider.ts";
import type { Catalog, CatalogEntry } from "../routing/catalog.ts";
import type { Route } from "../routing/route.ts";
import { modelNotFound } from "../routing/unknown-name.ts";
import type { ContainerModels } from "./container-models.ts";

/** How often that vLLM is asked for its models, ms: until it has answered (it may load for minutes), and from then on. */
const UNKNOWN_INTERVAL_MS = 2_000;
const KNOWN_INTERVAL_MS = 30_000;

/**
 * The agent's own models come first; every other name goes to the vLLM that already runs, where there is one, which knows
 * best what it serves. `local` and `local-…` are the first model that is ready; while that vLLM has not answered
 * `resolve` throws `upstream_unreachable` for them.
 */
export class AgentCatalog implements Catalog {
	readonly #vllm: CatalogEntry | undefined;
	readonly #dummy: CatalogEntry;
	readonly #list: ModelList;

	/** Sends nothing. */
	constructor(
		readonly entries: readonly CatalogEntry[],
		private readonly own: Pick<ContainerModels, "names" | "find" | "defaultModel"> &
			Partial<Pick<ContainerModels, "parentOf">>,
	) {
		this.#vllm = entries.find(({ upstream }) => upstream.type === "vllm");
		this.#dummy = entries.find(({ upstream }) => upstream.name === "dummy")!;
		this.#list = new ModelList(this);
	}

	get names(): readonly string[] {
		return [...this.own.names(), "dummy"];
	}

	parentOf(name: string): string | undefined {
		return this.own.parentOf?.(name);
	}

	find(name: string): Route | undefined {
		if (name === "dummy") return { targets: [target(this.#dummy, name)], reason: "built in", label: name };
		const bare = name.replace(/^(?:local|vllm)\//, "");
		const found = this.#containerRoute(name) ?? this.#containerRoute(bare);
		if (found) return found;
		if (isLocal(name)) {
			const model = this.own.defaultModel();
			if (model !== undefined) return this.#containerRoute(model);
		}
		if (!this.#vllm) return undefined;
		const model = isLocal(name) ? (this.#firstServed(KNOWN_INTERVAL_MS) ?? name) : bare;
		return { targets: [target(this.#vllm, model)], reason: "this host's vLLM", label: model };
	}

	resolve(name: string): Route {
		// vLLM has no model called `local`. A call is reason enough to ask at once.
		const isUnknown = isLocal(name) && this.own.defaultModel() === undefined;
		const isServed = (maxAgeMs: number) => this.#firstServed(maxAgeMs) !== undefined;
		if (this.#vllm && isUnknown && !isServed(KNOWN_INTERVAL_MS) && !isServed(0)) {
			throw new RouterError(
				"upstream_unreachable",
				`vLLM at ${new URL(this.#vllm.upstream.baseUrl!).origin} has not said what it serves: is it running?`,
			);
		}
		const found = this.find(name);
		if (found) return found;
		const names = this.own.names();
		if (names.length === 0) {
			const how = "start it with --model, list some under agent.models, or POST /models/{name}/load";
			throw new RouterError("model_not_found", `This agent has no model yet: ${how}.`, { param: "model" });
		}
		throw modelNotFound(name, names);
	}

	/** Begins to ask that vLLM for its models, at an interval. Returns how to end that. */
	watch(): () => void {
		if (!this.#vllm) return () => {};
		let timer: ReturnType<typeof setTimeout>;
		const poll = () => {
			timer = setTimeout(poll, this.#firstServed(0) === undefined ? UNKNOWN_INTERVAL_MS : KNOWN_INTERVAL_MS);
		};
		poll();
		return () => clearTimeout(timer);
	}

	/** Undefined while that vLLM has not answered; a request that is under way is not sent twice. */
	#firstServed(maxAgeMs: number): string | undefined {
		return this.#vllm && this.#list.served(this.#vllm, maxAgeMs)[0];
	}

	/** As many targets as containers, so that a call which one of them fails is tried at another. */
	#containerRoute(name: string): Route | undefined {
		const found = this.own.find(name);
		if (!found) return undefined;
		const { provider, replicas } = found;
		const each: Target = { id: `vllm/${name}`, provider, model: name };
		return { targets: Array.from({ length: replicas }, () => each), reason: "this host's model", label: name };
	}
}

function target({ provider, upstream }: CatalogEntry, model: string): Target {
	return { id: `${upstream.name}/${model}`, provider, model };
}

function isLocal(name: string): boolean {
	return /^local(?:$|[-_])/.test(name);
}
