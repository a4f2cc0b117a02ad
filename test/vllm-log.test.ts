/** vLLM's log → what a person is told. Lines as versions 0.8 to 0.30 print them, and every failure of the look-alike. */
import { describe, expect, test } from "bun:test";
import { diagnose, plainLine, progressOf } from "../src/agent/vllm/vllm-log.ts";
import { FAILURES } from "./kit/vllm-sim/switches.ts";
import { startSim } from "./kit/vllm-sim-process.ts";

const POINTER =
	"(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}";
/** As an engine fails: with a traceback, and at the end the server's error, which only points at it. */
const engineLog = (error: string) => [
	"(EngineCore_DP0 pid=253) INFO 09-18 21:36:10 [gpu_model_runner.py:3120] Model loading took 18.21 GiB memory and 190.2 seconds",
	"(EngineCore_DP0 pid=253) ERROR 09-18 21:38:02 [core.py:1374] EngineCore failed to start.",
	'(EngineCore_DP0 pid=253) ERROR 09-18 21:38:02 [core.py:1374]   File "/usr/local/lib/python3.12/dist-packages/vllm/v1/core/kv_cache_utils.py", line 859, in check',
	"(EngineCore_DP0 pid=253) ERROR 09-18 21:38:02 [core.py:1374]     raise ValueError(",
	`(EngineCore_DP0 pid=253) ERROR 09-18 21:38:02 [core.py:1374] ${error}`,
	"(EngineCore_DP0 pid=253) Traceback (most recent call last):",
	POINTER,
];

const ROWS: [what: string, error: string, reason: RegExp, fix: RegExp][] = [
	[
		"a context that does not fit, with the length that does",
		"ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is needed, which is larger than the available KV cache memory (2.62 GiB). Based on the available memory, the estimated maximum model length is 21440. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
		/131072 tokens needs 16\.0 GiB of KV cache, and 2\.6 GiB are left/,
		/^args: \["--max-model-len", "21440"\]/,
	],
	[
		"the same of a version that estimates nothing",
		"ValueError: To serve at least one request with the models's max seq len (32768), (2.00 GB KV cache is needed, which is larger than the available KV cache memory (0.78 GB). Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
		/32768 tokens needs 2\.0 GiB/,
		// 32768 × 0.78 / 2, down to whole blocks of 16.
		/^args: \["--max-model-len", "12768"\]/,
	],
	[
		"the same in older words",
		"ValueError: The model's max seq len (262144) is larger than the maximum number of tokens that can be stored in KV cache (47328). Try increasing `gpu_memory_utilization`",
		/262144 tokens does not fit: the KV cache holds 47328/,
		/^args: \["--max-model-len", "47328"\]/,
	],
	[
		"memory that others hold",
		"ValueError: Free memory on device cuda:0 (12.18/23.56 GiB) on startup is less than desired GPU memory utilization (0.92, 21.67 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
		/may take 21\.7 GiB of the GPU \(0\.92\), but 12\.2 GiB of 23\.56 are free: other processes hold 11\.4 GiB/,
		/nvidia-smi.*gpu_memory: 12\.1GiB/,
	],
	[
		"no room for the cache",
		"ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
		/weights fill/,
		/--max-model-len.*gpu_memory.*gpus/,
	],
	[
		"memory that ran out",
		"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total capacity of 23.64 GiB of which 561.94 MiB is free. Including non-PyTorch memory, this process has 23.0 GiB memory in use.",
		/ran out when 1\.16 GiB more were asked for \(561\.94 MiB of 23\.64 GiB were free\)/,
		/--max-model-len/,
	],
	[
		"the same in fewer words",
		"RuntimeError: CUDA error: CUDA out of memory",
		/^the GPU's memory ran out$/,
		/--max-model-len/,
	],
	[
		"an architecture that is too new",
		"  Value error, Model architectures ['Qwen4ForCausalLM'] are not supported for now. Supported architectures: dict_keys(['LlamaForCausalLM'])",
		/\(Qwen4ForCausalLM\)/,
		/newer image/,
	],
	[
		"one that could not be looked into",
		"  Value error, Model architectures ['Qwen4ForCausalLM'] failed to be inspected. Please check the logs for more details.",
		/\(Qwen4ForCausalLM\)/,
		/newer image/,
	],
	[
		"one that Transformers does not know",
		"  Value error, The checkpoint you are trying to load has model type `qwen4` but Transformers does not recognize this architecture.",
		/\(qwen4\)/,
		/newer image/,
	],
	[
		"no device",
		"RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging",
		/sees no GPU/,
		/nvidia-ctk runtime configure/,
	],
	[
		"a driver that is too old",
		"RuntimeError: The NVIDIA driver on your system is too old (found version 12040).",
		/older than the image's CUDA/,
		/cu129/,
	],
	[
		"a GPU that is too old",
		"ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute capability 7.5.",
		/too old/,
		/^args: \["--dtype", "half"\]$/,
	],
	[
		"a name that is none",
		"OSError: Qwen/Qwen3-8BB is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
		/knows no Qwen\/Qwen3-8BB/,
		/spelling/,
	],
	[
		"a length that is too long",
		"  Value error, User-specified max_model_len (262144) is greater than the derived max_model_len (max_position_embeddings=131072 or model_max_length=None in model's config.json).",
		/asks for 262144 tokens, and the model itself takes 131072/,
		/^args: \["--max-model-len", "131072"\]$/,
	],
	[
		"a port that is taken",
		"OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
		/port is taken/,
		/next one/,
	],
	[
		"a port that Docker has given away",
		"docker: Error response from daemon: Bind for 127.0.0.1:20001 failed: port is already allocated.",
		/port is taken/,
		/next one/,
	],
	[
		"code of the model's own",
		"ValueError: The repository moonshotai/X contains custom code which must be executed to correctly load the model. Please pass the argument `trust_remote_code=True` to allow custom code to be run.",
		/Python code of its own/,
		/read that code; if you trust it: args: \["--trust-remote-code"\]/,
	],
	[
		"an argument that is none",
		"vllm: error: unrecognized arguments: --no-such-flag",
		/does not know --no-such-flag/,
		/`args`/,
	],
	[
		"an argument's value that is none",
		"vllm serve: error: argument --max-model-len: invalid human_readable_int value: 'many'",
		/does not take --max-model-len: invalid/,
		/`args`/,
	],
	[
		"heads that can't be shared",
		"  Value error, Total number of attention heads (25) must be divisible by tensor parallel size (2).",
		/25 attention heads can't be shared evenly by 2 GPUs/,
		/`gpus`/,
	],
	[
		"a full disk",
		"OSError: [Errno 28] No space left on device: '/root/.cache/huggingface/hub/models--x/blobs/y'",
		/disk with the model cache is full/,
		/cache_dir/,
	],
	[
		"no way to the Hub",
		"OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.",
		/https:\/\/huggingface\.co is out of reach/,
		/HF_ENDPOINT/,
	],
	[
		"GPUs that can't talk",
		"torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3353, unhandled system error",
		/can't talk to each other/,
		/NCCL_DEBUG/,
	],
];

describe("a failed start names", () => {
	test.each(ROWS)("%s", (_, error, reason, fix) => {
		const found = diagnose(engineLog(error));
		expect(found?.reason).toMatch(reason);
		expect(found?.fix).toMatch(fix);
		expect(`${found?.reason}${found?.fix}`).not.toMatch(/undefined|NaN/);
	});

	test("a gated model, as it stands in the lines around it", () => {
		const found = diagnose([
			"(APIServer pid=1) huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-68f0)",
			"(APIServer pid=1) ",
			"(APIServer pid=1) Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/resolve/main/config.json.",
			"(APIServer pid=1) Access to model meta-llama/Llama-3.1-8B-Instruct is restricted. You must have access to it and be authenticated to access it. Please log in.",
		]);
		expect(found?.reason).toStartWith("meta-llama/Llama-3.1-8B-Instruct is gated");
		expect(found?.fix).toStartWith(
			"accept it at https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct, then set HF_TOKEN",
		);
	});

	test("whose process holds the memory, where that is known", () => {
		const [, error] = ROWS[3]!;
		const holders = [{ pid: 4711, name: "/usr/bin/python3", memory: 11 * 1024 ** 3, uuid: "GPU-a" }];
		expect(diagnose(engineLog(error), { holders })?.reason).toContain("/usr/bin/python3 (pid 4711) holds 11.0 GiB");
	});

	test("the error above, where vLLM only points at it", () => {
		const found = diagnose(engineLog("RuntimeError: CUDA error: an illegal instruction was encountered"));
		expect(found?.reason).toBe("RuntimeError: CUDA error: an illegal instruction was encountered");
	});

	test("the newest cause of a log that knows two", () => {
		const [, error] = ROWS[0]!;
		const older = error.replace("21440", "16000");
		expect(diagnose([...engineLog(older), ...engineLog(error)])?.fix).toContain("21440");
	});

	test("the kernel, where the log says nothing", () => {
		const log = ["(APIServer pid=1) INFO 09-18 21:36:10 [api_server.py:1772] vLLM API server version 0.30.0"];
		expect(diagnose(log, { exitCode: 137, oomKilled: true })?.reason).toContain("the host's memory");
		expect(diagnose(log, { exitCode: 137 })?.reason).toContain("SIGKILL");
	});
});

test("a log that names no error is none: a stopped container, warnings in passing, nothing at all", () => {
	const healthy = [
		"(APIServer pid=1) INFO 09-18 21:36:10 [api_server.py:1772] vLLM API server version 0.30.0",
		"(EngineCore_DP0 pid=97) WARNING 09-18 21:36:12 [cuda.py:99] NCCL error: retrying; no kernel image is available for execution on the device",
		"(APIServer pid=1) INFO:     Application startup complete.",
		"(APIServer pid=1) INFO 09-18 21:40:10 [launcher.py:110] Shutting down FastAPI HTTP server.",
	];
	expect(diagnose(healthy, { exitCode: 0 })).toBeUndefined();
	expect(diagnose([])).toBeUndefined();
});

describe("every failure of the look-alike is explained:", () => {
	test.each(FAILURES.map((failure) => [failure]))("%s", async (failure) => {
		const sim = await startSim({ ready: false, env: { SIM_FAIL: failure } });
		const exitCode = await sim.exited;
		await using _ = sim;
		const lines = sim.output().split("\n");
		expect(exitCode).toBe(1);
		const found = diagnose(lines, { exitCode });
		expect(found).toBeDefined();
		expect(found!.reason).not.toMatch(/Engine core initialization failed|undefined|NaN/);
		expect(found!.fix).not.toMatch(/undefined|NaN/);
	});
});

describe("progress", () => {
	test.each([
		[
			"Loading safetensors checkpoint shards:  25% Completed | 1/4 [00:01<00:03,  1.04s/it]",
			{ phase: "loading", percent: 25 },
		],
		[
			"\u001b[32mLoading safetensors checkpoint shards:  22% Completed | 11/49 [04:29<18:47, 29.67s/it]\u001b[0m",
			{ phase: "loading", percent: 22 },
		],
		[
			"(EngineCore_DP0 pid=97) INFO 11-24 05:42:01 [gpu_model_runner.py:3562] Starting to load model Qwen/Qwen3-8B...",
			{ phase: "loading" },
		],
		[
			"(EngineCore_DP0 pid=97) INFO 11-24 05:42:01 [weight_utils.py:441] Time spent downloading weights for Qwen/Qwen3-8B: 312.4 seconds",
			{ phase: "downloading" },
		],
		[
			"(Worker_TP0 pid=103) INFO 12-11 00:06:52 [monitor.py:34] torch.compile takes 25.11 s in total",
			{ phase: "compiling" },
		],
		[
			"(Worker_TP0 pid=576689) INFO 06-21 00:07:36 [monitor.py:53] torch.compile took 25.99 s in total",
			{ phase: "compiling" },
		],
		[
			"(EngineCore_DP0 pid=97) INFO 12-11 00:06:53 [kv_cache_utils.py:1286] GPU KV cache size: 686,320 tokens",
			{ phase: "profiling" },
		],
		[
			"Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  51%|█████     | 34/67 [00:02<00:00, 26.13it/s]",
			{ phase: "capturing", percent: 51 },
		],
		[
			"(EngineCore_DP0 pid=97) INFO 12-11 00:07:00 [gpu_model_runner.py:4587] Graph capturing finished in 3 secs, took 0.61 GiB",
			{ phase: "capturing" },
		],
		[
			"(EngineCore_DP0 pid=97) INFO 12-11 00:07:00 [core.py:259] init engine (profile, create kv cache, warmup model) took 12.4 seconds",
			{ phase: "capturing" },
		],
		["(APIServer pid=1) INFO:     Application startup complete.", { phase: "ready" }],
	] as const)("%s", (line, progress) => {
		expect(progressOf(line)).toEqual(progress);
	});

	test("other lines are none", () => {
		expect(
			progressOf("(APIServer pid=1) INFO 11-24 05:42:01 [api_server.py:1772] vLLM API server version 0.30.0"),
		).toBeUndefined();
		expect(progressOf('(APIServer pid=1) INFO:     127.0.0.1:4711 - "GET /health HTTP/1.1" 200 OK')).toBeUndefined();
		expect(progressOf("")).toBeUndefined();
	});

	test("of a whole start comes in order, from loading to ready", async () => {
		await using sim = await startSim();
		const phases = sim
			.output()
			.split(/[\r\n]+/)
			.flatMap((line) => progressOf(line)?.phase ?? []);
		const steps = ["loading", "compiling", "profiling", "capturing", "ready"];
		expect(steps.filter((step) => !phases.includes(step as never))).toEqual([]);
		expect(phases.at(-1)).toBe("ready");
		// Both of the sim's streams are in its output, each in its own order.
		expect(phases.indexOf("profiling")).toBeLessThan(phases.indexOf("ready"));
	});
});

test("vLLM's prefixes are taken off, and nothing else", () => {
	expect(
		plainLine(
			"(EngineCore pid=311) (RayWorkerWrapper pid=144, ip=172.18.0.2) ERROR 03-19 19:10:25 [ray_utils.py:74] ValueError: x",
		),
	).toBe("ValueError: x");
	expect(plainLine("\u001b[1;36m(APIServer pid=1)\u001b[0;0m INFO 03-19 19:10:25 [a.py:1] x (y) [z]")).toBe(
		"x (y) [z]",
	);
	expect(plainLine("ValueError: (a pid) [b]")).toBe("ValueError: (a pid) [b]");
});
