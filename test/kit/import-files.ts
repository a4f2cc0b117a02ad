/** Files of other programs, in the shapes that public repositories have them in; `UPSTREAM` stands for a host and port. */

/** LiteLLM: shares, Azure, own servers, wildcards, fallbacks, Redis. */
export const LITELLM = `model_list:
  - model_name: chat
    litellm_params:
      model: gpt-4.1-mini
      api_key: os.environ/OPENAI_API_KEY
      rpm: 400
      weight: 3
      input_cost_per_token: 0.0000004
      output_cost_per_token: 0.0000016
  - model_name: chat
    litellm_params:
      api_base: https://example-eu.openai.azure.com/
      api_version: "2024-10-21"
      model: azure/mini-eu
      api_key: os.environ/AZURE_EU_KEY
      rpm: 200
      weight: 1
  - model_name: claude
    litellm_params: { model: anthropic/claude-sonnet-4-5, timeout: 300, stream_timeout: 45.5 }
  - model_name: own
    litellm_params: { model: hosted_vllm/Qwen/Qwen3-8B, api_base: "http://UPSTREAM/v1", api_key: none, max_parallel_requests: 32 }
    model_info: { supports_vision: false, mode: chat }
  - { model_name: titan, litellm_params: { model: bedrock/amazon.titan-text, aws_region_name: eu-central-1 } }
  - model_name: "groq/*"
    litellm_params: { model: "groq/*" }
  - model_name: small
    litellm_params: { model: ollama_chat/llama3.2, api_base: "http://localhost:11434", temperature: 0.2 }
litellm_settings:
  drop_params: True
  num_retries: 3
  request_timeout: 600
  fallbacks: [{ chat: [claude, own] }]
  success_callback: [langfuse]
  cache: true
router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: { gpt-4: chat, nobody: nothing }
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  database_url: postgresql://user:password@db/litellm
  strange: { inside: 1 }
`;

/** LiteLLM: one name on two servers that speak OpenAI's API, one of which gets no share while the other is well. */
export const LITELLM_SHARES = `model_list:
  - model_name: pair
    litellm_params: &one { model: openai/a, api_base: "http://UPSTREAM/v1", api_key: sk-local-one, weight: 1 }
  - model_name: pair
    litellm_params: { <<: *one, model: openai/b, api_key: sk-local-two, weight: 0 }
  - model_name: alone
    litellm_params: { <<: *one, timeout: "30" }
router_settings: { timeout: 120, allowed_fails: 3 }
`;

/** llama-swap: macros, aliases of both forms, one model of vLLM's. */
export const LLAMA_SWAP = `healthCheckTimeout: 120
macros:
  serve: llama-server --port \${PORT}
  ctx: 8192
apiKeys: ["\${env.SWAP_KEY}"]
models:
  "qwen":
    cmd: |
      # the small one
      \${serve} -m /models/qwen.gguf --ctx-size \${ctx}
    ttl: 300
    aliases: [little, { id: qwen-latest }]
  "big":
    proxy: http://127.0.0.1:9999
    cmd: docker run --gpus all -p 9999:8000 vllm/vllm-openai:v0.11.0 --model Qwen/Qwen3-32B --max-model-len 32768
    concurrencyLimit: 8
groups: { all: { swap: true, members: [qwen, big] } }
`;

/** Compose: one vLLM with a port and a key, one service that is none. */
export const COMPOSE = `services:
  llm:
    image: vllm/vllm-openai:latest
    command: >
      --model /models/llama-3.1-8b
      --served-model-name llama
      --max-model-len 8192
      --api-key \${VLLM_KEY}
    ports: ["127.0.0.1:8001:8000"]
    volumes: ["/srv/models:/models"]
  db:
    image: postgres:16
volumes: { data: {} }
`;

/** GPUStack 2: its list of models, as `GET /v2/models` answers. */
export const GPUSTACK = JSON.stringify(
	{
		items: [
			{
				...{ id: 1, created_at: "2026-01-01T00:00:00Z", updated_at: "2026-01-02T00:00:00Z" },
				...{ source: "huggingface", huggingface_repo_id: "Qwen/Qwen3-8B", huggingface_filename: null },
				...{ model_scope_model_id: null, model_scope_file_path: null, local_path: null },
				...{ name: "qwen3", description: null, meta: { n_ctx: 40_960 }, replicas: 2, ready_replicas: 2 },
				...{ categories: ["llm"], placement_strategy: "spread", cpu_offloading: null },
				...{ distributed_inference_across_workers: false, worker_selector: {}, gpu_selector: null },
				...{ gpu_type_selector: null, backend: "vLLM", backend_version: null },
				...{ backend_parameters: ["--max-model-len=32768", "--enable-prefix-caching"] },
				...{ image_name: null, run_command: null, env: {}, restart_on_error: true, distributable: false },
				...{ extended_kv_cache: { enabled: false, ram_ratio: null }, speculative_config: { enabled: false } },
				...{ lora_list: [], generic_proxy: false, cluster_id: 1, access_policy: "authed" },
			},
			{ id: 2, name: "small", huggingface_repo_id: "x/y-GGUF", backend: "llama-box", replicas: 1 },
			{
				...{ id: 3, name: "scope", source: "model_scope", model_scope_model_id: "Qwen/Qwen3-8B", backend: "vLLM" },
				...{ env: { HF_TOKEN: "hf_secret" }, replicas: 1 },
			},
			{
				...{
					id: 4,
					name: "own",
					source: "local_path",
					local_path: "/srv/own",
					backend: "vLLM",
					backend_version: "0.11.0",
				},
				...{ replicas: 0, env: { HF_TOKEN: "hf_secret" }, worker_selector: { zone: "a" } },
				...{ gpu_selector: { gpu_ids: ["w1:cuda:0"], gpus_per_replica: 1 }, speculative_config: { enabled: true } },
			},
		],
		pagination: { page: 1, perPage: 100, total: 4, totalPage: 1 },
	},
	null,
	1,
);
