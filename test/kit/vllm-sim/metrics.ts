/** `/metrics`, in the text format of Python's Prometheus client. */
import type { Engine } from "./engine.ts";
import { BUCKETS, type Histogram } from "./histogram.ts";
import type { Model } from "./model.ts";

/** Calls that the API server refused, by which limit. */
export interface Rejections {
	max_num_queued_reqs: number;
	max_num_queued_tokens: number;
}

type Sample = readonly [suffix: string, labels: Record<string, string>, value: number];

/** The text. `since`: when the server started, in seconds. */
export function metricsText(
	engines: readonly Engine[],
	model: Model,
	since: number,
	sleeping: boolean,
	rejected: Rejections,
): string {
	const model_name = model.names[0]!;
	const each = (value: (engine: Engine) => number): Sample[] =>
		engines.map((engine, at) => ["", { engine: String(at), model_name }, value(engine)]);
	const total = (value: (engine: Engine) => number): Sample[] => [
		...each(value).map(([, labels, sum]): Sample => ["_total", labels, sum]),
		...each(() => since).map(([, labels, sum]): Sample => ["_created", labels, sum]),
	];
	const reasons = ["stop", "length", "abort", "error"] as const;
	return [
		...gauge(
			"vllm:num_requests_running",
			"Number of requests in model execution batches.",
			each((one) => one.running.length),
		),
		...gauge(
			"vllm:num_requests_waiting",
			"Number of requests waiting to be processed.",
			each((one) => one.waiting.length),
		),
		...gauge(
			"vllm:num_requests_waiting_by_reason",
			"Number of waiting requests by reason. Reason 'capacity' = waiting for scheduling capacity; 'deferred' = waiting on transient constraints.",
			engines.flatMap((one, at): Sample[] => [
				["", { engine: String(at), model_name, reason: "capacity" }, one.waiting.length],
				["", { engine: String(at), model_name, reason: "deferred" }, 0],
			]),
		),
		...gauge(
			"vllm:engine_sleep_state",
			"Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
			engines.flatMap((_, at): Sample[] => [
				["", { engine: String(at), model_name, sleep_state: "awake" }, sleeping ? 0 : 1],
				["", { engine: String(at), model_name, sleep_state: "weights_offloaded" }, sleeping ? 1 : 0],
				["", { engine: String(at), model_name, sleep_state: "discard_all" }, 0],
			]),
		),
		...gauge(
			"vllm:kv_cache_usage_perc",
			"KV-cache usage. 1 means 100 percent usage.",
			each((one) => one.cache.usage),
		),
		...counter(
			"vllm:prefix_cache_queries",
			"Prefix cache queries, in terms of number of queried tokens.",
			total((one) => one.counters.queries),
		),
		...counter(
			"vllm:prefix_cache_hits",
			"Prefix cache hits, in terms of number of cached tokens.",
			total((one) => one.counters.hits),
		),
		...counter(
			"vllm:num_preemptions",
			"Cumulative number of preemption from the engine.",
			total((one) => one.counters.preemptions),
		),
		...counter(
			"vllm:prompt_tokens",
			"Number of prefill tokens processed.",
			total((one) => one.counters.promptTokens),
		),
		...counter(
			"vllm:prompt_tokens_by_source",
			"Number of prompt tokens by source.",
			engines.flatMap((one, at): Sample[] => {
				const { promptTokens, cachedTokens } = one.counters;
				const of = (source: string, tokens: number): Sample => [
					"_total",
					{ engine: String(at), model_name, source },
					tokens,
				];
				return [
					of("local_compute", promptTokens - cachedTokens),
					of("local_cache_hit", cachedTokens),
					of("external_kv_transfer", 0),
				];
			}),
		),
		...counter(
			"vllm:prompt_tokens_cached",
			"Number of cached prompt tokens (local + external).",
			total((one) => one.counters.cachedTokens),
		),
		...counter(
			"vllm:admission_rejections",
			"Number of requests rejected by admission control.",
			["max_num_queued_reqs", "max_num_queued_tokens"].map(
				(reason): Sample => ["_total", { model_name, reason }, rejected[reason as keyof Rejections]],
			),
		),
		...counter(
			"vllm:generation_tokens",
			"Number of generation tokens processed.",
			total((one) => one.counters.generated),
		),
		...counter(
			"vllm:request_success",
			"Count of successfully processed requests.",
			engines.flatMap((engine, at) =>
				reasons.map((reason): Sample => {
					const labels = { engine: String(at), finished_reason: reason, model_name };
					return ["_total", labels, reason === "error" ? 0 : engine.counters.finished[reason]];
				}),
			),
		),
		...histogram(
			"vllm:time_to_first_token_seconds",
			"Histogram of time to first token in seconds.",
			engines,
			model_name,
			(one) => one.counters.firstToken,
		),
		...histogram(
			"vllm:inter_token_latency_seconds",
			"Histogram of inter-token latency in seconds.",
			engines,
			model_name,
			(one) => one.counters.perToken,
		),
		...histogram(
			"vllm:e2e_request_latency_seconds",
			"Histogram of e2e request latency in seconds.",
			engines,
			model_name,
			(one) => one.counters.whole,
		),
		...gauge(
			"vllm:cache_config_info",
			"Information of the LLMEngine CacheConfig",
			engines.map(
				(engine, at): Sample => [
					"",
					{
						block_size: String(model.blockSize),
						cache_dtype: "auto",
						enable_prefix_caching: engine.cache.caching ? "True" : "False",
						engine: String(at),
						gpu_memory_utilization: String(model.utilization),
						num_gpu_blocks: String(engine.cache.total),
					},
					1,
				],
			),
		),
		"",
	].join("\n");
}

const gauge = (name: string, help: string, samples: readonly Sample[]) => family(name, help, "gauge", samples);
const counter = (name: string, help: string, samples: readonly Sample[]) => {
	const created = samples.filter(([suffix]) => suffix === "_created");
	return [
		...family(
			name,
			help,
			"counter",
			samples.filter(([suffix]) => suffix === "_total"),
			"_total",
		),
		...(created.length > 0 ? family(name, help, "gauge", created, "_created") : []),
	];
};

function histogram(
	name: string,
	help: string,
	engines: readonly Engine[],
	model_name: string,
	of: (engine: Engine) => Histogram,
): string[] {
	const samples = engines.flatMap((engine, at): Sample[] => {
		const { count, sum, below } = of(engine);
		const labels = { engine: String(at), model_name };
		return [
			...BUCKETS.map(
				(le, bucket): Sample => ["_bucket", { engine: String(at), le: python(le), model_name }, below[bucket]!],
			),
			["_bucket", { engine: String(at), le: "+Inf", model_name }, count],
			["_count", labels, count],
			["_sum", labels, sum],
		];
	});
	return family(name, help, "histogram", samples);
}

/** Python writes whole numbers as 2.0. */
const python = (n: number) => (Number.isInteger(n) ? `${n}.0` : String(n));

/** A counter's suffix stands in its HELP and TYPE lines, too. */
function family(name: string, help: string, type: string, samples: readonly Sample[], suffix = ""): string[] {
	const text = (labels: Record<string, string>) =>
		Object.entries(labels)
			.map(([label, content]) => `${label}="${content.replace(/[\\"]/g, "\\$&")}"`)
			.join(",");
	return [
		`# HELP ${name}${suffix} ${help}`,
		`# TYPE ${name}${suffix} ${type}`,
		...samples.map(([ending, labels, n]) => `${name}${ending}{${text(labels)}} ${python(n)}`),
	];
}
