/** The LoRA adapters of the agent's models: each is called by a name of its own, and its calls are calls of its model. */
import { Value } from "@sinclair/typebox/value";
import { ModelName } from "../../protocol/agent.ts";
import type { Log } from "../../telemetry/log.ts";
import { adapterNames } from "../vllm/lora-modules.ts";
import type { Inventory } from "./inventory.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";

/** What the adapters are read from. */
export interface AdapterListOptions {
	readonly registry: Pick<ModelRegistry, "all" | "get">;
	readonly inventory: Pick<Inventory, "items">;
	readonly log: Pick<Log, "logger">;
}

/** All of them, as of the last tick. */
export class AdapterList {
	/** Names that were logged, since another model has them. */
	readonly #logged = new Set<string>();

	constructor(private readonly options: AdapterListOptions) {}

	/**
	 * The adapters of a model: those that it is started with, whether it runs or not, and those that were loaded since into all its
	 * containers that answer. Without those whose name leads elsewhere.
	 */
	of({ spec }: RegisteredModel): readonly string[] {
		const started = adapterNames(spec.args);
		const loaded = this.#loaded(spec.name).filter((name) => !started.includes(name) && this.#isFree(name, spec.name));
		return [...started, ...loaded];
	}

	/** The model that serves an adapter; undefined where no adapter has the name. */
	baseOf(adapter: string): RegisteredModel | undefined {
		const { registry } = this.options;
		if (registry.get(adapter)) return undefined;
		return registry.all().find((entry) => this.of(entry).includes(adapter));
	}

	/** Adapters that each container of a model lists: a call may go to any of them. */
	#loaded(model: string): readonly string[] {
		const lists = this.options.inventory.items.flatMap((item) =>
			item.model === model && item.monitor?.adapters ? [item.monitor.adapters] : [],
		);
		const [first = [], ...others] = lists;
		return first.filter((name) => others.every((list) => list.includes(name)));
	}

	/** Whether a loaded adapter's name is one that a router takes, and no other model's; one that is taken is logged once. */
	#isFree(name: string, model: string): boolean {
		// A router would refuse the whole report for one name that is none.
		if (!Value.Check(ModelName, name)) return false;
		const { registry, log } = this.options;
		const models = registry.all();
		const isTaken =
			registry.get(name) !== undefined ||
			models.some(({ spec }) => spec.name !== model && adapterNames(spec.args).includes(name)) ||
			// Of two models that were given one of this name the first serves it.
			models.find(({ spec }) => this.#loaded(spec.name).includes(name))?.spec.name !== model;
		if (isTaken && !this.#logged.has(name)) {
			this.#logged.add(name);
			const text = `The adapter "${name}" of "${model}" is not served: another model has that name. Load it under another one.`;
			log.logger.warn({ model }, text);
		}
		return !isTaken;
	}
}
