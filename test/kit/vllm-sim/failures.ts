/**
 * How a start fails, in vLLM's own lines. The engine's failures come with its traceback, and end with the server's
 * own error, which says nothing: a reader has to look above it.
 */
import { api, err, line, say } from "./log.ts";
import type { Model } from "./model.ts";
import type { Failure } from "./switches.ts";

/** Says why, and returns the exit code. `free`: part of a GPU's memory that others left. */
export function fail(failure: Failure, model: Model, gpuGib: number, free = 0.3): number {
	const { root, maxLength, bytesPerToken } = model;
	const total = gpuGib * 0.99;
	const needed = (maxLength * bytesPerToken) / 2 ** 30;
	const available = model.kvGib < needed ? model.kvGib : needed * 0.66;
	const possible = Math.floor((available * 2 ** 30) / bytesPerToken / 16) * 16;
	const repo = `https://huggingface.co/${root}/resolve/main/config.json`;
	switch (failure) {
		case "gpu-memory-taken":
			return engineFailed(
				`ValueError: Free memory on device (${(total * free).toFixed(2)}/${total.toFixed(2)} GiB) on startup is less than desired GPU memory utilization (${model.utilization}, ${(total * model.utilization).toFixed(2)} GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.`,
				"gpu_worker.py",
			);
		case "kv-cache-too-small":
			return engineFailed(
				`ValueError: To serve at least one request with the models's max seq len (${maxLength}), (${needed.toFixed(2)} GiB KV cache is needed, which is larger than the available KV cache memory (${available.toFixed(2)} GiB). Based on the available memory, the estimated maximum model length is ${possible}. Try increasing \`gpu_memory_utilization\` or decreasing \`max_model_len\` when initializing the engine.`,
				"kv_cache_utils.py",
			);
		case "no-cache-memory":
			return engineFailed(
				"ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
				"kv_cache_utils.py",
			);
		case "cuda-oom":
			return engineFailed(
				`torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total capacity of ${total.toFixed(2)} GiB of which 561.94 MiB is free. Including non-PyTorch memory, this process has ${(total - 0.6).toFixed(2)} GiB memory in use. Of the allocated memory ${(total - 1.1).toFixed(2)} GiB is allocated by PyTorch, and 91.10 MiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)`,
				"default_loader.py",
			);
		case "unsupported":
			return serverFailed(
				"pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, Model architectures ['FutureForCausalLM'] are not supported for now. Supported architectures: dict_keys(['LlamaForCausalLM', 'MistralForCausalLM', 'Qwen2ForCausalLM', 'Qwen3ForCausalLM'])",
			);
		case "not-inspected":
			return serverFailed(
				"pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, Model architectures ['FutureForCausalLM'] failed to be inspected. Please check the logs for more details.",
			);
		case "no-device":
			return serverFailed(
				"RuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.",
			);
		case "gated":
			return serverFailed(
				`huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-68f0-sim)\n\nCannot access gated repo for url ${repo}.\nAccess to model ${root} is restricted. You must have access to it and be authenticated to access it. Please log in.`,
				`OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/${root}.\n401 Client Error. (Request ID: Root=1-68f0-sim)`,
			);
		case "unauthorized":
			return serverFailed(
				`huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: ${repo} (Request ID: Root=1-68f0-sim)\n\nInvalid credentials in Authorization header`,
			);
		case "unknown-model":
			return serverFailed(
				`huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1-68f0-sim)\n\nRepository Not Found for url: ${repo}.\nPlease make sure you specified the correct \`repo_id\` and \`repo_type\`.`,
				`OSError: ${root} is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'\nIf this is a private repository, make sure to pass a token having permission to this repo either by logging in with \`hf auth login\` or by passing \`token=<your_token>\``,
			);
		case "port-taken":
			return portTaken(8000);
		case "traceback":
			return engineFailed("RuntimeError: CUDA error: an illegal instruction was encountered", "gpu_model_runner.py");
	}
}

/** The address is in use. */
export function portTaken(port: number): number {
	return serverFailed(
		`OSError: [Errno 98] error while attempting to bind on address ('0.0.0.0', ${port}): address already in use`,
	);
}

/** A Python traceback that ends in these errors, one the cause of the next. */
const traceback = (file: string, errors: readonly string[]) =>
	errors
		.map(
			(error) =>
				`Traceback (most recent call last):\n  File "/usr/local/lib/python3.12/dist-packages/vllm/${file}", line 704, in run\n${error}`,
		)
		.join("\n\nThe above exception was the direct cause of the following exception:\n\n");

function engineFailed(error: string, file: string): number {
	const trace = traceback(`v1/${file}`, [error]);
	say(line("EngineCore", "ERROR", "core.py:842", `EngineCore failed to start.\n${trace}`));
	err(`(EngineCore_DP0 pid=97) Process EngineCore_DP0:\n${trace.replace(/^/gm, "(EngineCore_DP0 pid=97) ")}`);
	return serverFailed("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}");
}

/** Says why a server can't go on with what it was started with, and returns the exit code. */
export function serverFailed(...errors: string[]): number {
	err(traceback("entrypoints/openai/api_server.py", errors).replace(/^/gm, "(APIServer pid=1) "));
	return 1;
}

/** Said by a server whose engine has died under it. */
export function sayEngineDied(): void {
	const error = "RuntimeError: CUDA error: an illegal memory access was encountered";
	say(
		line(
			"EngineCore",
			"ERROR",
			"core.py:851",
			`EngineCore encountered a fatal error.\n${traceback("v1/engine/core.py", [error])}`,
		),
	);
	say(
		line(
			"APIServer",
			"ERROR",
			"async_llm.py:525",
			`AsyncLLM output_handler failed.\n${traceback("v1/engine/async_llm.py", ["vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."])}`,
		),
	);
	api(
		"launcher.py:110",
		"port 8000 is used by process psutil.Process(pid=1, name='vllm', status='running') launched with command:",
	);
}
