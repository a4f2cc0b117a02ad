/** The agent's own models as upstreams: each has a provider that answers whenever one of its containers is ready. */
import type { Config } from "../config/schema.ts";
import { REPLICA_HEADER } from "../protocol/agent.ts";
import { ROUTER_NAME_HEADER } from "../protocol/router-shares.ts";
import { openAiCompatible } from "../providers/openai/index.ts";
import type { Provider, Transport } from "../providers/provider.ts";
import type { Upstream } from "../providers/registry.ts";
import { VENDORS, type VendorRow } from "../vendors.ts";
import type { AdapterList } from "./models/adapter-list.ts";
import type { DeathWatch } from "./models/container-death.ts";
import type { ModelRegistry, RegisteredModel } from "./models/model-registry.ts";
import { isCallable, type ModelStatuses } from "./models/model-status.ts";
import { CONTAINER_BASE_URL, modelTransport, type PromptWatch } from "./models/model-transport.ts";
import type { Traffic } from "./models/traffic.ts";
import { toolParserHint } from "./vllm/tool-parsers.ts";

/** What their providers work with. */
export interface ContainerModelsOptions {
	readonly registry: ModelRegistry;
	readonly adapters: AdapterList;
	readonly statuses: ModelStatuses;
	readonly traffic: Traffic;
	readonly http: Transport;
	/** How containers ended. */
	readonly ends: DeathWatch;
	/** Hears of the calls that containers are given. */
	readonly prefixes: PromptWatch;
	readonly config: Config;
}

/** All of them, by name. */
export class ContainerModels {
	/** By model, made when it is first called. */
	readonly #providers = new Map<string, Provider>();
	readonly #upstream: Upstream;

	constructor(private readonly options: ContainerModelsOptions) {
		this.#upstream = upstreamOf(options);
	}

	/** Those that calls may name, loaded or loaded by the call, and behind them their adapters. */
	names(): readonly string[] {
		const entries = this.#callable();
		return [...entries.map(({ spec }) => spec.name), ...entries.flatMap((entry) => this.options.adapters.of(entry))];
	}

	/** The model that an adapter changes; undefined for what is none. */
	parentOf(name: string): string | undefined {
		return this.options.adapters.baseOf(name)?.spec.name;
	}

	/**
	 * The provider of a model, and how many containers it is meant to have; undefined for one that is not the agent's. An adapter's is its
	 * model's: its calls wait, run and count as that one's.
	 */
	find(called: string): { readonly provider: Provider; readonly replicas: number } | undefined {
		const { registry, adapters, statuses, traffic, http, ends, prefixes } = this.options;
		const entry = registry.get(called) ?? adapters.baseOf(called);
		if (!entry) return undefined;
		const { name } = entry.spec;
		let provider = this.#providers.get(name);
		if (!provider) {
			const progress = () => statuses.progressText(name);
			const explain = (body: string) => explainRefusal(body, registry.get(name)?.spec.model ?? name);
			const transport = modelTransport({ model: name, traffic, http, progress, explain, ends, prefixes });
			provider = openAiCompatible(this.#upstream, transport);
			this.#providers.set(name, provider);
		}
		return { provider, replicas: entry.spec.replicas ?? 1 };
	}

	/** The model that `local` means: the first that is ready, else the first that calls may name. */
	defaultModel(): string | undefined {
		const names = this.#callable().map(({ spec }) => spec.name);
		return names.find((name) => this.options.statuses.of(name).state === "ready") ?? names[0];
	}

	#callable(): readonly RegisteredModel[] {
		const { registry, statuses } = this.options;
		return registry.all().filter((entry) => isCallable(entry, statuses.of(entry.spec.name)));
	}
}

/** One of several containers, where the router's call names one, and which router that is: `modelTransport` reads these headers, and no vLLM gets them. */
const REPLICAS: VendorRow = {
	...VENDORS.vllm,
	forwardedHeaders: [REPLICA_HEADER, ROUTER_NAME_HEADER],
	namesReplica: true,
};

function upstreamOf({ config }: ContainerModelsOptions): Upstream {
	const { total, first_token, stall, connect } = config.timeouts;
	const { wait } = config.agent.queue;
	return {
		name: "vllm",
		type: "vllm",
		row: REPLICAS,
		baseUrl: `${CONTAINER_BASE_URL}/v1`,
		// Each container has one of its own, which `modelTransport` shows it.
		apiKey: undefined,
		variable: "VLLM_API_KEY",
		keySetting: "VLLM_API_KEY",
		state: "ready",
		headers: {},
		routesModels: false,
		keepsSystemPrompt: false,
		// The time that a call waits for its model does not count against the model.
		timeouts: { total: total + wait, first_token: first_token + wait, stall, connect },
	};
}

/** vLLM's refusal; its message is replaced where the remedy is known. */
function explainRefusal(body: string, model: string): string {
	try {
		const parsed = JSON.parse(body) as { error?: { message?: unknown }; message?: unknown };
		const message = parsed.error?.message ?? parsed.message;
		const hint = typeof message === "string" ? toolParserHint(message, model) : undefined;
		if (hint === undefined) return body;
		return JSON.stringify(
			parsed.error ? { ...parsed, error: { ...parsed.error, message: hint } } : { ...parsed, message: hint },
		);
	} catch {
		return body;
	}
}
