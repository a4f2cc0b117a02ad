/** A vLLM that somebody else started: what it serves and how busy it is, for the router. It is neither started nor stopped here. */
import { Value } from "@sinclair/typebox/value";
import type { Config } from "../../config/schema.ts";
import { ModelName, type ModelReport } from "../../protocol/agent.ts";
import type { Transport } from "../../providers/provider.ts";
import { withoutSecrets } from "../../providers/registry.ts";
import type { Notifier } from "../notify.ts";
import { probeMetrics, probeModels, type ServedModel, type VllmEndpoint } from "./vllm-probe.ts";

const POLL_MS = 5000;

/** Polls it, from `start` on. */
export class ExternalVllm {
	readonly #vllm: VllmEndpoint;
	readonly #address: string;
	#reports: readonly ModelReport[] = [];
	#timer: ReturnType<typeof setTimeout> | undefined;
	#isEnded = false;

	constructor(
		{ agent }: Config,
		http: Transport,
		/** Notified when what it serves has changed. */
		private readonly changes: Notifier,
	) {
		const origin = agent.vllm_url!.replace(/\/+$/, "").replace(/\/v1$/, "");
		this.#vllm = { origin, key: agent.vllm_api_key, http };
		this.#address = withoutSecrets(origin);
	}

	/** The models it listed last; failed while it does not answer. */
	reports(): readonly ModelReport[] {
		return this.#reports;
	}

	start(): void {
		void this.#poll();
	}

	end(): void {
		this.#isEnded = true;
		clearTimeout(this.#timer);
	}

	async #poll(): Promise<void> {
		const before = this.#reports.map(({ name, state }) => `${name} ${state}`).join();
		const answer = await probeModels(this.#vllm);
		if (answer?.models) {
			const load = (await probeMetrics(this.#vllm))?.metrics;
			// A router would refuse the whole report for one name that is none.
			const named = answer.models.filter(({ id }) => Value.Check(ModelName, id));
			this.#reports = named.map(({ id, parent, maxModelLen = lengthOf(named, parent) }) => ({
				name: id,
				...(parent !== undefined && Value.Check(ModelName, parent) && { parent }),
				state: "ready" as const,
				...(maxModelLen && { max_model_len: maxModelLen }),
				...(load && {
					running: Math.round(load.running),
					waiting: Math.round(load.waiting),
					...(load.kvCache !== undefined && { kv_cache: Math.min(1, load.kvCache) }),
				}),
			}));
		} else {
			const fault = answer ? `answers ${answer.status} to /v1/models` : "does not answer";
			const reason = `vLLM at ${this.#address} ${fault}. What to do: check that it runs, and VLLM_BASE_URL and VLLM_API_KEY`;
			this.#reports = this.#reports.map(({ name, parent }) => {
				return { name, ...(parent !== undefined && { parent }), state: "failed" as const, reason };
			});
		}
		if (this.#reports.map(({ name, state }) => `${name} ${state}`).join() !== before) this.changes.notify();
		if (!this.#isEnded) this.#timer = setTimeout(() => void this.#poll(), POLL_MS);
	}
}

/** The context of an adapter is that of its model. */
function lengthOf(models: readonly ServedModel[], model: string | undefined): number | undefined {
	return models.find(({ id }) => id === model)?.maxModelLen;
}
