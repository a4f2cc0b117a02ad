/** The `agent:` section of the configuration. */
import { type Static, Type } from "@sinclair/typebox";
import { bytes, closed, duration, secret, section, share, url } from "./schema-parts.ts";

const choice = <const T extends string>(values: readonly T[], options: { default: NoInfer<T>; description: string }) =>
	Type.Unsafe<T>(
		Type.Union(
			values.map((value) => Type.Literal(value)),
			options,
		),
	);

/** The form of a name: no part of it is a flag, a path that leaves its directory, or syntax of a shell. */
const NAME = {
	maxLength: 200,
	pattern: "^/?[.]?\\w[\\w.:@+=-]*(/[.]?\\w[\\w.:@+=-]*)*$",
	expects: "a name of letters, digits and `._-:@+=`, with `/` between its parts",
};

/** What names a GPU. */
const DEVICE =
	"a GPU's number such as 0, its UUID (GPU-8f6d7a52-…), or that of a MIG device (MIG-…), as `nvidia-smi -L` lists them";

/** One model that the agent runs in containers of its own. */
export const AgentModel = Type.Object(
	{
		model: Type.String({
			...NAME,
			expects:
				"a Hugging Face id such as Qwen/Qwen3-8B, or the absolute path of a directory (/models/qwen3-8b, no slash at its end)",
			description: "Hugging Face id (`Qwen/Qwen3-8B`), or the absolute path of a directory with the weights.",
		}),
		name: Type.Optional(
			Type.String({ ...NAME, description: "The name that callers use; default: the value of `model`." }),
		),
		gpus: Type.Optional(
			Type.Integer({ minimum: 0, maximum: 64, description: "GPUs a replica spans; default: 1; 0 runs on the CPU." }),
		),
		devices: Type.Optional(
			Type.Array(
				Type.Union(
					[
						Type.Integer({ minimum: 0, maximum: 63, expects: DEVICE }),
						Type.String({ pattern: "^(GPU|MIG)-[0-9A-Za-z/-]{4,80}$", expects: DEVICE }),
					],
					{ expects: DEVICE },
				),
				{
					minItems: 1,
					expects: "numbers of GPUs such as 0,1, their UUIDs, or UUIDs of MIG devices (`nvidia-smi -L` lists them)",
					description:
						"Numbers or UUIDs (`GPU-…`) of the GPUs it may use, or UUIDs of MIG devices (`MIG-…`), one for each replica; default: any GPU.",
				},
			),
		),
		replicas: Type.Optional(
			Type.Integer({ minimum: 1, maximum: 64, description: "How many containers serve it; default: 1." }),
		),
		gpu_memory: Type.Optional(
			bytes({
				description:
					"Memory it takes of each of its GPUs, so that others fit beside it; default: all that is free. On the CPU: its KV cache.",
			}),
		),
		memory: Type.Optional(
			bytes({
				description:
					"Memory of the host that each of its containers may use (`docker run --memory`); default: no limit.",
			}),
		),
		args: Type.Optional(
			Type.Array(Type.String({ maxLength: 4096 }), {
				maxItems: 128,
				ofWords: true,
				description:
					'Further arguments of vLLM: `["--max-model-len", "32768"]`. They override those that the agent adds.',
			}),
		),
		load: choice(["always", "on-demand", "manual"], {
			default: "always",
			description: "When it is loaded: at the start, by the first call for it, or by `POST /models/{name}/load` alone.",
		}),
		ttl: Type.Optional(
			duration({ description: "How long an on-demand model may idle before it is unloaded; for ever without it." }),
		),
		image: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: "Another image than the agent's." })),
		canary: Type.Optional(
			share({
				description:
					"Share of calls that the first container of a new image or new arguments gets, until it has proved good; default: 10%. 0%: none is tried first.",
				examples: ["10%"],
			}),
		),
		env: Type.Optional(
			Type.Array(
				Type.String({
					pattern: "^[A-Z][A-Z0-9_]*$",
					expects: "a variable's name such as NCCL_DEBUG; its value stays in the agent's environment",
				}),
				{
					maxItems: 64,
					description: "Variables of the agent's own environment that its container gets, by name.",
				},
			),
		),
		mounts: Type.Optional(
			Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
				maxItems: 32,
				description:
					"Directories and files of the host that its containers may read, as `/on/the/host:/in/the/container`: LoRA adapters, chat templates, plugins.",
				examples: [["/srv/adapters:/adapters"]],
			}),
		),
	},
	closed,
);

/** The section. */
export const agent = section(
	{
		host: Type.String({
			default: "127.0.0.1",
			minLength: 1,
			description: "Address the agent listens on; default with a router on another machine: 0.0.0.0.",
			env: "HOST",
		}),
		port: Type.Integer({ default: 5000, minimum: 0, maximum: 65535, description: "Port of the agent.", env: "PORT" }),
		name: Type.Optional(
			Type.String({
				maxLength: 64,
				pattern: "^[A-Za-z0-9][A-Za-z0-9._-]*$",
				expects: "a name of letters, digits, `.`, `_` and `-`",
				description: "What the router calls this agent, and the label of its containers; default: the host's name.",
				env: "ROUTER_AGENT_NAME",
				examples: ["gpu-1"],
			}),
		),
		router: Type.Optional(
			url({
				description:
					"The router to join. Without one the agent works alone, under --standalone with the router beside it.",
				env: "ROUTER_URL",
				examples: ["http://router:8000"],
			}),
		),
		advertise: Type.Optional(
			url({
				description: "Where the router reaches this agent; default: the local address that reaches the router.",
				env: "ROUTER_ADVERTISE_URL",
				examples: ["http://10.0.0.7:5000"],
			}),
		),
		tunnel: Type.Union([Type.Literal("auto"), Type.Literal("always"), Type.Literal("never")], {
			default: "auto",
			description:
				"Whether the router calls this agent through a connection that the agent opens to it; auto: where the router can't call its address.",
			env: "ROUTER_TUNNEL",
		}),
		models: Type.Array(AgentModel, {
			default: [],
			description: "Models that the agent runs in vLLM containers.",
			examples: [
				[
					{ model: "Qwen/Qwen3-8B", name: "qwen3-8b", gpus: 1, args: ["--max-model-len", "32768"] },
					{ model: "BAAI/bge-m3", gpu_memory: "6GiB", load: "on-demand", ttl: "30m" },
				],
			],
		}),
		docker: choice(["docker", "podman"], { default: "docker", description: "The command that runs containers." }),
		accelerator: choice(["auto", "nvidia", "rocm", "cpu"], {
			default: "auto",
			description: "What models run on; `auto` is NVIDIA where nvidia-smi finds a GPU, else the CPU.",
		}),
		image: Type.Optional(
			Type.String({
				maxLength: 512,
				pattern: "^[A-Za-z0-9][A-Za-z0-9._:/@-]*$",
				expects: "an image's name such as vllm/vllm-openai:v0.33.0",
				description: "vLLM's image; default: a pinned version.",
				examples: ["vllm/vllm-openai:v0.11.0"],
			}),
		),
		registry: Type.Optional(
			Type.String({
				pattern: "^[A-Za-z0-9][\\w.:/-]*$",
				expects: "a registry such as mirror.internal:5000",
				description: "Registry mirror that images are pulled from.",
				examples: ["mirror.internal:5000"],
			}),
		),
		network: Type.Optional(
			Type.String({
				pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
				expects: "a network of the engine's such as bridge",
				description:
					"The engine's network that models' containers are in, which has to be there; default: one of the agent's own, which no other container is in.",
				examples: ["bridge"],
			}),
		),
		cache_dir: Type.Optional(
			Type.String({
				minLength: 1,
				description: "Directory of the Hugging Face cache, shared with the containers; default: ~/.cache/huggingface.",
				env: "HF_HOME",
				examples: ["/data/huggingface"],
			}),
		),
		hf_token: Type.Optional(
			secret({
				minLength: 1,
				pattern: "^[\\x21-\\x7e]*$",
				description: "Hugging Face token, for gated models.",
				env: "HF_TOKEN",
				examples: ["${HF_TOKEN}"],
			}),
		),
		hf_endpoint: url({
			default: "https://huggingface.co",
			description: "Where models are looked up and downloaded.",
			env: "HF_ENDPOINT",
		}),
		queue: section(
			{
				size: Type.Integer({
					default: 256,
					minimum: 1,
					maximum: 100_000,
					description: "Calls that may wait for one model; further ones get 429.",
				}),
				running: Type.Integer({
					default: 256,
					minimum: 1,
					maximum: 100_000,
					description: "Calls that one container is sent at a time; further ones wait here.",
				}),
				wait: duration({ default: "10m", description: "How long a call may wait for its model." }),
				switch_after: duration({
					default: "30s",
					description:
						"How long calls may wait before a busy on-demand model that holds the memory takes no further ones.",
				}),
			},
			"Calls that wait for a model.",
		),
		start: section(
			{
				silence: duration({
					default: "10m",
					description: "Longest time without any sign of progress before a start counts as failed.",
				}),
				limit: duration({ default: "1h", description: "Longest that a start may take in all, downloads included." }),
			},
			"How long a container may take to get ready.",
		),
		roll: section(
			{
				watch: duration({
					default: "1m",
					description: "How long the first container of a new image or new arguments is watched at least.",
				}),
				limit: duration({ default: "10m", description: "And at most, where few calls come." }),
			},
			"Rolling changes: a new image, arguments or version beside the one that serves.",
		),
		stall: duration({
			default: "5m",
			description: "How long a model with running calls may send nothing and count no token before it is restarted.",
		}),
		sleep: Type.Boolean({
			default: true,
			description: "Put on-demand models to sleep in host memory, where they fit, rather than stop them.",
		}),
		kv_events: Type.Union([Type.Literal("auto"), Type.Literal("always"), Type.Literal("never")], {
			default: "auto",
			description:
				"Have vLLM publish what is in its prefix cache, so that the router knows it. `auto`: where its image's tag names 0.28 or later (older ones cache models with several kinds of layers worse with it). They go through a Unix socket in the data directory that the agent's user alone may open.",
		}),
		warm_up: duration({
			default: "10s",
			description:
				"How long a new replica may compute ahead what calls of its model begin with, before it takes calls while others serve; `0s`: not at all. What that is KV events say (`kv_events`).",
		}),
		stop_containers: Type.Boolean({
			default: false,
			description: "Stop the containers when the agent stops; else they go on and the next start takes them over.",
		}),
		vllm_url: Type.Optional(
			url({
				description: "An already running vLLM that the agent serves, too.",
				env: "VLLM_BASE_URL",
				examples: ["http://localhost:8001"],
			}),
		),
		vllm_api_key: Type.Optional(
			secret({
				minLength: 1,
				description: "The key that vLLM was started with.",
				env: "VLLM_API_KEY",
				examples: ["${VLLM_API_KEY}"],
			}),
		),
	},
	"The agent role (`router --agent`).",
);

/** One entry of `agent.models`, loaded: `ttl` in ms, `gpu_memory` in bytes. */
export type AgentModelConfig = Static<typeof AgentModel>;
