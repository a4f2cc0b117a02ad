/** vLLM's `/metrics`: read for the agent's own use, and shown again under the agent's. Pure. */

/** A model's load at one moment, over all engines of its vLLM. */
export interface VllmMetrics {
	readonly running: number;
	readonly waiting: number;
	/** 0 … 1, the mean of its engines; absent where vLLM has no such metric. */
	readonly kvCache?: number;
	/** Tokens that the KV cache of one engine holds. Absent where vLLM does not say. */
	readonly kvTokens?: number;
	/** Prompt and output tokens since its start: the number stops where the engine hangs. */
	readonly tokens: number;
	/** Why calls wait: for room in a batch or the KV cache, or for something else of their own (a grammar, blocks that are on their way). Absent before 0.32. */
	readonly waitingBy?: { readonly capacity: number; readonly deferred: number };
	/** Prompt tokens since its start, by where their KV blocks came from. Absent before 0.32. */
	readonly promptTokensBy?: { readonly computed: number; readonly cached: number; readonly transferred: number };
	/** Calls that it refused since its start because it had too many (503). Absent where it has no such limit. */
	readonly refused?: number;
	/** Whether its engines sleep; absent where vLLM does not say. */
	readonly isAsleep?: boolean;
}

interface Sample {
	readonly name: string;
	/** Between the braces; empty where there are none. */
	readonly labels: string;
	/** The value, and a timestamp where there is one. */
	readonly rest: string;
}

const SAMPLE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (.+)$/;
/** What histograms, summaries and counters append to the name that `# TYPE` gives. */
const SUFFIX = /_(?:bucket|count|sum|created|total)$/;

/** Sums the engines of one vLLM. Names that a version does not know count as 0. */
export function parseVllmMetrics(text: string): VllmMetrics {
	const values = new Map<string, number[]>();
	const add = (name: string, value: number) => void values.set(name, [...(values.get(name) ?? []), value]);
	let kvTokens: number | undefined;
	for (const line of text.split("\n")) {
		const sample = line.startsWith("vllm:") ? parseSample(line) : undefined;
		const value = Number.parseFloat(sample?.rest ?? "");
		if (!sample || !Number.isFinite(value)) continue;
		add(sample.name, value);
		const label = KIND_LABELS[sample.name];
		if (sample.name === CACHE_CONFIG) kvTokens ??= kvTokensOf(sample.labels);
		if (label) add(`${sample.name} ${new RegExp(`(?:^|,)${label}="([^"]*)"`).exec(sample.labels)?.[1]}`, value);
	}
	const sum = (name: string) => (values.get(name) ?? []).reduce((all, value) => all + value, 0);
	const has = (name: string) => values.has(name);
	// The second name is that of vLLM before 0.10.
	const cache = values.get("vllm:kv_cache_usage_perc") ?? values.get("vllm:gpu_cache_usage_perc") ?? [];
	return {
		running: sum("vllm:num_requests_running"),
		waiting: sum("vllm:num_requests_waiting"),
		...(cache.length > 0 && { kvCache: cache.reduce((all, value) => all + value, 0) / cache.length }),
		...(kvTokens !== undefined && { kvTokens }),
		tokens: sum("vllm:prompt_tokens_total") + sum("vllm:generation_tokens_total"),
		...(has(WAITING_BY) && {
			waitingBy: { capacity: sum(`${WAITING_BY} capacity`), deferred: sum(`${WAITING_BY} deferred`) },
		}),
		...(has(PROMPT_BY) && {
			promptTokensBy: {
				computed: sum(`${PROMPT_BY} local_compute`),
				cached: has(CACHED) ? sum(CACHED) : sum(`${PROMPT_BY} local_cache_hit`),
				transferred: sum(`${PROMPT_BY} external_kv_transfer`),
			},
		}),
		...(has(REFUSED) && { refused: sum(REFUSED) }),
		// Of several engines all sleep or none.
		...(has(SLEEP_STATE) && { isAsleep: sum(`${SLEEP_STATE} awake`) === 0 }),
	};
}

/** `num_gpu_blocks` is of one engine, also where several share the model out. */
function kvTokensOf(labels: string): number | undefined {
	const of = (label: string) => Number(new RegExp(`(?:^|,)${label}="(\\d+)"`).exec(labels)?.[1]);
	const tokens = of("num_gpu_blocks") * of("block_size");
	return tokens > 0 ? tokens : undefined;
}

const CACHE_CONFIG = "vllm:cache_config_info";
const WAITING_BY = "vllm:num_requests_waiting_by_reason";
const PROMPT_BY = "vllm:prompt_tokens_by_source_total";
const CACHED = "vllm:prompt_tokens_cached_total";
const REFUSED = "vllm:admission_rejections_total";
const SLEEP_STATE = "vllm:engine_sleep_state";
/** Of metrics that are told apart by a label: which one. */
const KIND_LABELS: Readonly<Record<string, string>> = {
	[WAITING_BY]: "reason",
	[PROMPT_BY]: "source",
	[SLEEP_STATE]: "sleep_state",
};

/**
 * The `vllm:` metrics of several models as one text: each name's `# HELP` and `# TYPE` once, all its samples after them
 * (Prometheus refuses it otherwise), each sample with the source's labels before its own. Metrics of the Python process
 * are left out. Empty for no samples, else with a line end.
 */
export function relabel(
	sources: readonly { readonly text: string; readonly labels: Readonly<Record<string, string>> }[],
): string {
	const families = new Map<string, { help?: string; type?: string; samples: string[] }>();
	const familyOf = (name: string) => {
		const found = families.get(name) ?? { samples: [] };
		families.set(name, found);
		return found;
	};
	for (const { text, labels } of sources) {
		const own = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
		// Names of `# TYPE`, so that `x_count` finds its `x`, while a gauge named `x_total` stays what it is.
		const typed = new Set<string>();
		for (const line of text.split("\n")) {
			const [, kind, name] = /^# (HELP|TYPE) (vllm:\S+)/.exec(line) ?? [];
			if (name) {
				if (kind === "TYPE") typed.add(name);
				const family = familyOf(name);
				if (kind === "HELP") family.help ??= line;
				else family.type ??= line;
				continue;
			}
			const sample = line.startsWith("vllm:") ? parseSample(line) : undefined;
			if (!sample) continue;
			const base = sample.name.replace(SUFFIX, "");
			const all = [...own, ...(sample.labels ? [sample.labels] : [])].join(",");
			familyOf(typed.has(base) && !typed.has(sample.name) ? base : sample.name).samples.push(
				`${sample.name}${all && `{${all}}`} ${sample.rest}`,
			);
		}
	}
	const blocks = [...families.values()].filter(({ samples }) => samples.length > 0);
	return blocks
		.map(({ help, type, samples }) => `${[help, type, ...samples].filter((line) => line !== undefined).join("\n")}\n`)
		.join("");
}

function parseSample(line: string): Sample | undefined {
	const [, name, labels = "", rest] = SAMPLE.exec(line.trimEnd()) ?? [];
	return name && rest ? { name, labels: labels.replace(/,$/, ""), rest } : undefined;
}

function escaped(value: string): string {
	return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}
