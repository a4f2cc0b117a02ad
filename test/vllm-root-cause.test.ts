/** vLLM's logs → the root cause, never the line that points at it: GPUs, ends of processes, and how a log is read. */
import { describe, expect, test } from "bun:test";
import { diagnose } from "../src/agent/vllm/vllm-log.ts";
import {
	banner,
	CHAINED,
	engineDeath,
	engineStart,
	expectCause,
	type FailedStart,
	HANDLED,
	INIT_POINTER,
	pydantic,
	record,
	serverEnd,
	serverStart,
	traceback,
	workerStart,
} from "./kit/vllm-failures.ts";

const GPU: FailedStart[] = [
	[
		"a context too long for the KV cache",
		engineStart(
			"ValueError: To serve at least one request with the models's max seq len (65536), (9.0 GiB KV cache is needed, which is larger than the available KV cache memory (4.1 GiB). Based on the available memory, the estimated maximum model length is 29856. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine. See https://docs.vllm.ai/en/latest/configuration/conserving_memory/ for more details.",
		),
		/65536 tokens needs 9\.0 GiB of KV cache, and 4\.1 GiB/,
		/^args: \["--max-model-len", "29856"\]/,
	],
	[
		"no memory for any block",
		engineStart(
			"ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine (this flag also controls CPU memory reservation on the CPU backend, despite its name).",
		),
		/weights fill/,
		/quantised/,
	],
	[
		"a worker without memory",
		workerStart(
			"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 448.00 MiB. GPU 1 has a total capacity of 23.53 GiB of which 110.25 MiB is free.",
			"torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3700, remote process exited or there was a network error",
		),
		/GPU's memory ran out when 448\.00 MiB more were asked for \(110\.25 MiB of 23\.53 GiB/,
		/gpu_memory/,
	],
	[
		"a worker whose neighbour spoke first",
		workerStart(
			"RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711",
			"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
		),
		/GPU's memory ran out when 20\.00 MiB/,
		/gpu_memory/,
	],
	[
		"memory that another process holds",
		workerStart(
			"ValueError: Free memory on device cuda:1 (3.2/23.53 GiB) on startup is less than desired GPU memory utilization (0.9, 21.18 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
		),
		/may take 21\.2 GiB of the GPU \(0\.9\), but 3\.2 GiB of 23\.53 are free/,
		/gpu_memory: 3\.2GiB/,
	],
	[
		"more GPUs than there are",
		serverStart(
			pydantic(
				"ParallelConfig",
				"  Value error, World size (4) is larger than the number of available GPUs (2) in this node. If this is intentional and you are using:\n- ray, set '--distributed-executor-backend ray'.",
			),
		),
		/spans 4 GPUs, and its container sees 2/,
		/`gpus`/,
	],
	[
		"heads that can't be shared",
		serverStart(
			pydantic(
				"VllmConfig",
				"  Value error, Total number of attention heads (14) must be divisible by tensor parallel size (4).",
			),
		),
		/14 attention heads can't be shared evenly by 4/,
		/`gpus`/,
	],
	[
		"quantised groups that can't be shared",
		workerStart(
			"ValueError: Weight input_size_per_partition=2368 for layer 'model.layers.0.mlp.down_proj' is not divisible by group_size=128. This happens when tensor_parallel_size splits the layer input",
		),
		/can't be shared evenly by its GPUs: Weight input_size_per_partition=2368/,
		/fewer `gpus`/,
	],
	[
		"a GPU that fails while it serves",
		engineDeath(
			"torch.AcceleratorError: CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.",
		),
		/GPU failed: CUDA error: an illegal memory access/,
		/xid/,
	],
	[
		"no device",
		serverStart(
			"RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.",
		),
		/sees no GPU/,
		/docker run --rm --gpus all/,
	],
	[
		"no device, under podman",
		serverStart(
			"RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`",
		),
		/sees no GPU/,
		/^(?!.*docker).*cdi generate.*podman run --rm --device nvidia\.com\/gpu=all/,
		{ command: "podman" },
	],
	[
		"a driver that is too old",
		engineStart(
			"RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver",
		),
		/driver is older/,
		/driver 580/,
	],
	[
		"a fabric that nobody manages",
		workerStart("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized"),
		/fabric manager/,
		/nvidia-fabricmanager/,
	],
	[
		"shared memory that is full",
		workerStart("OSError: [Errno 28] No space left on device: '/dev/shm/psm_1f0c'"),
		/shared memory \(\/dev\/shm\) is full/,
		/df -h \/dev\/shm/,
	],
];

const ENDS: FailedStart[] = [
	[
		"the kernel, within the container's limit",
		engineStart("RuntimeError: whatever came of it"),
		/needed more than the 8\.0 GiB that its container may use \(`memory`\)/,
		/raise the model's `memory`/,
		{ exitCode: 1, oomKilled: true, memoryLimit: 8 * 1024 ** 3 },
	],
	[
		"the kernel, that killed the engine and left the server",
		[...banner, ...serverEnd(INIT_POINTER.replace("'EngineCore': 1", "'EngineCore': -9"))],
		/killed \(SIGKILL\)/,
		/dmesg/,
		{ exitCode: 1 },
	],
	[
		"a processor that is too old",
		[...banner, ...serverEnd(INIT_POINTER.replace("'EngineCore': 1", "'EngineCore': -4"))],
		/lacks instructions/,
		/AVX/,
		{ exitCode: 1 },
	],
	["a processor that is too old for the server itself", [...banner], /lacks instructions/, /lscpu/, { exitCode: 132 }],
	[
		"a worker that crashed",
		[
			...banner,
			...record(
				"EngineCore",
				"ERROR",
				"multiproc_executor.py:315",
				"Worker proc VllmWorker-1 died unexpectedly (exit code: -11), shutting down executor.",
			),
			...engineDeath("RuntimeError: cancelled").slice(1),
		],
		/segmentation fault|cancelled/,
		/image|log/,
	],
	["nothing, where only the pointer is left", serverEnd(), /ended, and its log does not say why/, /tail=10000.*dmesg/],
	[
		"the worker's words that the engine repeats, where its own lines are lost",
		engineStart(
			"RuntimeError: Worker failed with error 'Triton Error [CUDA]: device-side assert triggered', please check the stack trace above for the root cause",
		),
		/^Triton Error \[CUDA\]: device-side assert triggered$/,
		/log/,
	],
	[
		"where an empty assertion stands",
		engineStart("AssertionError"),
		/^AssertionError at engine\/core\.py, line 321: self\.step\(batch\)$/,
		/log/,
	],
	[
		"the exception that another was raised from",
		engineStart(
			"FileNotFoundError: [Errno 2] No such file or directory: '/plugins/rules.json'",
			CHAINED,
			"RuntimeError: plugin rules could not be set up",
		),
		/rules\.json/,
		/log/,
	],
	[
		"the last exception where it only came up while another was handled",
		engineStart("KeyError: 'fast'", HANDLED, "ValueError: no scheduler is called fast"),
		/^ValueError: no scheduler is called fast$/,
		/log/,
	],
];

describe("the root cause is shown:", () => {
	test.each([...GPU, ...ENDS])("%s", expectCause);

	test("hundreds of lines above the end, behind the errors of all the calls that it took along", () => {
		const log = engineDeath("ValueError: block table of 3 rows and 4 columns", 200);
		expect(log.length).toBeGreaterThan(1000);
		expect(diagnose(log)?.reason).toBe("ValueError: block table of 3 rows and 4 columns");
	});

	test("coloured, with carriage returns, and with other processes' lines between its own", () => {
		const own = record(
			"EngineCore",
			"ERROR",
			"core.py:1510",
			`EngineCore failed to start.\n${traceback("a.py", "ValueError: the true one")}`,
		);
		const mixed = own.flatMap((line, at) => [
			line.replace("(EngineCore pid=97)", "\u001b[0;36m(EngineCore pid=97)\u001b[0;0m"),
			...record("APIServer", "INFO", "loggers.py:12", `waiting ${at}`),
			...record("Worker_TP0", "ERROR", "x.py:1", "some other words"),
		]);
		expect(diagnose([...banner, ...mixed, ...serverEnd()])?.reason).toBe("ValueError: the true one");
	});

	test("of this run, where somebody started the container again", () => {
		const log = [...engineStart("ValueError: of the run before"), ...engineStart("ValueError: of this run")];
		expect(diagnose(log)?.reason).toBe("ValueError: of this run");
	});
});

describe("what a container survived is no reason for its end:", () => {
	const refused = record(
		"APIServer",
		"ERROR",
		"serving.py:88",
		`Error in preprocessing prompt inputs\n${traceback("entrypoints/serving.py", "ValueError: This model's maximum context length is 4096 tokens. However, you requested 5000 tokens")}`,
	);

	test("a call's error before it was killed", () => {
		expect(diagnose([...banner, ...refused], { exitCode: 137 })?.reason).toContain("SIGKILL");
	});

	test("an error that a row of the table knows, before it was killed", () => {
		const log = [...banner, ...record("APIServer", "ERROR", "cache.py:9", "No space left on device: '/tmp/x'")];
		expect(diagnose(log, { exitCode: 137 })?.reason).toContain("SIGKILL");
		expect(diagnose(log, { exitCode: 1 })?.reason).toContain("disk");
	});

	test("a call's error before it was stopped", () => {
		expect(diagnose([...banner, ...refused], { exitCode: 0 })).toBeUndefined();
		expect(diagnose([...banner, ...refused], { exitCode: 143 })).toBeUndefined();
	});

	test("a call's error before its engine died of another", () => {
		const log = [...banner, ...refused, ...engineDeath("RuntimeError: Triton Error [CUDA]: out of resources").slice(1)];
		expect(diagnose(log, { exitCode: 1 })?.reason).toBe("RuntimeError: Triton Error [CUDA]: out of resources");
	});
});
