/** A provider for each of the agent's models: the pipeline sees an upstream that answers, whenever it is loaded. */
import type { Config } from "../config/schema.ts";
import { openAiCompatible } from "../providers/openai/index.ts";
import type { Provider, Transport } from "../providers/provider.ts";
import type { Upstream } from "../providers/registry.ts";
import { VENDORS } from "../vendors.ts";
import type { ModelRegistry } from "./models/model-registry.ts";
import { CONTAINER_BASE_URL, modelTransport } from "./models/model-transport.ts";
import type { Traffic } from "./models/traffic.ts";
import { toolParserHint } from "./vllm/tool-parsers.ts";

/** What they are made with. */
export interface ModelProviderOptions {
	readonly registry: ModelRegistry;
	readonly traffic: Traffic;
	readonly http: Transport;
	readonly key: string;
	readonly config: Config;
	readonly progress: (model: string) => string;
}

/** The providers by model, made when they are first asked for. */
export function modelProviders({ registry, traffic, http, key, config, progress }: ModelProviderOptions) {
	const made = new Map<string, Provider>();
	const { total, first_token, stall, connect } = config.timeouts;
	const { wait } = config.agent.queue;
	const upstream: Upstream = {
		name: "vllm",
		type: "vllm",
		row: VENDORS.vllm,
		baseUrl: `${CONTAINER_BASE_URL}/v1`,
		apiKey: key,
		variable: "VLLM_API_KEY",
		keySetting: "VLLM_API_KEY",
		state: "ready",
		headers: {},
		routesModels: false,
		keepsSystemPrompt: false,
		// What a call waits for its model is no fault of the model's.
		timeouts: { total: total + wait, first_token: first_token + wait, stall, connect },
	};
	return (model: string): Provider | undefined => {
		const entry = registry.get(model);
		if (!entry) return undefined;
		let provider = made.get(model);
		if (!provider) {
			const explain = (body: string) => explainRefusal(body, registry.get(model)?.spec.model ?? model);
			const transport = modelTransport({ model, traffic, http, progress: () => progress(model), explain });
			provider = openAiCompatible(upstream, transport);
			made.set(model, provider);
		}
		return provider;
	};
}

/** vLLM's refusal, in words that say what to do where it is one of those that leave people at a loss. */
function explainRefusal(body: string, model: string): string {
	try {
		const parsed = JSON.parse(body) as { error?: { message?: unknown }; message?: unknown };
		const message = parsed.error?.message ?? parsed.message;
		const better = typeof message === "string" ? toolParserHint(message, model) : undefined;
		if (better === undefined) return body;
		return JSON.stringify(
			parsed.error ? { ...parsed, error: { ...parsed.error, message: better } } : { ...parsed, message: better },
		);
	} catch {
		return body;
	}
}
