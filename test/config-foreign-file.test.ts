/** Files of other programs that are given for `router.yaml`: said what they are, and what goes where, in one go. */
import { describe, expect, test } from "bun:test";
import { cli, directory } from "./kit/cli.ts";
import { configure, refusal } from "./kit/configure.ts";

const LITELLM = `model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o
      api_base: os.environ/AZURE_API_BASE
      api_key: "os.environ/AZURE_API_KEY"
  - model_name: "anthropic/*"
    litellm_params: { model: "anthropic/*", api_key: sk-ant-secret }
litellm_settings:
  drop_params: True
  cache: true
router_settings: { routing_strategy: simple-shuffle }
general_settings:
  master_key: sk-1234-secret
`;
const LITELLM_OPTIONS = `model_list:
  - model_name: fast
    litellm_params: { model: openai/gpt-4o, rpm: 6, tpm: 100, timeout: 30, max_parallel_requests: 2, max_retries: 2 }
litellm_settings:
  additional_drop_params: [seed]
  context_window_fallbacks: [{ fast: [long] }]
  success_callback: [langfuse]
  max_budget: 10
router_settings:
  routing_strategy: latency-based-routing
  model_group_alias: { gpt-4: fast }
  redis_host: cache
general_settings: { master_key: sk-1234-secret, database_url: "postgres://me:secret@db/litellm" }
environment_variables: { OPENAI_API_KEY: sk-secret }
`;
const LLAMA_SWAP = `healthCheckTimeout: 500
models:
  "qwen":
    cmd: |
      llama-server --port \${PORT} -m qwen.gguf
    ttl: 300
    aliases: [small]
  "vllm":
    proxy: http://127.0.0.1:8999
    cmd: docker run vllm
groups: { all: { swap: true, members: [qwen] } }
`;
const COMPOSE = `name: mine
services:
  vllm:
    image: vllm/vllm-openai:latest
    command: --model Qwen/Qwen3-8B
    environment: { HF_TOKEN: "\${HF_TOKEN:?needed}" }
volumes: { hf: {} }
`;

describe.each([
	[
		"LiteLLM",
		LITELLM,
		"router.yaml:1:1 model_list: this is a configuration of LiteLLM, not of this router;",
		[
			"model_list: ",
			"api_base: ",
			"api_key: ",
			"drop_params: `unsupported: drop`",
			"routing_strategy: `policy`",
			"fallbacks: ",
			"master_key: ",
			"cache_params: ",
		],
	],
	[
		"LiteLLM with all that it may say of a model, of calls and of itself",
		LITELLM_OPTIONS,
		"router.yaml:1:1 model_list: this is a configuration of LiteLLM",
		[
			"model_list: ",
			"api_key: ",
			"rpm, tpm of a model: `limits:",
			"max_parallel_requests: `concurrency`",
			"stream_timeout: `timeouts.total`",
			"drop_params: `unsupported: drop`",
			"num_retries, allowed_fails, cooldown_time: nothing to set",
			"routing_strategy: `policy`",
			"fallbacks: `fallback`",
			"context_window_fallbacks: nothing to set",
			"model_group_alias: ",
			"budget_duration: `budget:",
			"master_key: ",
			"cache_params: ",
			"redis_password: `redis.url`",
			"database_url: no database",
			"callbacks: GET /metrics",
			"environment_variables: ",
		],
	],
	[
		"LiteLLM with its settings alone",
		"litellm_settings: { drop_params: true, num_retries: 3 }\n",
		"router.yaml:1:1 litellm_settings: this is a configuration of LiteLLM",
		["drop_params: ", "num_retries"],
	],
	[
		"LiteLLM with one setting",
		"litellm_settings: { drop_params: true }\n",
		"router.yaml:1:1 litellm_settings: this is a configuration of LiteLLM",
		["drop_params: `unsupported: drop`"],
	],
	[
		"LiteLLM with prices",
		"model_list: [{ model_name: a, litellm_params: { model: openai/a, input_cost_per_token: 0.1 } }]\n",
		"router.yaml:1:1 model_list: this is a configuration of LiteLLM",
		["model_list: ", "api_key: ", "input_cost_per_token, output_cost_per_token: `prices:"],
	],
	[
		"llama-swap",
		LLAMA_SWAP,
		"router.yaml:1:1 healthCheckTimeout: this is a configuration of llama-swap, not of this router;",
		["to go on with", "`cmd` of vLLM", "`proxy`", "aliases: ", "groups: "],
	],
	[
		"llama-swap with models alone",
		"models:\n  qwen: { cmd: llama-server }\n",
		"router.yaml:1:1 models: this is a configuration of llama-swap",
		["to go on with", "`cmd` of vLLM"],
	],
	[
		"compose",
		COMPOSE,
		"router.yaml:2:1 services: this is a compose file, not of this router;",
		["--compose", "type: vllm"],
	],
	[
		"compose without vLLM",
		"services: { a: { image: nginx } }",
		"router.yaml:1:1 services: this is a compose",
		["--compose"],
	],
	[
		"vLLM",
		"model: Qwen/Qwen3-8B\nport: 8001\nmax-model-len: 4096\n",
		"router.yaml:3:1 max-model-len: this is a file of options of `vllm serve`",
		["agent: { models", "type: vllm"],
	],
	[
		"Kubernetes",
		"apiVersion: v1\nkind: ConfigMap\ndata: { router.yaml: 'server: {}' }\n",
		"router.yaml:1:1 apiVersion: this is a Kubernetes manifest",
		["ConfigMap"],
	],
	[
		"Kubernetes, of several documents",
		"---\napiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nkind: Service\n",
		"router.yaml:2:1 apiVersion: this is a Kubernetes manifest",
		["ConfigMap"],
	],
])("a file of %s", (_, yaml, first, advice) => {
	const [head, ...lines] = refusal({ yaml }).split("\n");

	test("is called that, with the setting that gives it away", () => expect(head).toStartWith(first));

	test("is answered by what goes where, of the parts that it has and of no others", () => {
		expect(lines).toHaveLength(advice.length);
		for (const [at, part] of advice.entries()) expect(lines[at]).toContain(part);
	});

	test("is shown with no value of its own", () =>
		expect(refusal({ yaml })).not.toMatch(/secret|Qwen3|qwen\.gguf|8999/));
});

test("`router check` and a start say the same, and nothing else", async () => {
	using home = directory({ "config.yaml": LITELLM });
	const flags = ["--config", "config.yaml", "--port", "0"];
	const checked = await cli(["check", ...flags], { cwd: home.path });
	const started = await cli(flags, { cwd: home.path });
	expect([checked.code, started.code]).toEqual([1, 1]);
	expect(checked.stderr).toStartWith("config.yaml:1:1 model_list: this is a configuration of LiteLLM");
	expect(started.stderr).toBe(checked.stderr);
}, 30_000);

describe("a file with mistakes that has a setting of the router's own", () => {
	test.each([
		["server: { port: 1 }\nmodel_list: []\n", "model_list: unknown setting"],
		["models: { fast: { cmd: x } }\nserver: {}\n", "models: must be a list, but is a mapping"],
		["models: { fast: { targets: [dummy] } }\n", "models: must be a list, but is a mapping"],
		["models: [{ name: a, cmd: x }]\nmax-model-len: 1\n", "models[0].cmd: unknown setting"],
		["services: [a]\n", "services: unknown setting"],
		["modells: []\n", 'modells: unknown setting; did you mean "models"?'],
	])("is told of those: %j", (yaml, words) => {
		expect(refusal({ yaml })).toContain(words);
		expect(refusal({ yaml })).not.toContain("this is ");
	});
});

test.each([
	["LiteLLM", LITELLM],
	["LiteLLM with more", LITELLM_OPTIONS],
	["llama-swap", LLAMA_SWAP],
	["compose", COMPOSE],
	["vLLM", "max-model-len: 1"],
])("what is advised to the owner of a file of %s is valid", (_, yaml) => {
	const advised = refusal({ yaml })
		.replaceAll("…", "x")
		.matchAll(/`((?:providers|models|agent|limits|mybox): [{[][^`]+)`/g);
	for (const [, text] of advised) {
		expect(() => configure({ yaml: text!.startsWith("mybox") ? `providers: { ${text} }` : text! })).not.toThrow();
	}
});
