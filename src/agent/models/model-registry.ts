/** The models this agent may run: those of the configuration, and those that authorised API calls have named. */
import { AgentModel, type AgentModelConfig } from "../../config/agent-schema.ts";
import { type Finding, FindingsError, pathText } from "../../config/config-error.ts";
import { withDefaults } from "../../config/defaults.ts";
import { didYouMean } from "../../config/did-you-mean.ts";
import { mapLeaves } from "../../config/schema-walk.ts";
import { parseWithUnit } from "../../config/units.ts";
import { validate } from "../../config/validate.ts";
import { RouterError } from "../../errors.ts";
import { MAX_MODELS } from "../../protocol/agent.ts";
import { adapterNames } from "../vllm/lora-modules.ts";
import type { AgentFile } from "./agent-file.ts";
import type { AgentSettings } from "./agent-settings.ts";
import type { ModelSpec } from "./model-spec.ts";
import { specProblem, specProblems } from "./spec-problem.ts";

/** A model, and whether it is to be loaded. */
export interface RegisteredModel {
	readonly spec: ModelSpec;
	readonly load: "always" | "on-demand" | "manual";
	/** The last order of an API call; it wins over `load`. */
	readonly order?: "load" | "unload" | undefined;
	/** Whether the configuration names it. */
	readonly isConfigured: boolean;
}

/** All models. Names are unique. */
export class ModelRegistry {
	readonly #entries = new Map<string, RegisteredModel>();
	/** Models with an order that the loop has not taken yet. */
	readonly #newOrders = new Set<string>();

	/**
	 * @param accelerator `agent.accelerator`
	 * @throws {FindingsError} all that is wrong with the models of the configuration
	 */
	constructor(
		configured: readonly AgentModelConfig[],
		private readonly file: AgentFile,
		private readonly accelerator: AgentSettings["accelerator"] = "auto",
	) {
		const findings = configured.flatMap((model, index): Finding[] => {
			const spec = specOf(model);
			const problems = [...specProblems(spec, { from: "config", accelerator }), ...this.#collisions(spec)];
			this.#entries.set(spec.name, { spec, load: model.load, isConfigured: true });
			return problems.map(({ path, at = path, message }) => {
				const base = ["agent", "models", index];
				return { path: [...base, ...path], at: [...base, ...at], message };
			});
		});
		if (findings.length > 0) throw new FindingsError(findings);
		for (const [name, { order, spec }] of Object.entries(file.content.models ?? {})) {
			const known = this.#entries.get(name);
			if (known) this.#entries.set(name, { ...known, order });
			else if (spec) this.#restore(name, spec, order);
		}
	}

	/**
	 * Other models of the configuration, from now on; what API calls have described stays.
	 * @throws {FindingsError} all that is wrong with them; then nothing has changed
	 */
	configure(configured: readonly AgentModelConfig[]): void {
		const next = new ModelRegistry(configured, this.file, this.accelerator);
		this.#entries.clear();
		for (const entry of next.all()) this.#entries.set(entry.spec.name, entry);
	}

	/** All of them: the configuration's first, in its order. */
	all(): RegisteredModel[] {
		return [...this.#entries.values()];
	}

	get(name: string): RegisteredModel | undefined {
		return this.#entries.get(name);
	}

	/** The model that is started with an adapter of this name; undefined where none is. */
	baseOf(adapter: string): RegisteredModel | undefined {
		return this.all().find(({ spec }) => adapterNames(spec.args).includes(adapter));
	}

	/**
	 * Records that an API call loads or unloads a model. `body` may describe an unknown one, with the keys of the configuration.
	 * Returns a sentence where the order can't be written to the disk. Throws `model_not_found`, or `invalid_value` naming the
	 * field.
	 */
	order(name: string, order: "load" | "unload", body?: unknown): string | undefined {
		const known = this.#entries.get(name);
		const isDescribed = body !== undefined && Object.keys(body as object).length > 0;
		if (isDescribed && known?.isConfigured) {
			throw new RouterError("invalid_value", `"${name}" is in the agent's configuration: change it there.`, {
				param: "model",
			});
		}
		const described = isDescribed ? this.#parseNew(name, body) : undefined;
		const entry = described ?? known;
		if (!entry) {
			const close = didYouMean(name, this.#entries.keys());
			const hint = `${close === undefined ? "" : `${close} Else `}say what it is: {"model": "Qwen/Qwen3-8B"}`;
			throw new RouterError("model_not_found", `This agent has no model "${name.slice(0, 100)}": ${hint}.`, {
				param: "model",
			});
		}
		this.#entries.set(name, { ...entry, order });
		this.#newOrders.add(name);
		const written = described ? (body as Record<string, unknown>) : this.file.content.models?.[name]?.spec;
		return this.#persist(name, { order, ...(written && { spec: written }) });
	}

	/** Models that were ordered since the last call. */
	takeOrders(): string[] {
		const names = [...this.#newOrders];
		this.#newOrders.clear();
		return names;
	}

	/** The order has been carried out: from here on the model's own `load` counts. */
	clearOrder(name: string): void {
		const entry = this.#entries.get(name);
		if (!entry) return;
		this.#entries.set(name, { ...entry, order: undefined });
		const spec = this.file.content.models?.[name]?.spec;
		this.#persist(name, { ...(spec && { spec }) });
	}

	#parseNew(name: string, body: unknown): RegisteredModel {
		if (!this.#entries.has(name) && this.#entries.size >= MAX_MODELS) {
			throw new RouterError("invalid_value", `This agent has ${MAX_MODELS} models, which is as many as it may have.`);
		}
		return this.#parse(name, body);
	}

	#parse(name: string, body: unknown): RegisteredModel {
		const model = parseModel(name, body, this.accelerator);
		const [collision] = this.#collisions(model.spec);
		if (collision) throw invalidValue(`${pathText(collision.path)}: ${collision.message}`);
		return model;
	}

	/** The names that a model can't have, of those that it would be called by: each leads to one model or adapter. */
	#collisions({ name, args = [] }: ModelSpec): Finding[] {
		const base = this.baseOf(name)?.spec.name;
		if (base !== undefined && base !== name) {
			return [
				{ path: ["name"], message: `"${name}" is the name of an adapter of "${base}": call one of them otherwise` },
			];
		}
		return adapterNames(args).flatMap((adapter): Finding[] => {
			const other = this.#entries.get(adapter) ?? this.baseOf(adapter);
			if (!other || other.spec.name === name) return [];
			const whose = other.spec.name === adapter ? "another model" : `an adapter of "${other.spec.name}"`;
			const message = `the adapter "${adapter}" has the name of ${whose}: call one of them otherwise`;
			return [{ path: ["args"], at: ["args", args.findIndex((word) => word.includes(adapter))], message }];
		});
	}

	/** A model of an API call before this start; one that is not valid any more is skipped. */
	#restore(name: string, body: unknown, order: RegisteredModel["order"]): void {
		try {
			this.#entries.set(name, { ...this.#parse(name, body), order });
		} catch (error) {
			if (!(error instanceof RouterError)) throw error;
		}
	}

	#persist(name: string, entry: NonNullable<AgentFile["content"]["models"]>[string]): string | undefined {
		return this.file.update({ models: { ...this.file.content.models, [name]: entry } });
	}
}

/** An API call's model. Throws `invalid_value`. */
function parseModel(name: string, body: unknown, accelerator: AgentSettings["accelerator"]): RegisteredModel {
	const filled = withDefaults(AgentModel, { load: "manual", ...(body as object), name });
	const [finding] = validate(AgentModel, filled);
	if (finding) {
		const field = pathText(finding.path);
		throw new RouterError("invalid_value", `The field "${field}" ${finding.message}.`, { param: field });
	}
	const model = mapLeaves(AgentModel, filled, (value, schema) => {
		if (typeof value !== "string") return value;
		return schema["unit"] ? parseWithUnit(value, schema["unit"]) : value;
	}) as AgentModelConfig;
	const spec = specOf(model);
	const problem = specProblem(spec, "api", accelerator);
	if (problem) throw invalidValue(problem);
	return { spec, load: model.load, isConfigured: false };
}

/** @param problem `FIELD: reason` */
function invalidValue(problem: string): RouterError {
	return new RouterError("invalid_value", `${problem}.`, { param: problem.slice(0, problem.indexOf(":")) });
}

function specOf(model: AgentModelConfig): ModelSpec {
	return { ...model, name: model.name ?? model.model } as ModelSpec;
}
