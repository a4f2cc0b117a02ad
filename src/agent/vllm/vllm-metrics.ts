/** vLLM's `/metrics`: read for the agent's own use, and shown again under the agent's. Pure. */

/** A model's load at one moment, over all engines of its vLLM. */
export interface VllmMetrics {
	readonly running: number;
	readonly waiting: number;
	/** 0 … 1, the mean of its engines; absent where vLLM has no such metric. */
	readonly kvCache?: number;
	/** Prompt and output tokens since its start: the number stops where the engine hangs. */
	readonly tokens: number;
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
	for (const line of text.split("\n")) {
		const sample = line.startsWith("vllm:") ? parseSample(line) : undefined;
		const value = Number.parseFloat(sample?.rest ?? "");
		if (sample && Number.isFinite(value)) values.set(sample.name, [...(values.get(sample.name) ?? []), value]);
	}
	const sum = (name: string) => (values.get(name) ?? []).reduce((all, value) => all + value, 0);
	// The second name is that of vLLM before 0.10.
	const cache = values.get("vllm:kv_cache_usage_perc") ?? values.get("vllm:gpu_cache_usage_perc") ?? [];
	return {
		running: sum("vllm:num_requests_running"),
		waiting: sum("vllm:num_requests_waiting"),
		...(cache.length > 0 && { kvCache: cache.reduce((all, value) => all + value, 0) / cache.length }),
		tokens: sum("vllm:prompt_tokens_total") + sum("vllm:generation_tokens_total"),
	};
}

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
