/** Files of other programs that are given for `router.yaml`: whose they are, and what of them goes where. Pure. */
import type { Finding } from "./config-error.ts";
import { isRecord } from "./document.ts";
import { IMPORT_FORMATS, type ImportFormat } from "./import/formats.ts";
import { ConfigSchema } from "./schema.ts";

/** A program's file. */
interface ForeignFormat {
	/** What it is, and what follows from that for the whole. */
	readonly what: string;
	/** What `router import` calls it; absent where that does not read it. */
	readonly importName?: ImportFormat;
	/** The setting that gives it away; undefined where the file is none of these. */
	readonly sign: (file: ForeignFile) => string | undefined;
	/** What goes where, a line for each part that the file may have. */
	readonly advice: readonly (readonly [has: (file: ForeignFile) => boolean, line: string])[];
}

type ForeignFile = Readonly<Record<string, unknown>>;

const always = () => true;
const has =
	(...names: readonly string[]) =>
	(file: ForeignFile) =>
		names.some((name) => file[name] !== undefined);
const signOf =
	(...names: readonly string[]) =>
	(file: ForeignFile) =>
		names.find((name) => file[name] !== undefined);

/** The mappings in a list or a mapping. */
const membersOf = (value: unknown): Record<string, unknown>[] =>
	(Array.isArray(value) ? value : isRecord(value) ? Object.values(value) : []).filter(isRecord);

/** Whether any section or model of a LiteLLM file has one of these settings. */
const hasInLitellm =
	(...names: readonly string[]) =>
	({ model_list, litellm_settings, router_settings, general_settings }: ForeignFile) => {
		const models = membersOf(model_list).flatMap((model) => [model, model["litellm_params"], model["model_info"]]);
		const parts = [...models, litellm_settings, router_settings, general_settings].filter(isRecord);
		return parts.some((part) => names.some((name) => part[name] !== undefined));
	};

const LITELLM: ForeignFormat = {
	what: "a configuration of LiteLLM",
	importName: "litellm",
	sign: signOf(...IMPORT_FORMATS.litellm.signs),
	advice: [
		[
			has("model_list"),
			"model_list: each `model_name` is a `name` under `models:`, the `litellm_params.model` of all its entries are its `targets` (`weight` on a target is the same; `anthropic/*` may stand in both)",
		],
		[
			({ model_list }) => membersOf(model_list).some(({ litellm_params: to }) => isRecord(to) && "api_base" in to),
			'litellm_params.api_base: `base_url` of an entry under `providers:` (`mybox: { type: openai-compatible, base_url: "http://…/v1" }`), whose name stands before the model\'s: `mybox/model`',
		],
		[
			has("model_list"),
			'litellm_params.api_key: a vendor\'s own variable (OPENAI_API_KEY and the like) is enough; else `api_key` of its entry under `providers:`. `os.environ/NAME` is written "${NAME}"',
		],
		[
			hasInLitellm("rpm", "tpm"),
			'rpm, tpm of a model: `limits: { models: { "openai/gpt-4o": { rpm: 60, tpm: 100000 } } }`; of a caller: `rpm`, `tpm` of an entry under `keys:`',
		],
		[
			hasInLitellm("max_parallel_requests", "default_max_parallel_requests", "global_max_parallel_requests"),
			"max_parallel_requests: `concurrency` of the name under `models:`, or of an entry under `keys:`",
		],
		[
			hasInLitellm("timeout", "request_timeout", "stream_timeout"),
			"timeout, request_timeout, stream_timeout: `timeouts.total` and `timeouts.first_token`, with a unit (`60s`): at the top, of a provider or of a name under `models:`",
		],
		[
			hasInLitellm("drop_params", "additional_drop_params"),
			"drop_params: `unsupported: drop` of the name under `models:`, or of the entry under `providers:`",
		],
		[
			hasInLitellm("input_cost_per_token", "output_cost_per_token"),
			'input_cost_per_token, output_cost_per_token: `prices: { "openai/gpt-4o": { input: 2.5, output: 10 } }`, in USD per million tokens',
		],
		[
			hasInLitellm("num_retries", "max_retries", "retry_policy", "retry_after", "allowed_fails", "cooldown_time"),
			"num_retries, allowed_fails, cooldown_time: nothing to set; a call that fails is tried again or elsewhere, and a target that fails too often is left out for a while (`router docs failures`)",
		],
		[
			hasInLitellm("routing_strategy"),
			"routing_strategy: `policy` of the name under `models:`. latency-based is `fastest`, cost-based `cheapest`, least-busy and usage-based are `balanced` (the default), shares are `weight` on targets",
		],
		[
			(file) => has("router_settings")(file) || hasInLitellm("fallbacks", "default_fallbacks")(file),
			"fallbacks: `fallback` of the name under `models:`",
		],
		[
			hasInLitellm("context_window_fallbacks", "content_policy_fallbacks", "enable_pre_call_checks"),
			"context_window_fallbacks: nothing to set; a call that is too long for a target goes to one that takes more, of `targets` and `fallback`",
		],
		[
			hasInLitellm("model_group_alias"),
			"model_group_alias: each is a `name` under `models:` with the other name as its one target",
		],
		[
			hasInLitellm("max_budget", "budget_duration", "max_internal_user_budget"),
			"max_budget, budget_duration: `budget: { usd: 50, per: month }` of an entry under `keys:`",
		],
		[
			hasInLitellm("master_key"),
			"general_settings.master_key: `key` of an entry under `keys:` for calls, of another under `admin.keys` for /admin",
		],
		[
			hasInLitellm("cache", "cache_params", "redis_host", "redis_url"),
			"litellm_settings.cache, cache_params: `cache:` (on unless switched off) and `redis.url`",
		],
		[
			hasInLitellm("redis_host", "redis_url", "redis_port", "redis_password"),
			"redis_host, redis_port, redis_password: `redis.url`, best as `${REDIS_URL}`",
		],
		[
			hasInLitellm("database_url", "store_model_in_db"),
			"database_url: no database is needed; keys and usage lie in `data_dir`, and several routers share them through `redis.url`",
		],
		[
			hasInLitellm("callbacks", "success_callback", "failure_callback", "service_callbacks"),
			"callbacks: GET /metrics for Prometheus, and a line of the log for each call (`router docs metrics`)",
		],
		[
			has("environment_variables"),
			"environment_variables: the router's own environment, or the file that `--env-file` names",
		],
	],
};

const LLAMA_SWAP: ForeignFormat = {
	what: "a configuration of llama-swap",
	importName: "llama-swap",
	sign: (file) => {
		const isSwap = membersOf(file["models"]).some((model) => "cmd" in model || "proxy" in model);
		const sign = signOf("healthCheckTimeout", "startPort", "macros")(file);
		return isRecord(file["models"]) && (isSwap || sign) ? (sign ?? "models") : undefined;
	},
	advice: [
		[
			always,
			'to go on with llama-swap: `providers: { swap: { type: openai-compatible, base_url: "http://127.0.0.1:8080/v1" } }`, and `models: [{ name: "*", targets: ["swap/*"] }]` for its names as they are',
		],
		[
			always,
			"models with a `cmd` of vLLM: `agent.models` (`model`, `args`; `ttl` with its unit, `300s`, beside `load: on-demand`), and `router --standalone`; no other program is started",
		],
		[
			({ models }) => membersOf(models).some((model) => "proxy" in model),
			"models with a `proxy`: each address is an entry under `providers:`",
		],
		[
			({ models }) => membersOf(models).some((model) => "aliases" in model),
			"aliases: each is a `name` under `models:` with the model as its one target",
		],
		[has("groups", "matrix"), "groups: the agent loads what fits the memory of its GPUs, and unloads what is idle"],
	],
};

const COMPOSE: ForeignFormat = {
	what: "a compose file",
	importName: "compose",
	sign: ({ services }) => (isRecord(services) ? "services" : undefined),
	advice: [
		[
			always,
			"the router's own file is another one: `router init` writes it, --config or ROUTER_CONFIG names it, and a service of the router mounts it; `router init --compose` prints such a service",
		],
		[
			({ services }) => membersOf(services).some(({ image }) => typeof image === "string" && image.includes("vllm")),
			'a vLLM of a service `vllm`: `providers: { box: { type: vllm, base_url: "http://vllm:8000/v1" } }`, and models are called `box/model`; or let the agent start it: `agent.models`',
		],
	],
};

const VLLM: ForeignFormat = {
	what: "a file of options of `vllm serve`",
	sign: signOf(
		"max-model-len",
		"max_model_len",
		"tensor-parallel-size",
		"tensor_parallel_size",
		"gpu-memory-utilization",
		"gpu_memory_utilization",
		"served-model-name",
		"served_model_name",
	),
	advice: [
		[
			always,
			'for an agent that starts it: `agent: { models: [{ model: …, name: …, args: ["--max-model-len", "32768"] }] }`; each further option is two entries of `args`, and host, port and key are left out',
		],
		[
			always,
			'for one that runs already: `providers: { box: { type: vllm, base_url: "http://HOST:8000/v1" } }`, and models are called `box/model`',
		],
	],
};

const KUBERNETES: ForeignFormat = {
	what: "a Kubernetes manifest",
	sign: (file) =>
		typeof file["apiVersion"] === "string" && typeof file["kind"] === "string" ? "apiVersion" : undefined,
	advice: [
		[always, "the router reads what a ConfigMap or Secret holds, mounted as a file, and not the manifest itself"],
	],
};

const FORMATS = [LITELLM, LLAMA_SWAP, COMPOSE, VLLM, KUBERNETES];

/** Settings that another program's file has, too, in another form. */
const SHARED = ["models"];

/**
 * The finding on a file of another program: one, of several lines, instead of one for each of its settings. Undefined where the file has a
 * setting of this router, or is of none that is known.
 */
export function foreignFile(file: ForeignFile): Finding | undefined {
	const own = Object.keys(ConfigSchema.properties).filter((name) => !SHARED.includes(name));
	if (own.some((name) => file[name] !== undefined) || Array.isArray(file["models"])) return undefined;
	for (const { what, importName, sign, advice } of FORMATS) {
		const found = sign(file);
		if (found === undefined) continue;
		const lines = advice.flatMap(([applies, line]) => (applies(file) ? [`  ${line}`] : []));
		const begin =
			importName === undefined
				? "`router init` writes a router.yaml to begin with"
				: `\`router import ${importName} THIS-FILE NEW.yaml\` makes one of this router's of it, and says what it leaves`;
		const message = `this is ${what}, not of this router; ${begin}. What goes where, by hand:`;
		return { path: [found], of: "key", message: [message, ...lines].join("\n") };
	}
	return undefined;
}
