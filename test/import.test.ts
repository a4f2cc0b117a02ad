/** `router import`: other programs' files become a `router.yaml` that is clean, starts and is called; what has no counterpart is named by its line. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { importFile } from "../src/config/import/import-file.ts";
import { cli, directory } from "./kit/cli.ts";
import { HELLO } from "./kit/hello-answer.ts";
import { COMPOSE, GPUSTACK, LITELLM, LITELLM_SHARES, LLAMA_SWAP } from "./kit/import-files.ts";
import { startRouter } from "./kit/router.ts";

/** What came to the upstream. */
let calls: { path: string; key: string | null; model: string }[] = [];
const upstream = Bun.serve({
	port: 0,
	hostname: "127.0.0.1",
	fetch: async (request) => {
		if (request.method === "GET") return Response.json({ data: [] });
		const { model } = (await request.json()) as { model: string };
		calls.push({ path: new URL(request.url).pathname, key: request.headers.get("authorization"), model });
		return new Response(HELLO, { headers: { "content-type": "application/json" } });
	},
});
afterAll(() => upstream.stop(true));
beforeEach(() => {
	calls = [];
});
const at = (text: string) => text.replaceAll("UPSTREAM", `127.0.0.1:${upstream.port}`);
const imported = (format: "litellm" | "llama-swap" | "compose" | "gpustack", text: string) =>
	importFile(format, { name: "their.yaml", text });

describe("a file that can't be carried over", () => {
	test("is named where it is none of that program, and nothing is written", async () => {
		using home = directory({ "config.yaml": "services: {}\n" });
		const { code, stderr } = await cli(["import", "litellm", "config.yaml"], { cwd: home.path });
		expect({ code, stderr }).toEqual({
			code: 1,
			stderr:
				"config.yaml: is no file of LiteLLM: it has no `model_list` or `litellm_settings` or `router_settings` or `general_settings`\n",
		});
		expect(() => statSync(join(home.path, "router.yaml"))).toThrow();
	});

	test("is named with line and column where it is no YAML", async () => {
		using home = directory({ "config.yaml": "model_list: [\n" });
		const { code, stderr } = await cli(["import", "litellm", "config.yaml"], { cwd: home.path });
		expect(code).toBe(1);
		expect(stderr).toMatch(/^config\.yaml:\d+:\d+: /);
	});

	test("is named where it is not there", async () => {
		using home = directory();
		const { code, stderr } = await cli(["import", "compose", "gone.yaml"], { cwd: home.path });
		expect(code).toBe(1);
		expect(stderr).toContain("gone.yaml");
	});

	test.each([
		[["import"], "`import` needs a program: router import litellm|llama-swap|compose|gpustack FILE"],
		[
			["import", "bifrost", "x"],
			'"bifrost" is no program whose files can be imported: litellm, llama-swap, compose, gpustack',
		],
		[["import", "litellm"], "`import` needs a file: router import litellm FILE"],
		[["import", "compose", "a", "--keys", "b"], "--keys belongs to `import litellm`"],
		[["import", "litellm", "a", "b", "--stdout"], '"b" is one word too many'],
	])("%p is refused as a command line", async (args, message) => {
		using home = directory();
		const { code, stderr } = await cli(args, { cwd: home.path });
		expect({ code, stderr: stderr.split("\n")[0] }).toEqual({ code: 2, stderr: `router: ${message}` });
	});
});

test("a router.yaml that is there stays as it is", async () => {
	using home = directory({ "config.yaml": LITELLM, "router.yaml": "{}\n" });
	const { code, stderr } = await cli(["import", "litellm", "config.yaml"], { cwd: home.path });
	expect(code).toBe(1);
	expect(stderr).toBe(
		"router: router.yaml exists already and was left as it is; name another: router import litellm config.yaml OTHER.yaml\n",
	);
	expect(readFileSync(join(home.path, "router.yaml"), "utf8")).toBe("{}\n");
});

test("no secret of the file is printed, and the file that has it is its owner's alone", async () => {
	const secrets = ["sk-ant-hidden-1", "sk-hidden-master", "hidden-password", "sk-hidden-env"];
	const text = `model_list:
  - { model_name: c, litellm_params: { model: anthropic/claude-sonnet-4-5, api_key: ${secrets[0]} } }
  - { model_name: b, litellm_params: { model: bedrock/x, aws_secret_access_key: ${secrets[0]} } }
general_settings: { master_key: ${secrets[1]}, database_url: "postgres://me:${secrets[2]}@db/x", other: ${secrets[2]} }
environment_variables: { OPENAI_API_KEY: ${secrets[3]} }
`;
	using home = directory({ "config.yaml": text });
	const { code, stdout, stderr } = await cli(["import", "litellm", "config.yaml"], { cwd: home.path });
	expect(code).toBe(0);
	for (const secret of secrets) expect(stdout + stderr).not.toContain(secret);
	const file = join(home.path, "router.yaml");
	expect(statSync(file).mode & 0o777).toBe(0o600);
	expect(readFileSync(file, "utf8")).toContain(secrets[0]!);
});

describe("what is not carried over", () => {
	test("is each named with its line, down the file, and nothing else is", () => {
		const { left } = imported("litellm", at(LITELLM));
		expect(left.map(({ line, setting }) => `${line} ${setting}`)).toEqual([
			"13 model_list[1].litellm_params.api_version",
			"23 model_list[4]",
			"27 model_list[6].litellm_params.temperature",
			"30 litellm_settings.num_retries",
			"33 litellm_settings.success_callback",
			"37 router_settings.model_group_alias.nobody",
			"40 general_settings.database_url",
			"41 general_settings.strange.inside",
		]);
	});

	test.each([
		["an empty list of models", "litellm", "model_list: []\n"],
		["a list that is none", "litellm", "model_list: 7\ngeneral_settings: nothing\n"],
		[
			"entries that are none",
			"litellm",
			"model_list: [1, null, {}, { model_name: a }, { litellm_params: { model: gpt-4o } }]\n",
		],
		["models that are none", "llama-swap", "models: { a: 1, b: null, c: { cmd: [1] } }\n"],
		[
			"services that are none",
			"compose",
			"services: { a: 1, b: { command: { x: 1 } }, c: { image: vllm/vllm-openai } }\n",
		],
		[
			"items that are none",
			"gpustack",
			"items: [1, {}, { name: a }, { name: b, huggingface_repo_id: c/d, backend_parameters: 3 }]\n",
		],
	] as const)("%s: is no error", (_, format, text) => {
		expect(imported(format, text).text).toContain("# Made from their.yaml");
	});
});

describe.each([
	[
		"LiteLLM",
		"litellm",
		LITELLM,
		{
			OPENAI_API_KEY: "sk-openai",
			AZURE_EU_KEY: "sk-azure",
			LITELLM_MASTER_KEY: "sk-master-key",
			ANTHROPIC_API_KEY: "sk-ant",
			GROQ_API_KEY: "gsk",
		},
		"sk-master-key",
		"own",
		{ key: null, model: "Qwen/Qwen3-8B" },
	],
	[
		"LiteLLM with shares of several servers",
		"litellm",
		LITELLM_SHARES,
		{},
		undefined,
		"pair",
		{ key: "Bearer sk-local-one", model: "a" },
	],
	[
		"llama-swap",
		"llama-swap",
		LLAMA_SWAP,
		{ SWAP_KEY: "sk-swap" },
		undefined,
		"little",
		{ key: "Bearer sk-swap", model: "qwen" },
	],
	[
		"compose",
		"compose",
		COMPOSE,
		{ VLLM_KEY: "sk-vllm" },
		undefined,
		"llama",
		{ key: "Bearer sk-vllm", model: "llama" },
	],
] as const)("an imported file of %s", (_, format, text, env, key, model, expected) => {
	test("is clean, starts, and its models are called", async () => {
		using home = directory({ "their.yaml": at(text) });
		const written = await cli(["import", format, "their.yaml"], { cwd: home.path });
		expect(written.stdout).toStartWith("wrote router.yaml: ");
		const file = join(home.path, "router.yaml");
		// Where llama-swap and compose's ports are is not in their files.
		const config = readFileSync(file, "utf8").replaceAll(/127\.0\.0\.1:(8080|8001)/g, `127.0.0.1:${upstream.port}`);
		const checked = await cli(["check"], { cwd: home.path, env });
		expect({ code: checked.code, stderr: checked.stderr }).toEqual({ code: 0, stderr: "" });

		const router = await startRouter({ config: Bun.YAML.parse(config) as never, env });
		try {
			const headers = {
				"content-type": "application/json",
				...(key !== undefined && { authorization: `Bearer ${key}` }),
			};
			const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
			const answer = await fetch(`${router.url}/v1/chat/completions`, { method: "POST", headers, body });
			expect(await answer.json()).toMatchObject({ choices: [{ message: { content: "Hello" } }] });
			expect(calls).toEqual([{ path: "/v1/chat/completions", ...expected }]);
		} finally {
			await router.stop();
		}
	});
});

test("models of GPUStack become those of the agent, and what is empty or off there is no matter", async () => {
	using home = directory({ "models.json": GPUSTACK });
	const { stderr } = await cli(["import", "gpustack", "models.json"], { cwd: home.path });
	const left = [...stderr.matchAll(/^ {2}models\.json:\d+ (.*)$/gm)].map(([, text]) => text);
	expect(left).toEqual([
		"items[0].placement_strategy: an agent is for one machine, and chooses its GPUs itself",
		"items[0].access_policy: who may call it: `models` of each key",
		"items[1]: runs on llama-box: the agent runs vLLM",
		"items[2]: is from ModelScope: the agent loads models of Hugging Face, which has most of them, and directories",
		"items[3].backend_version: the agent has a version of its own, or `image`",
		"items[3].env.HF_TOKEN: has no counterpart",
		"items[3].worker_selector: an agent is for one machine",
		"items[3].gpu_selector: the agent chooses GPUs itself",
		"items[3].speculative_config.enabled: has no counterpart",
	]);
	expect(stderr).not.toContain("hf_secret");
	const config = Bun.YAML.parse(readFileSync(join(home.path, "router.yaml"), "utf8"));
	const args = ["--max-model-len", "32768", "--enable-prefix-caching"];
	const models = [
		{ model: "Qwen/Qwen3-8B", name: "qwen3", replicas: 2, args },
		{ model: "/srv/own", name: "own", load: "on-demand" },
	];
	expect(config).toEqual({ agent: { models } });
	for (const role of [[], ["--agent"], ["--standalone"]]) {
		const checked = await cli(["check", ...role], { cwd: home.path });
		expect({ role, code: checked.code, stderr: checked.stderr }).toEqual({ role, code: 0, stderr: "" });
	}
});

test("LiteLLM's virtual keys stay good, by their hashes", async () => {
	const secret = "sk-of-a-team-that-moves";
	const token = createHash("sha256").update(secret).digest("hex");
	const keys = {
		keys: [
			{
				token,
				key_alias: "team-a",
				models: ["own"],
				max_budget: 50,
				budget_duration: "30d",
				rpm_limit: 60,
				tpm_limit: null,
				spend: 1.5,
			},
			{ token: "sk-…abcd" },
		],
		total_count: 2,
	};
	const made = importFile(
		"litellm",
		{
			name: "their.yaml",
			text: at(
				`model_list: [{ model_name: own, litellm_params: { model: hosted_vllm/q, api_base: "http://UPSTREAM/v1" } }]\n`,
			),
		},
		{ name: "keys.json", text: JSON.stringify(keys) },
	);
	expect(made.left.map(({ file, setting }) => `${file} ${setting}`)).toEqual([
		"keys.json keys[0].spend",
		"keys.json keys[1]",
	]);
	const router = await startRouter({ config: Bun.YAML.parse(made.text) as never });
	try {
		const ask = (key: string) =>
			fetch(`${router.url}/v1/chat/completions`, {
				method: "POST",
				headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
				body: JSON.stringify({ model: "own", messages: [{ role: "user", content: "hi" }] }),
			});
		expect((await ask(token)).status).toBe(401);
		const answer = await ask(secret);
		expect(answer.status).toBe(200);
		await answer.text();
		expect(Bun.YAML.parse(made.text)).toMatchObject({
			keys: [{ name: "team-a", models: ["own"], rpm: 60, budget: { usd: 50, per: "month" } }],
		});
	} finally {
		await router.stop();
	}
});

describe("LiteLLM's models", () => {
	const models = (text: string) =>
		Bun.YAML.parse(imported("litellm", text).text) as { models: Record<string, unknown>[]; limits?: object };

	test("that are limited in part have no limit, and it is said", () => {
		const text = `model_list:
  - { model_name: m, litellm_params: { model: openai/gpt-4o, rpm: 5 } }
  - { model_name: m, litellm_params: { model: anthropic/claude-sonnet-4-5 } }
`;
		expect(models(text).limits).toBeUndefined();
		expect(imported("litellm", text).left.map(({ line, setting }) => `${line} ${setting}`)).toEqual([
			"2 model_list[0].litellm_params.rpm",
		]);
	});

	test("with an order are tried in it", () => {
		const text = `model_list:
  - { model_name: m, litellm_params: { model: openai/gpt-4o, order: 2 } }
  - { model_name: m, litellm_params: { model: anthropic/claude-sonnet-4-5, order: 1 } }
`;
		expect(models(text).models).toEqual([
			{ name: "m", targets: ["anthropic/claude-sonnet-4-5", "openai/gpt-4o"], policy: "order" },
		]);
	});

	test("of two keys of one vendor are two providers", () => {
		const text = `model_list:
  - { model_name: m, litellm_params: { model: openai/gpt-4o, api_key: os.environ/ONE } }
  - { model_name: m, litellm_params: { model: openai/gpt-4o, api_key: os.environ/TWO } }
`;
		expect(models(text)).toMatchObject({
			providers: { openai: { api_key: "${ONE}" }, "openai-2": { type: "openai", api_key: "${TWO}" } },
			models: [{ name: "m", targets: ["openai/gpt-4o", "openai-2/gpt-4o"] }],
		});
	});

	test("fall back to the targets of the names that they name, and a text with ${ stays one", () => {
		const text = `model_list:
  - { model_name: a, litellm_params: { model: openai/gpt-4o } }
  - { model_name: b, litellm_params: { model: openai/x, api_base: "http://box:1/v1", api_key: "k\${x}" } }
router_settings: { fallbacks: [{ a: [b, gone] }, { gone: [a] }] }
`;
		const made = models(text);
		expect(made).toMatchObject({
			models: [{ name: "a", fallback: ["box/x"] }, { name: "b" }],
			providers: { box: { api_key: "k$${x}" } },
		});
		expect(imported("litellm", text).left).toHaveLength(2);
	});
});
