/** vLLM's metrics: read for the agent, and shown again beside those of other models. The text is vLLM's own. */
import { describe, expect, test } from "bun:test";
import { parseVllmMetrics, relabel } from "../src/agent/vllm/vllm-metrics.ts";
import { startSim } from "./kit/vllm-sim-process.ts";

const TEXT = `# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 11012.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="chat"} 3.0
vllm:num_requests_running{engine="1",model_name="chat"} 2.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="chat"} 7.0
vllm:num_requests_waiting{engine="1",model_name="chat"} 0.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="chat"} 0.5
vllm:kv_cache_usage_perc{engine="1",model_name="chat"} 0.25
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="chat"} 1.2e+06
# HELP vllm:prefix_cache_hits_total Prefix cache hits, in terms of number of cached tokens.
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="chat"} 9e+05
# HELP vllm:num_preemptions_total Cumulative number of preemption from the engine.
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="chat"} 4.0
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="chat"} 1e+03
vllm:prompt_tokens_total{engine="1",model_name="chat"} 200.0
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="chat"} 300.0
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="chat"} 0.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="chat"} 9.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="chat"} 9.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="chat"} 1.5
`;

test("the load is summed over engines; the cache's use is their mean", () => {
	expect(parseVllmMetrics(TEXT)).toEqual({
		running: 5,
		waiting: 7,
		kvCache: 0.375,
		tokens: 1500,
	});
});

test("what waits and where prompts came from are told apart, as versions from 0.32 on say it", () => {
	const text = `vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="capacity"} 3.0
vllm:num_requests_waiting_by_reason{engine="1",reason="capacity",model_name="a"} 1.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="deferred"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="a",reason="of another day"} 9.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="a",source="local_compute"} 100.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="a",source="local_cache_hit"} 40.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="a",source="external_kv_transfer"} 5.0
vllm:admission_rejections_total{model_name="a",reason="max_num_queued_reqs"} 6.0
vllm:admission_rejections_total{model_name="a",reason="max_num_queued_tokens"} 1.0
vllm:engine_sleep_state{engine="0",model_name="a",sleep_state="awake"} 0.0
vllm:engine_sleep_state{engine="0",model_name="a",sleep_state="weights_offloaded"} 1.0
`;
	const { waitingBy, promptTokensBy, refused, isAsleep } = parseVllmMetrics(text);
	expect(waitingBy).toEqual({ capacity: 4, deferred: 2 });
	expect(promptTokensBy).toEqual({ computed: 100, cached: 40, transferred: 5 });
	expect([refused, isAsleep]).toEqual([7, true]);
	const cached = `${text}vllm:prompt_tokens_cached_total{engine="0",model_name="a"} 45.0\n`;
	expect(parseVllmMetrics(cached).promptTokensBy?.cached).toBe(45);
	expect(parseVllmMetrics(text.replace('"awake"} 0.0', '"awake"} 1.0')).isAsleep).toBe(false);
	// A label that only ends like the one that is meant.
	const odd = 'vllm:engine_sleep_state{not_sleep_state="awake",sleep_state="discard_all"} 1.0';
	expect(parseVllmMetrics(odd).isAsleep).toBe(true);
});

test("an older name of the cache's use is read, and a text without any is no load", () => {
	expect(parseVllmMetrics('vllm:gpu_cache_usage_perc{model_name="a"} 0.75\n').kvCache).toBe(0.75);
	const nothing = { running: 0, waiting: 0, tokens: 0 };
	for (const text of ["", "<html>", "vllm:num_requests_running{} NaN\nvllm:num_requests_running\n"]) {
		expect(parseVllmMetrics(text)).toEqual(nothing);
	}
});

describe("shown again", () => {
	const text = relabel([
		{ text: TEXT, labels: { model: "chat", replica: "0" } },
		{ text: TEXT, labels: { model: 'a "b"\\', replica: "1" } },
	]);
	const lines = text.split("\n");

	test("a name has its type once, and all its samples after it", () => {
		const at = lines.indexOf("# TYPE vllm:num_requests_running gauge");
		expect(lines.slice(at + 1, at + 5)).toEqual([
			'vllm:num_requests_running{model="chat",replica="0",engine="0",model_name="chat"} 3.0',
			'vllm:num_requests_running{model="chat",replica="0",engine="1",model_name="chat"} 2.0',
			'vllm:num_requests_running{model="a \\"b\\"\\\\",replica="1",engine="0",model_name="chat"} 3.0',
			'vllm:num_requests_running{model="a \\"b\\"\\\\",replica="1",engine="1",model_name="chat"} 2.0',
		]);
		const types = lines.filter((line) => line.startsWith("# TYPE "));
		expect(new Set(types).size).toBe(types.length);
	});

	test("a histogram's lines stay together under its name", () => {
		const at = lines.indexOf("# TYPE vllm:time_to_first_token_seconds histogram");
		expect(lines.slice(at + 1, at + 9).every((line) => line.startsWith("vllm:time_to_first_token_seconds_"))).toBe(
			true,
		);
		expect(text.endsWith("1.5\n")).toBe(true);
	});

	test("what the Python process tells of itself is left out", () => {
		expect(text).not.toContain("python_");
	});

	test("nothing is the empty text", () => {
		expect(relabel([])).toBe("");
		expect(relabel([{ text: "# TYPE vllm:x gauge\n", labels: { model: "a" } }])).toBe("");
	});

	test("without labels of its own a sample keeps what it has", () => {
		expect(relabel([{ text: 'vllm:x 1\nvllm:y{a="b",} 2 1700000000\n', labels: {} }])).toBe(
			'vllm:x 1\nvllm:y{a="b"} 2 1700000000\n',
		);
		expect(relabel([{ text: "vllm:x 1\n", labels: { model: "m" } }])).toBe('vllm:x{model="m"} 1\n');
	});
});

test("vLLM's look-alike counts a call as it would", async () => {
	await using sim = await startSim({ args: ["--served-model-name", "chat"] });
	await fetch(`${sim.origin}/v1/completions`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ model: "chat", prompt: "a b c d e f g h ".repeat(20), max_tokens: 2 }),
	}).then((answer) => answer.text());
	const text = await (await fetch(`${sim.origin}/metrics`)).text();
	const metrics = parseVllmMetrics(text);
	expect(metrics).toMatchObject({ running: 0, waiting: 0 });
	expect(metrics.kvCache).toBeGreaterThanOrEqual(0);
	expect(metrics.tokens).toBeGreaterThan(20);
	expect(relabel([{ text, labels: { model: "chat" } }])).toMatch(/^vllm:num_requests_running\{model="chat",/m);
});
