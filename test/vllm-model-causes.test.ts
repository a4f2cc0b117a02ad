/** vLLM's logs → the root cause, never the line that points at it: the model's files and its arguments. */
import { describe, test } from "bun:test";
import {
	banner,
	CHAINED,
	engineStart,
	expectCause,
	type FailedStart,
	HANDLED,
	pydantic,
	record,
	serverStart,
	traceback,
	workerStart,
} from "./kit/vllm-failures.ts";

const FILES: FailedStart[] = [
	[
		"a gated model",
		serverStart(
			"requests.exceptions.HTTPError: 403 Client Error: Forbidden for url: https://huggingface.co/google/gemma-9/resolve/main/config.json",
			CHAINED,
			"huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1-aa)\n\nCannot access gated repo for url https://huggingface.co/google/gemma-9/resolve/main/config.json.\nAccess to model google/gemma-9 is restricted and you are not in the authorized list.",
			CHAINED,
			"OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/google/gemma-9.",
			CHAINED,
			"ValueError: Invalid repository ID or local directory specified: 'google/gemma-9'.\nPlease verify the following requirements:\n1. Provide a valid Hugging Face repository ID.",
		),
		/^google\/gemma-9 is gated/,
		/accept it at https:\/\/huggingface\.co\/google\/gemma-9/,
	],
	[
		"a token that nobody knows",
		serverStart(
			"huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: https://huggingface.co/a/b/resolve/main/config.json\n\nInvalid credentials in Authorization header",
		),
		/does not know HF_TOKEN/,
		/settings\/tokens/,
	],
	[
		"a model that does not exist",
		serverStart(
			"huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1-bb)\n\nRepository Not Found for url: https://huggingface.co/api/models/Qwen/Qwen9/resolve/main/config.json.",
			CHAINED,
			"ValueError: Invalid repository ID or local directory specified: 'Qwen/Qwen9'.",
		),
		/knows no Qwen\/Qwen9/,
		/spelling/,
	],
	[
		"a limit on downloads",
		engineStart(
			"huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/api/models/a/b/tree/main",
		),
		/rate limit/,
		/HF_TOKEN/,
	],
	[
		"a revision that does not exist",
		serverStart(
			"huggingface_hub.errors.RevisionNotFoundError: 404 Client Error. (Request ID: Root=1-cc)\n\nRevision Not Found for url: https://huggingface.co/a/b/resolve/v9/config.json.",
		),
		/no such revision/,
		/--revision/,
	],
	[
		"no way to the Hub",
		serverStart(
			"urllib3.exceptions.NameResolutionError: Failed to resolve 'huggingface.co' ([Errno -3] Temporary failure in name resolution)",
			HANDLED,
			"huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the files on the Hub and we cannot find the appropriate snapshot folder.",
			CHAINED,
			"OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.",
		),
		/out of reach/,
		/HF_ENDPOINT/,
	],
	[
		"a directory without config.json",
		serverStart(
			"ValueError: Could not detect config format for no config file found. With config_format 'auto', ensure your model has either config.json (HF format) or params.json (Mistral format).",
			CHAINED,
			"ValueError: Invalid repository ID or local directory specified: '/models/qwen'.\nPlease verify the following requirements:",
		),
		/^\/models\/qwen holds no model that vLLM loads: config\.json is not in it/,
		/the directory that holds config\.json/,
	],
	[
		"an architecture that is too new",
		serverStart(
			pydantic(
				"ModelConfig",
				"  Value error, Model architectures ['Qwen9ForCausalLM'] are not supported for now. Supported architectures: dict_keys(['LlamaForCausalLM'])",
			),
		),
		/\(Qwen9ForCausalLM\)/,
		/newer image/,
	],
	[
		"an architecture that is too old",
		serverStart(
			pydantic(
				"ModelConfig",
				"  Value error, Model architecture PhantomForCausalLM was supported in vLLM until v0.24.0, and is not supported anymore. Please use an older version of vLLM",
			),
		),
		/no longer knows .*PhantomForCausalLM/,
		/vllm-openai:v0\.24\.0`/,
	],
	[
		"an architecture that can't be looked into, because of a package",
		[
			...banner,
			...record(
				"APIServer",
				"ERROR",
				"registry.py:1120",
				`Error in inspecting model architecture 'DeepSeekOCR9ForCausalLM'\n${traceback("model_executor/models/registry.py", "subprocess.CalledProcessError: Command '['/usr/bin/python3', '-m', 'vllm.model_executor.models.registry']' returned non-zero exit status 1.", CHAINED, "RuntimeError: Error raised in subprocess:\nTraceback (most recent call last):\n  File \"<frozen runpy>\", line 198, in _run_module_as_main\nImportError: cannot import name 'LlamaFlashAttention2' from 'transformers.models.llama.modeling_llama'")}`,
			),
			...serverStart(
				pydantic(
					"ModelConfig",
					"  Value error, Model architectures ['DeepSeekOCR9ForCausalLM'] failed to be inspected. Please check the logs for more details.",
				),
			).slice(1),
		],
		/cannot import name 'LlamaFlashAttention2'/,
		/image/,
	],
	[
		"code of the model's own",
		serverStart(
			pydantic(
				"ModelConfig",
				"  Value error, The repository moonshotai/Kimi contains custom code which must be executed to correctly load the model. You can inspect the repository content at https://hf.co/moonshotai/Kimi .\n You can inspect the repository content at https://hf.co/moonshotai/Kimi.\nPlease pass the argument `trust_remote_code=True` to allow custom code to be run.",
			),
		),
		/Python code of its own/,
		/--trust-remote-code/,
	],
	[
		"weights that are damaged",
		engineStart(
			"safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered",
		),
		/damaged or incomplete/,
		/cache_dir/,
	],
	[
		"weights that do not fit their config.json",
		workerStart(
			"ValueError: There is no module or parameter named 'model.layers.0.self_attn.indexer' in Qwen3ForCausalLM. The available parameters belonging to model are: {}",
		),
		/do not match what this vLLM builds.*indexer/,
		/newer image/,
	],
	[
		"no weights at all",
		engineStart("RuntimeError: Cannot find any model weights with `/models/empty`"),
		/\/models\/empty holds no weights/,
		/safetensors/,
	],
	[
		"a tokenizer that can't be loaded",
		serverStart(
			"ValueError: Couldn't instantiate the backend tokenizer from one of: (1) a `tokenizers` library serialization file",
		),
		/tokenizer of .* can't be loaded/,
		/--tokenizer/,
	],
	[
		"a package that the image lacks",
		engineStart("ModuleNotFoundError: No module named 'bitsandbytes'"),
		/lacks the Python package bitsandbytes/,
		/image/,
	],
];

const ARGUMENTS: FailedStart[] = [
	[
		"a length beyond the model's",
		serverStart(
			pydantic(
				"ModelConfig",
				"  Value error, User-specified max_model_len (65536) is greater than the derived max_model_len (max_position_embeddings=40960 or model_max_length=None in model's config.json). To allow overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1.",
			),
		),
		/asks for 65536 tokens, and the model itself takes 40960/,
		/^args: \["--max-model-len", "40960"\]$/,
	],
	[
		"a batch shorter than a context",
		serverStart(
			pydantic(
				"SchedulerConfig",
				"  Value error, max_num_batched_tokens (2048) is smaller than max_model_len (8192). This effectively limits the maximum sequence length",
			),
		),
		/\(2048\) is less than one context \(8192/,
		/"--max-num-batched-tokens", "8192"/,
	],
	[
		"blocks of a size that the CPU's attention has not",
		engineStart("ValueError: No common block size for 16 (CPU_ATTN: [MultipleOf(32)])."),
		/^--block-size 16 is none/,
		/a multiple of 32$/,
	],
	[
		"a sentence that nobody has explained yet, without its full stop",
		engineStart("ValueError: the moon is in the way."),
		/^ValueError: the moon is in the way$/,
		/log/,
	],
	[
		"a flag of another version",
		["vllm serve: error: unrecognized arguments: --no-such-flag"],
		/does not know --no-such-flag/,
		/`args`/,
		{ exitCode: 2 },
	],
	[
		"an adapter of too high a rank",
		[
			...banner,
			...record(
				"EngineCore",
				"ERROR",
				"core.py:1750",
				`Invocation of add_lora method failed\n${traceback("lora/worker_manager.py", "ValueError: LoRA rank 48 is greater than max_lora_rank 16.")}`,
			),
			...serverStart(
				"ValueError: Call to add_lora method failed: LoRA rank 48 is greater than max_lora_rank 16.",
			).slice(1),
		],
		/rank 48, and vLLM was started for ranks up to 16/,
		/"--max-lora-rank", "64"/,
	],
	[
		"an adapter that is not there",
		serverStart("ValueError: Loading lora sql failed: No adapter found for /adapters/sql"),
		/no adapter at \/adapters\/sql|adapter sql can't be loaded/,
		/--lora-modules/,
	],
	[
		"a mounted adapter that SELinux keeps from it",
		serverStart("PermissionError: [Errno 13] Permission denied: '/adapters/sql/adapter_config.json'"),
		/may not read \/adapters\/sql\/adapter_config\.json/,
		/"\/srv\/adapters:\/adapters:z"/,
	],
	[
		"a chat template that is not there",
		serverStart(
			"ValueError: The supplied chat template string (/templates/none.jinja) appears path-like, but doesn't exist! Tried: /templates/none.jinja",
		),
		/no chat template \/templates\/none\.jinja/,
		/--chat-template/,
	],
	[
		"a parser that does not exist",
		serverStart("KeyError: 'invalid tool call parser: hermes9 (chose from { deepseek_v3,hermes })'"),
		/no tool call parser hermes9/,
		/--tool-call-parser/,
	],
	[
		"another quantisation than the model's",
		serverStart(
			pydantic(
				"ModelConfig",
				"  Value error, Quantization method specified in the model config (awq) does not match the quantization method specified in the `quantization` argument (gptq).",
			),
		),
		/quantised by awq, and `args` ask for gptq/,
		/--quantization/,
	],
	[
		"a validation that no row knows",
		serverStart(pydantic("CacheConfig", "  Value error, prefix_match_unit must divide the block size")),
		/^CacheConfig: prefix_match_unit must divide the block size$/,
		/log/,
	],
	[
		"a field that is out of bounds",
		serverStart(
			"pydantic_core._pydantic_core.ValidationError: 1 validation error for ParallelConfig\ntensor_parallel_size\n  Input should be greater than or equal to 1 [type=greater_than_equal, input_value=0, input_type=int]\n    For further information visit https://errors.pydantic.dev/2.12/v/greater_than_equal",
		),
		/^ParallelConfig: tensor_parallel_size: Input should be greater than or equal to 1$/,
		/log/,
	],
	["a port that is taken", serverStart("OSError: [Errno 98] Address already in use"), /port is taken/, /next one/],
	[
		"memory of a CPU that vLLM would take whole",
		engineStart(
			"ValueError: Available memory on node 0 (20.1/31.2 GiB) on startup is less than desired CPU memory utilization (0.92, 28.7 GiB). On the CPU backend, the `--gpu-memory-utilization` flag controls the fraction of CPU memory reserved (despite its name).",
		),
		/may take 28\.7 GiB of the host's memory \(0\.92\), but 20\.1 GiB of 31\.2/,
		/`gpu_memory`/,
	],
	[
		"a KV cache that a CPU has no memory for",
		engineStart(
			"ValueError: Available memory on node 0 (6.0/31.2 GiB) on kv cache allocation is less than requested memory for kv (16.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other processes.",
		),
		/KV cache takes 16\.0 GiB of the host's memory, and 6\.0 GiB of 31\.2/,
		/`gpu_memory`/,
	],
];

describe("the root cause is shown:", () => {
	test.each([...FILES, ...ARGUMENTS])("%s", expectCause);
});
