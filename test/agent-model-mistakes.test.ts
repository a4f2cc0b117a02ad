/** Mistakes in `agent.models` that only the agent knows: all of them at once, each with its line, whatever the role. */
import { describe, expect, test } from "bun:test";
import { specProblem } from "../src/agent/models/spec-problem.ts";
import { cli, directory } from "./kit/cli.ts";

const YAML = `agent:
  models:
    - model: Qwen/Qwen3-8B
      name: chat
      memory: 512MB
      mounts: ["/srv/a:/a", "/etc"]
      args:
        - --port
        - "9000"
        - --lora-modules
        - sql=/a
        - sql
    - model: /models/qwen3
    - model: gpt2
      env: [HF_HOME, LD_PRELOAD]
      devices: [0, 0]
    - { model: /run, name: all }
models:
  - { name: fast, targets: [nosuch/x] }
`;
const MISTAKES = [
	"router.yaml:5:15 agent.models[0].memory: vLLM alone needs more than 1GiB",
	'router.yaml:6:29 agent.models[0].mounts: "/etc" is no mount: write /directory/on/the/host:/directory/in/the/container, both absolute',
	'router.yaml:8:11 agent.models[0].args: "--port" is not yours to set: the agent chooses the port',
	'router.yaml:12:11 agent.models[0].args: "sql" of "--lora-modules" is neither name=path nor {"name": …, "path": …}',
	"router.yaml:13:14 agent.models[1].name: is missing: a directory can't be the name that callers use; write `name: qwen3` (--name qwen3)",
	"router.yaml:15:22 agent.models[2].env: LD_PRELOAD belongs to the agent and stays there",
	"router.yaml:16:16 agent.models[2].devices: a GPU is named twice",
	"router.yaml:17:16 agent.models[3].model: \"/run\" would give the container the engine's socket, and with it the whole host: name the directory with the model's own files",
];
const TARGET = 'router.yaml:19:29 models[0].targets[0]: there is no provider "nosuch"; declare it under `providers:`.';

describe("mistakes in the agent's models", () => {
	test.each([
		["router", [], [...MISTAKES, TARGET]],
		["agent", ["--agent"], MISTAKES],
		["agent and router in one", ["--standalone"], [...MISTAKES, TARGET]],
	])(
		"are told by `router check` as %s",
		async (_, flags, expected) => {
			using home = directory({ "router.yaml": YAML });
			const { code, stderr } = await cli(["check", ...flags], { cwd: home.path });
			expect(stderr.trimEnd().split("\n")).toEqual(expected);
			expect(code).toBe(1);
		},
		30_000,
	);

	test("are told by a start, too", async () => {
		using home = directory({ "router.yaml": YAML });
		const { code, stderr } = await cli(["--agent", "--port", "0"], { cwd: home.path });
		expect([code, stderr.trimEnd().split("\n")]).toEqual([1, MISTAKES]);
	}, 30_000);

	test("of a flag are told as its own, and at no line of the file", async () => {
		using home = directory({ "router.yaml": "agent: { models: [{ model: gpt2 }] }\n" });
		const { stderr } = await cli(["check", "--agent", "--model", "/models/x"], { cwd: home.path });
		expect(stderr).toBe(
			"agent.models[1].name: is missing: a directory can't be the name that callers use; write `name: x` (--name x) (set by --model)\n",
		);
	}, 30_000);
});

describe("a directory of this host that is a model", () => {
	test.each([
		["/", "engine's socket"],
		["/run", "engine's socket"],
		["/var/run", "engine's socket"],
		["/var", "engine's socket"],
		["/run/docker.sock", "engine's socket"],
		["/run/user/1000", "engine's socket"],
		["/proc/1/root", "holds no files of yours"],
		["/sys", "holds no files of yours"],
		["/etc", "would hide that directory of the image"],
		["/home", "would hide that directory of the image"],
		["/usr/lib", "would hide that directory of the image"],
		["/root/.cache", "would lie over /root/.cache/huggingface"],
	])("is refused: %s %s", (model, words) => {
		const problem = specProblem({ name: "chat", model }, "config");
		expect(problem).toStartWith("model: ");
		expect(problem).toContain(words);
	});

	test.each(["/models/x", "/home/me/models/x", "/opt/models/x", "/var/lib/models/x", "/srv/x"])("may be %s", (model) =>
		expect(specProblem({ name: "chat", model }, "config")).toBeUndefined(),
	);

	test("whose name no caller could use is given another in the words of its mistake", () => {
		expect(specProblem({ name: "/srv/a b", model: "/srv/a b" }, "config")).toContain("`name: my-model`");
	});
});

test.each([
	[{ devices: [0, 1], args: ["-tp", "4"] }, "devices: names 2 GPUs, while `args` ask for 4"],
	[{ devices: [0, 1], args: ["--tensor-parallel-size=2"], replicas: 2 }, undefined],
	[{ args: ["max-model-len=100"] }, 'args: "max-model-len=100" comes before any flag, which begins with --'],
	[{ args: ["--max-model-len", "100 --foo"] }, "args: number 2 is one argument of several words"],
	[{ args: ["--max-model-len=1 00"] }, "args: number 1 has a blank inside its number"],
])("parts that do not fit each other, and arguments that are none: %p", (parts, words) => {
	const problem = specProblem({ name: "chat", model: "a/b", ...parts }, "config");
	if (words === undefined) expect(problem).toBeUndefined();
	else expect(problem).toStartWith(words);
});

describe("on the CPU, where `gpu_memory` is the KV cache", () => {
	const GIB = 1024 ** 3;
	test.each([
		[{ gpu_memory: 1.5 * GIB }, "whole GiB: write 1GiB or 2GiB"],
		[{ gpu_memory: 4e9 }, "whole GiB: write 3GiB or 4GiB"],
		[{ gpu_memory: GIB / 2 }, "whole GiB: write 1GiB"],
		[{ gpu_memory: 9 * GIB, memory: 8 * GIB }, "leaves nothing for the weights"],
		[{ gpu_memory: 8 * GIB, memory: 8 * GIB }, "leaves nothing for the weights"],
	])("%p is refused", (sizes, words) => {
		const spec = { name: "chat", model: "a/b", ...sizes };
		expect(specProblem({ ...spec, gpus: 0 }, "config")).toStartWith("gpu_memory: ");
		expect(specProblem({ ...spec, gpus: 0 }, "api")).toContain(words);
		expect(specProblem(spec, "config", "cpu")).toContain(words);
		expect(specProblem(spec, "config")).toBeUndefined();
	});

	test("whole GiB below the container's memory are taken", () =>
		expect(
			specProblem({ name: "chat", model: "a/b", gpus: 0, gpu_memory: 4 * GIB, memory: 8 * GIB }, "config"),
		).toBeUndefined());

	test("the mistake is told with its line where the agent runs on the CPU alone", async () => {
		using home = directory({
			"router.yaml": "agent:\n  accelerator: cpu\n  models:\n    - { model: gpt2, gpu_memory: 1.5GiB }\n",
		});
		const { stderr } = await cli(["check", "--agent"], { cwd: home.path });
		expect(stderr).toStartWith("router.yaml:4:34 agent.models[0].gpu_memory: is the KV cache on the CPU");
	}, 30_000);
});
