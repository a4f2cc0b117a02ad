/** A model of the configuration → the words after `docker run`. */
import { describe, expect, test } from "bun:test";
import { containerSpec, specHash } from "../src/agent/models/container-spec.ts";
import type { ModelSpec, Placement, SpecSettings } from "../src/agent/models/model-spec.ts";
import { specProblem } from "../src/agent/models/spec-problem.ts";
import { flagsOf, gpusPerReplica, stopGraceS } from "../src/agent/vllm/vllm-args.ts";
import { pinnedImage } from "../src/agent/vllm/vllm-image.ts";
import { SETTINGS, SPEC } from "./kit/model-spec.ts";

const PLACED = { replica: 0, devices: [0], bytes: 6_442_450_944, share: 0.2291, port: 20001 };

const argsOf = (spec: Partial<ModelSpec> = {}, placed: Partial<Placement> = {}, settings: Partial<SpecSettings> = {}) =>
	containerSpec({ ...SPEC, ...spec }, { ...PLACED, ...placed }, { ...SETTINGS, ...settings }).args;
/** What vLLM itself gets. */
const vllmOf = (...given: Parameters<typeof argsOf>) => {
	const args = argsOf(...given);
	return args.slice(args.findIndex((word) => word.includes("vllm-openai")) + 1);
};

describe("the container", () => {
	test("of a model on one GPU, word for word", () => {
		const { name, labels, args, hash } = containerSpec(SPEC, PLACED, SETTINGS);
		expect(name).toBe(`router-chat-${hash.slice(0, 8)}`);
		expect(labels).toEqual({
			"router.agent": "gpu-1",
			"router.model": "chat",
			"router.spec": hash,
			"router.port": "20001",
			"router.replica": "0",
			"router.devices": "0",
			"router.memory": "6442450944",
		});
		expect(args).toEqual([
			`--name=${name}`,
			...Object.entries(labels).map(([label, value]) => `--label=${label}=${value}`),
			"--pull=never",
			"--restart=no",
			"--stop-timeout=610",
			"--log-driver=json-file",
			"--log-opt=max-size=20m",
			"--log-opt=max-file=3",
			"--gpus",
			'"device=0"',
			"--ipc=host",
			"--publish=127.0.0.1:20001:8000",
			"--volume=/data/huggingface:/root/.cache/huggingface",
			"--volume=vllm-cache:/root/.cache/vllm",
			"--env=HF_TOKEN",
			"--env=VLLM_API_KEY",
			pinnedImage("nvidia"),
			"Qwen/Qwen3-8B",
			...["--served-model-name", "chat"],
			...["--gpu-memory-utilization", "0.2291"],
			...["--enable-auto-tool-choice", "--tool-call-parser", "hermes"],
			...["--reasoning-parser", "qwen3"],
			...["--shutdown-timeout", "600"],
			...["--max-num-queued-reqs", "4096"],
			...["--sse-keep-alive-interval", "15"],
		]);
	});

	test("never trusts remote code by itself, and is reached on loopback alone", () => {
		for (const accelerator of ["nvidia", "rocm", "cpu"] as const) {
			const args = argsOf({ replicas: 2 }, { replica: 1 }, { accelerator, sleep: true });
			expect(args.join(" ")).not.toContain("trust-remote-code");
			expect(args.filter((word) => word.startsWith("--publish"))).toEqual(["--publish=127.0.0.1:20001:8000"]);
			expect(args.join(" ")).not.toMatch(/--privileged|--network|--net=/);
		}
		expect(argsOf({ args: ["--trust-remote-code"] })).toContain("--trust-remote-code");
	});

	test("over two GPUs gets both, and their tensor parallelism", () => {
		const args = argsOf({ gpus: 2 }, { devices: [1, 3] });
		expect(args[args.indexOf("--gpus") + 1]).toBe('"device=1,3"');
		expect(vllmOf({ gpus: 2 }, { devices: [1, 3] }).join(" ")).toContain("--tensor-parallel-size 2");
		expect(vllmOf({ gpus: 2, args: ["-pp", "2"] }, { devices: [1, 3] }).join(" ")).not.toContain(
			"--tensor-parallel-size",
		);
	});

	test("by podman asks for GPUs as CDI names them", () => {
		const args = argsOf({}, { devices: [0, 2] }, { command: "podman" });
		expect(args).toContain("--device=nvidia.com/gpu=0");
		expect(args).toContain("--device=nvidia.com/gpu=2");
		expect(args).not.toContain("--gpus");
		expect(args).toContain("--log-driver=k8s-file");
		expect(args).toContain(`docker.io/${pinnedImage("nvidia")}`);
	});

	test("where no GPU could be read asks for all of them", () => {
		const args = argsOf({}, { devices: [], bytes: 0 });
		expect(args[args.indexOf("--gpus") + 1]).toBe("all");
		expect(argsOf({}, { devices: [] }, { command: "podman" })).toContain("--device=nvidia.com/gpu=all");
	});

	test("on AMD gets its devices, not NVIDIA's", () => {
		const args = argsOf({}, { devices: [1] }, { accelerator: "rocm" });
		for (const word of [
			"--device=/dev/kfd",
			"--device=/dev/dri",
			"--group-add=video",
			"--cap-add=SYS_PTRACE",
			"--security-opt=seccomp=unconfined",
		]) {
			expect(args).toContain(word);
		}
		expect(args).toContain("--env=HIP_VISIBLE_DEVICES=1");
		expect(args).toContain(pinnedImage("rocm"));
		expect(args).not.toContain("--gpus");
	});

	test("on the CPU gets no GPU, whatever it was promised", () => {
		for (const [spec, settings] of [
			[{}, { accelerator: "cpu" as const }],
			[{ gpus: 0 }, {}],
		]) {
			const args = argsOf({ ...spec, gpu_memory: 4.5 * 1024 ** 3 }, { devices: [0, 1] }, { ...settings, sleep: true });
			expect(args).not.toContain("--gpus");
			expect(args).toContain(pinnedImage("cpu"));
			expect(args).toContain("--env=VLLM_CPU_KVCACHE_SPACE=4");
			expect(args.join(" ")).not.toMatch(/--gpu-memory-utilization|--tensor-parallel-size|--enable-sleep-mode/);
			expect(args).toContain("--label=router.devices=");
		}
	});

	test("that may sleep is told so", () => {
		expect(argsOf({}, {}, { sleep: true })).toContain("--env=VLLM_SERVER_DEV_MODE=1");
		expect(vllmOf({}, {}, { sleep: true })).toContain("--enable-sleep-mode");
		expect(argsOf()).not.toContain("--env=VLLM_SERVER_DEV_MODE=1");
	});

	test("of weights in a directory mounts it, read only", () => {
		const args = argsOf({ model: "/models/my-chat" });
		expect(args).toContain("--mount=type=bind,source=/models/my-chat,target=/models/my-chat,readonly");
		expect(vllmOf({ model: "/models/my-chat" })[0]).toBe("/models/my-chat");
	});

	test("of a second replica has a name of its own and the same hash", () => {
		const first = containerSpec(SPEC, PLACED, SETTINGS);
		const second = containerSpec(SPEC, { ...PLACED, replica: 1, port: 20002 }, SETTINGS);
		expect(second.hash).toBe(first.hash);
		expect(second.name).toBe(`${first.name}-1`);
	});

	test("gets a name that Docker takes from any name a model may have", () => {
		const { name } = containerSpec({ ...SPEC, name: `Qwen/Qwen3-8B:${"x".repeat(100)}` }, PLACED, SETTINGS);
		expect(name).toMatch(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,80}$/);
	});
});

describe("a model's own arguments win", () => {
	test.each([
		[["--gpu-memory-utilization", "0.5"], "--gpu-memory-utilization"],
		[["--gpu_memory_utilization=0.5"], "--gpu-memory-utilization"],
		[["--kv-cache-memory-bytes", "4G"], "--gpu-memory-utilization"],
		[["--tool-call-parser", "pythonic"], "--tool-call-parser hermes"],
		[["--no-enable-auto-tool-choice"], "--enable-auto-tool-choice --tool"],
		[["--reasoning-parser", "mine"], "--reasoning-parser qwen3"],
		[["--shutdown-timeout=30"], "--shutdown-timeout 600"],
		[["--max-model-len", "4096"], "--max-model-len 8192"],
	])("%p: the agent adds no %s", (args, added) => {
		const words = vllmOf({ args }, { maxModelLen: 8192 });
		expect(words.join(" ").replace(args.join(" "), "")).not.toContain(added);
		expect(words.slice(-args.length)).toEqual(args);
	});

	test("a context that the ledger gave is passed on otherwise", () => {
		expect(vllmOf({}, { maxModelLen: 8192 }).join(" ")).toContain("--max-model-len 8192");
	});

	test("also over how long a stop may take", () => {
		expect(stopGraceS(SPEC, SETTINGS)).toBe(610);
		expect(stopGraceS({ ...SPEC, args: ["--shutdown-timeout", "30"] }, SETTINGS)).toBe(40);
	});
});

describe("the hash", () => {
	const hash = (spec: Partial<ModelSpec> = {}, settings: Partial<SpecSettings> = {}) =>
		specHash({ ...SPEC, ...spec }, { ...SETTINGS, ...settings });

	test("changes with all that makes another container", () => {
		const changed = [
			hash({ name: "other" }),
			hash({ model: "Qwen/Qwen3-4B" }),
			hash({ gpus: 2 }),
			hash({ devices: [1] }),
			hash({ gpu_memory: 1 }),
			hash({ args: ["--enforce-eager"] }),
			hash({ args: ["--enforce", "-eager"] }),
			hash({ image: "vllm/vllm-openai:v1" }),
			hash({ env: ["NCCL_DEBUG"] }),
			hash({}, { agent: "gpu-2" }),
			hash({}, { accelerator: "rocm" }),
			hash({}, { image: "mine:1" }),
			hash({}, { registry: "mirror" }),
			hash({}, { cacheDir: "/other" }),
			hash({}, { env: ["HF_TOKEN"] }),
			hash({}, { shutdownTimeoutS: 1 }),
			hash({}, { sleep: true }),
			hash({}, { driver: "535.104" }),
		];
		expect(new Set([hash(), ...changed]).size).toBe(changed.length + 1);
	});

	test("stays with what does not, so that a restarted agent finds its containers", () => {
		const same = [
			hash({ load: "on-demand", ttl: 5, replicas: 4 }),
			hash({ args: [] }),
			hash({ env: [] }),
			hash({}, { env: ["HF_TOKEN", "VLLM_API_KEY"] }),
			hash({}, { driver: "580.65" }),
			containerSpec(SPEC, { ...PLACED, devices: [3], share: 0.9, port: 20005, maxModelLen: 4096 }, SETTINGS).hash,
		];
		expect(new Set(same)).toEqual(new Set([hash()]));
	});
});

describe("what a model may not be", () => {
	test.each([
		["../../x", /^name: "\.\.\/\.\.\/x"/],
		["--privileged", /^name/],
		["-v", /^name/],
		["a b", /^name/],
		["a;rm -rf /", /^name/],
		["$(id)", /^name/],
		["a/../b", /^name/],
		["a..b", /^name/],
		["a\nb", /^name/],
		["", /^name/],
		["ä", /^name/],
		["a".repeat(129), /^name/],
	])("called %p", (name, reason) => {
		expect(specProblem({ ...SPEC, name }, "config")).toMatch(reason);
	});

	test.each([
		["--trust-remote-code", /^model/],
		["../../etc", /^model/],
		["a/b/c", /^model/],
		["https://example.com/x", /^model/],
		["/models/../etc", /^model/],
		["/models/a:/etc", /^model/],
		["/", /^model/],
		["", /^model/],
	])("the model %p", (model, reason) => {
		expect(specProblem({ ...SPEC, model }, "config")).toMatch(reason);
	});

	test("a directory of this host, when an API call names it", () => {
		expect(specProblem({ ...SPEC, model: "/models/chat" }, "api")).toContain("in the configuration only");
		expect(specProblem({ ...SPEC, model: "/models/chat" }, "config")).toBeUndefined();
	});

	test.each([
		[{ image: "--privileged" }, /^image/],
		[{ image: "a b" }, /^image/],
		[{ env: ["a=b"] }, /^env/],
		[{ env: ["PATH"] }, /belongs to the agent/],
		[{ env: ["LD_PRELOAD"] }, /belongs to the agent/],
		[{ env: ["DOCKER_HOST"] }, /belongs to the agent/],
		[{ env: ["ROUTER_AGENT_TOKEN"] }, /belongs to the agent/],
		[{ devices: [] }, /^devices/],
		[{ devices: [1, 1] }, /twice/],
		[{ devices: [0, 1, 2], replicas: 2 }, /shared evenly/],
		[{ devices: [0, 1], gpus: 4 }, /asks for 4/],
		[{ devices: [1], gpus: 0 }, /^devices: names GPUs, while `gpus: 0` runs it on the CPU/],
		[{ gpu_memory: 0 }, /^gpu_memory: is nothing/],
		[{ gpu_memory: 0, gpus: 0 }, /^gpu_memory: is nothing/],
		[{ name: "dummy" }, /^name: "dummy" is the built-in model's/],
		[{ name: "dummy", model: "dummy" }, /^name: /],
		[{ name: "local" }, /^name: "local" would be another model's to callers/],
		[{ name: "local/qwen" }, /^name: "local\/qwen" would be another/],
		[{ name: "local/qwen", model: "local/qwen" }, /^name: /],
		[{ args: ["--lora-modules", "dummy=/a"] }, /built-in model/],
		[{ args: ["--max-model-len"] }, /^args: "--max-model-len" has no value/],
		[{ args: ["--max_model_len", "--enforce-eager"] }, /"--max_model_len" has no value/],
		[{ args: ["--dtype", "auto", "-tp"] }, /"-tp" has no value/],
		[{ args: ["--port", "9000"] }, /^args: "--port" is not yours to set/],
	] as [Partial<ModelSpec>, RegExp][])("made of %p", (part, reason) => {
		expect(specProblem({ ...SPEC, ...part }, "config")).toMatch(reason);
	});

	test.each([
		[{ name: "Qwen/Qwen3-8B" }],
		[{ name: "chat:latest" }],
		[{ name: "local-chat" }],
		[{ name: "org/local" }],
		[{ model: "gpt2" }],
		[{ model: "unsloth/Qwen3-8B-GGUF:Q4_K_M" }],
		[{ devices: [0, 1, 2, 3], replicas: 2 }],
		[{ image: "mirror.internal:5000/vllm/vllm-openai@sha256:0f3c" }],
		[{ args: ["--max-model-len", "-1", "-tp", "2", "--hf-overrides", '{"a": 1}'], env: ["NCCL_P2P_DISABLE"] }],
	] as [Partial<ModelSpec>][])("but may be %p", (part) => {
		expect(specProblem({ ...SPEC, ...part }, "api")).toBeUndefined();
	});
});

describe("vLLM's arguments", () => {
	test("are read in every spelling that vLLM reads", () => {
		const flags = flagsOf([
			"--max_model_len=4096",
			"-tp",
			"2",
			"--enforce-eager",
			"-pp",
			"3",
			"--seed",
			"-1",
			"--x",
			"a",
			"b",
		]);
		expect(Object.fromEntries(flags)).toEqual({
			"--max-model-len": "4096",
			"--tensor-parallel-size": "2",
			"--enforce-eager": "",
			"--pipeline-parallel-size": "3",
			"--seed": "-1",
			"--x": "a",
		});
	});

	test.each([
		[["--port=1"]],
		[["--por", "1"]],
		[["--host", "0.0.0.0"]],
		[["--served_model_name", "x"]],
		[["--serv", "x"]],
		[["--api-key", "secret-value"]],
		[["--hf-token=secret-value"]],
		[["--config", "/x.yaml"]],
		[["serve", "Qwen/Qwen3-8B"]],
		[["a\0b"]],
		[["--max-model-len 100"]],
		[["--api-key secret-value"]],
		[["--served-model-name x"]],
		[["--host 0.0.0.0"]],
		[["--my-token secret-value"]],
	])("%p are refused, and no value is repeated", (args) => {
		expect(specProblem({ ...SPEC, args }, "config")).toStartWith("args: ");
		expect(specProblem({ ...SPEC, args }, "config")).not.toContain("secret-value");
	});

	test("that only begin alike are taken", () => {
		expect(
			specProblem(
				{ ...SPEC, args: ["--config-format", "mistral", "--hf-overrides", "{}", "--model-impl", "auto"] },
				"config",
			),
		).toBeUndefined();
	});

	test("say how many GPUs a replica spans, else the model does", () => {
		expect(gpusPerReplica(SPEC)).toBe(1);
		expect(gpusPerReplica({ ...SPEC, gpus: 0 })).toBe(0);
		expect(gpusPerReplica({ ...SPEC, gpus: 4 })).toBe(4);
		expect(gpusPerReplica({ ...SPEC, devices: [0, 1, 2, 3], replicas: 2 })).toBe(2);
		expect(gpusPerReplica({ ...SPEC, gpus: 1, args: ["-tp", "2", "--pipeline-parallel-size=3"] })).toBe(6);
	});
});
