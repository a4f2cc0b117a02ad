/** Mistakes that only show when a role is planned are told with those of the file, and nothing that only follows from them. */
import { expect, test } from "bun:test";
import { cli, directory } from "./kit/cli.ts";

async function told(yaml: string, words: string[] = ["check"]): Promise<string[]> {
	using home = directory({ "router.yaml": yaml });
	const { code, stderr } = await cli(words, { cwd: home.path });
	expect(code).toBe(1);
	return stderr.trimEnd().split("\n");
}
const MODELS = `agent:
  models:
    - { model: gpt2, args: ["--max-model-len 100"] }
    - { model: a/b, gpus: 0, gpu_memory: 1.5GiB, mounts: ["/x"] }
    - { model: c/d, gpus: 2, devices: [0] }
    - { model: e/f, args: ["--port", "1"] }
`;
const TARGETS = `models:
  - { name: fast, targets: [nosuch/x] }
`;

test.each([
	["an argument", "", ["3:29 agent.models[0].args[0]: is one argument of several words"]],
	["a setting that nobody knows", "srever: {}\n", ["srever: unknown setting", "agent.models[0].args[0]: "]],
	[
		"a port that is none, and no file",
		"server: { port: x, host: 0.0.0.0 }\nredis: { url: redis://x/y/z }\n",
		["server.port: must be"],
	],
])(
	"with %s wrong those of models and targets are told at once, in the order of the file",
	async (_, more, first) => {
		const expected = [
			...first,
			"agent.models[1].gpu_memory: is the KV cache on the CPU, which vLLM takes in whole GiB: write 1GiB or 2GiB",
			"agent.models[1].mounts: ",
			"agent.models[2].devices: names 1 GPUs, while `gpus` asks for 2",
			'agent.models[3].args: "--port" is not yours to set',
			'models[0].targets[0]: there is no provider "nosuch"',
		];
		for (const words of [["check"], []]) {
			const lines = await told(`${MODELS}${TARGETS}${more}`, words);
			for (const each of expected) expect(lines).toContainEqual(expect.stringContaining(each));
			const numbers = lines.map((line) => Number(/^router\.yaml:(\d+)/.exec(line)?.[1]));
			expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
			expect(new Set(lines).size).toBe(lines.length);
		}
	},
	30_000,
);

test.each([
	["a provider", "providers: { box: { type: vllm, base_url: 5 } }\nmodels: [{ name: m, targets: [box/x] }]\n", 1],
	[
		"a provider without a type",
		'providers: { box: { base_url: "http://127.0.0.1:1" } }\nmodels: [{ name: m, targets: [box/x] }]\n',
		1,
	],
	[
		"a provider's name",
		'providers: { Box A: { type: vllm, base_url: "http://127.0.0.1:1" } }\nmodels: [{ name: m, targets: [Box A/x] }]\n',
		1,
	],
	[
		"two settings of a provider",
		"providers: { box: { type: vllm, base_url: 5, api_key: 6 } }\nmodels: [{ name: m, targets: [box/x, { provider: box, model: x }] }]\n",
		2,
	],
	["all providers", "providers: [box]\nmodels: [{ name: m, targets: [box/x] }]\n", 1],
	["a name", "models: [{ nmae: m, targets: [dummy] }, { name: b, targets: [m] }]\n", 2],
	["a name that is no text", "models: [{ name: 5, targets: [dummy] }, { name: b, targets: [m] }]\n", 1],
	["an entry's targets", "models: [{ name: m, target: [dummy] }, { name: b, targets: [m] }]\n", 2],
	["a target", "models: [{ name: m, targets: [{ provider: box }] }]\n", 1],
	["an entry", "models: [m, { name: b, targets: [m] }]\n", 1],
	["an agent's model", "agent: { models: [{ nam: x }] }\n", 2],
	["names of an agent's models", "agent: { models: [{ model: a/b, name: 5 }, { model: a/b }] }\n", 1],
	["GPUs", "agent: { models: [{ model: a/b, gpus: two, devices: [0, 1, 2] }] }\n", 1],
	["the port", "server: { host: 0.0.0.0, port: x }\n", 1],
])("what only follows from a mistake is not told: of %s", async (_, yaml, count) => {
	expect(await told(yaml)).toHaveLength(count);
});

test("of an entry with a mistake the rest is looked at", async () => {
	const lines = await told(
		'models: [{ name: m, hegde: 1s, targets: [dummy, nosuch/x, { provider: opnai, model: y }] }]\nagent: { models: [{ model: a/b, gpus: two, args: ["--port", "1"] }] }\n',
	);
	expect(lines.map((line) => line.replace(/^router\.yaml:\d+:\d+ ([^:]+): .*$/, "$1"))).toEqual([
		"models[0].hegde",
		"models[0].targets[1]",
		"models[0].targets[2].provider",
		"agent.models[0].gpus",
		"agent.models[0].args",
	]);
});
