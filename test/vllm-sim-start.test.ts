/** The look-alike of vLLM takes vLLM's arguments and starts, or fails, in its words. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Json } from "./kit/exchange.ts";
import { FAILURES } from "./kit/vllm-sim/switches.ts";
import { ends } from "./kit/vllm-sim-client.ts";
import { startSim } from "./kit/vllm-sim-process.ts";

// Each starts a process or three, which is nothing on an idle machine.
setDefaultTimeout(60_000);

describe("the command line", () => {
	test.each([
		[
			"an unknown option",
			["--tensor-paralel-size", "2"],
			2,
			"vllm: error: unrecognized arguments: --tensor-paralel-size",
		],
		["`serve` twice", ["serve", "x"], 2, "vllm: error: unrecognized arguments: serve"],
		[
			"a number that is none",
			["--max-num-seqs", "many"],
			2,
			"vllm serve: error: argument --max-num-seqs: invalid int value: 'many'",
		],
		["an option without its value", ["--tool-call-parser"], 2, "argument --tool-call-parser: expected one argument"],
		["JSON that is none", ["--hf-overrides", "{"], 2, "argument --hf-overrides: Value { cannot be converted"],
		[
			"more context than the model has",
			["--max-model-len", "1M"],
			1,
			"User-specified max_model_len (1048576) is greater than the derived max_model_len",
		],
		[
			"a parser that isn't there",
			["--enable-auto-tool-choice", "--tool-call-parser", "qwen"],
			1,
			"invalid tool call parser: qwen",
		],
		[
			"tools without a parser",
			["--enable-auto-tool-choice"],
			1,
			"--enable-auto-tool-choice requires --tool-call-parser",
		],
		[
			"a cache for less than one request",
			["--kv-cache-memory-bytes", "10M"],
			1,
			"KV cache is needed, which is larger than the available KV cache memory",
		],
	] as [string, string[], number, string][])("%s ends it as in vLLM", async (_, args, code, words) => {
		const ended = await ends({ args });
		expect(ended.output).toContain(words);
		expect(ended.code).toBe(code);
	});

	test("takes what the agent gives, in every way it may be written", async () => {
		await using sim = await startSim({
			args: [
				...["-tp", "2", "--gpu_memory_utilization=0.5", "--max-model-len", "16k", "--dtype", "auto"],
				...[
					"--reasoning-parser",
					"qwen3",
					"--trust-remote-code",
					"--no-enable-prefix-caching",
					"-O3",
					"--swap-space",
					"4",
				],
				...["--enable-sleep-mode", "--cpu-offload-gb", "0", "--shutdown-timeout", "30", "--quantization", "fp8"],
				...["--limit-mm-per-prompt.image", "2", "--hf-overrides", '{"a":1}', "--served-model-name", "a", "b"],
			],
		});
		const { data } = (await (await fetch(`${sim.origin}/v1/models`)).json()) as { data: Json[] };
		expect(data.map(({ id, max_model_len }) => [id, max_model_len])).toEqual([
			["a", 16_000],
			["b", 16_000],
		]);
	});

	test("takes no switch of ours that isn't one", async () => {
		expect(await ends({ env: { SIM_FIAL: "gated" } })).toMatchObject({
			code: 70,
			output: "no such switch: SIM_FIAL\n",
		});
	});
});

describe("a start", () => {
	test("says how far it is, in vLLM's order", async () => {
		await using sim = await startSim({ env: { SIM_SHARDS: "2" } });
		const marks = [
			"vLLM API server version",
			"Starting to load model Qwen/Qwen3-0.6B",
			"torch.compile takes",
			"GPU KV cache size: 163,840 tokens",
			"Graph capturing finished in",
			"init engine (profile, create kv cache, warmup model) took",
			"Starting vLLM API server 0 on http://127.0.0.1:",
		];
		const places = marks.map((mark) => sim.output().indexOf(mark));
		expect(places).toEqual(places.toSorted((a, b) => a - b));
		expect(places[0]).toBeGreaterThan(-1);
		// These come on standard error.
		for (const percent of ["  0% Completed | 0/2", " 50% Completed | 1/2", "100% Completed | 2/2"]) {
			expect(sim.output()).toContain(`Loading safetensors checkpoint shards: ${percent}`);
		}
		expect(sim.output()).toContain("INFO:     Application startup complete.");
	});

	/** What a person has to find in the log: the table of log lines in the agent's design. */
	const LINES: Record<(typeof FAILURES)[number], string> = {
		"gpu-memory-taken": "GiB) on startup is less than desired GPU memory utilization (0.9,",
		"kv-cache-too-small": "the estimated maximum model length is",
		"no-cache-memory": "No available memory for the cache blocks",
		"cuda-oom": "CUDA out of memory",
		unsupported: "are not supported for now",
		"not-inspected": "failed to be inspected",
		"no-device": "Failed to infer device type",
		gated: "gated repo",
		unauthorized: "401 Client Error",
		"unknown-model": "is not a valid model identifier",
		"port-taken": "[Errno 98]",
		traceback: "CUDA error: an illegal instruction was encountered",
	};
	test.each([...FAILURES])("fails as told: %s", async (failure) => {
		const { code, output } = await ends({ env: { SIM_FAIL: failure } });
		expect(code).toBe(1);
		expect(output).toContain(LINES[failure]);
		const inEngine = ["gpu-memory-taken", "kv-cache-too-small", "no-cache-memory", "cuda-oom", "traceback"];
		expect(output.includes("Engine core initialization failed. See root cause above")).toBe(inEngine.includes(failure));
		expect(output).not.toContain("Application startup complete.");
	});

	test("fails where memory doesn't do, and tells the length that would", async () => {
		const { output } = await ends({ model: "Qwen/Qwen3-8B", env: { SIM_GPU_GIB: "24" } });
		const length = /estimated maximum model length is (\d+)/.exec(output)?.[1];
		expect(Number(length)).toBeGreaterThan(10_000);
		await using sim = await startSim({
			model: "Qwen/Qwen3-8B",
			env: { SIM_GPU_GIB: "24" },
			args: ["--max-model-len", length!],
		});
		expect(await sim.metric("vllm:num_requests_running")).toBe(0);
		expect((await ends({ model: "Qwen/Qwen3-32B", env: { SIM_GPU_GIB: "24" } })).output).toContain(
			"No available memory for the cache blocks",
		);
	});

	test("fails at a port that is taken", async () => {
		await using sim = await startSim();
		const port = Number(new URL(sim.origin).port);
		expect((await ends({ port })).output).toContain(`[Errno 98] error while attempting to bind on address`);
	});

	test("fails only so often, where it is told", async () => {
		const SIM_STATE_DIR = mkdtempSync(join(tmpdir(), "router-test-"));
		try {
			const env = { SIM_STATE_DIR, SIM_FAIL: "cuda-oom", SIM_FAIL_TIMES: "2" };
			expect((await ends({ env })).code).toBe(1);
			expect((await ends({ env })).code).toBe(1);
			await using sim = await startSim({ env });
			expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
		} finally {
			rmSync(SIM_STATE_DIR, { recursive: true, force: true });
		}
	});

	test("stops on its way where it is told, and answers nobody", async () => {
		await using sim = await startSim({ env: { SIM_STALL: "graphs" }, ready: false });
		for (let look = 0; look < 4000 && !sim.output().includes("Maximum concurrency"); look++) await Bun.sleep(10);
		expect(sim.output()).toContain("GPU KV cache size");
		expect(sim.output()).not.toContain("Capturing CUDA graphs");
		expect(await sim.kill("SIGTERM")).toBe(0);
	});

	test("needs a GPU in the container only", async () => {
		expect((await ends({ env: { SIM_DEVICE: "cuda" } })).output).toContain("Failed to infer device type");
		await using sim = await startSim({ env: { SIM_DEVICE: "cuda", NVIDIA_VISIBLE_DEVICES: "0" } });
		expect((await fetch(`${sim.origin}/health`)).status).toBe(200);
	});
});
