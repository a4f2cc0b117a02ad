/** Lines of vLLM's log that name a cause, each with what it means and what to do. Pure data. */
import type { GpuProcess } from "../gpu/gpu.ts";
import type { Problem } from "../problem.ts";
import { pinnedImage } from "./vllm-image.ts";

/** What is known besides the log. */
export interface Circumstances {
	/** Of the container's end. */
	readonly exitCode?: number;
	/** Whether the kernel killed it for want of memory, by the engine's record. */
	readonly oomKilled?: boolean;
	/** Other processes that hold memory of its GPUs: named where they are the reason. */
	readonly holders?: readonly GpuProcess[];
}

interface Cause {
	/** Tried on one line, freed of vLLM's prefixes. */
	readonly pattern: RegExp;
	readonly explain: (found: RegExpExecArray, log: Circumstances & { readonly lines: readonly string[] }) => Problem;
}

const GIB = 1024 ** 3;
const SMALLER =
	"lower `--max-model-len` in the model's `args`, give it more `gpu_memory`, spread it over more `gpus`, or take a smaller or quantised model";

/** Ready to paste into the configuration. */
const paste = (...args: string[]) => `args: ${JSON.stringify(args).replaceAll(",", ", ")}`;

/** The first that matches is the reason: the more exact come first. */
export const CAUSES: readonly Cause[] = [
	{
		pattern:
			/max seq len \((\d+)\), \(?([\d.]+) Gi?B KV cache is ?needed, which is larger than the available KV cache memory \(([\d.]+) Gi?B\)(?:.*?estimated maximum model length is (\d+))?/i,
		explain: ([, length, needed, available, estimate]) => {
			// Older versions print no estimate: the cache grows with the length.
			const fits = Number(estimate ?? Math.floor((Number(length) * Number(available)) / Number(needed) / 16) * 16);
			return {
				reason: `a context of ${length} tokens needs ${gib(needed)} of KV cache, and ${gib(available)} are left beside the weights`,
				fix: fits >= 1 ? `${paste("--max-model-len", String(fits))}, or more \`gpu_memory\`` : SMALLER,
			};
		},
	},
	{
		pattern:
			/max seq len \((\d+)\) is larger than the maximum number of tokens that can be stored in KV cache \((\d+)\)/i,
		explain: ([, length, fits]) => ({
			reason: `a context of ${length} tokens does not fit: the KV cache holds ${fits}`,
			fix: `${paste("--max-model-len", fits!)}, or more \`gpu_memory\``,
		}),
	},
	{
		pattern:
			/Free memory on device ?(?:cuda:\d+)? ?\(([\d.]+)\/([\d.]+) GiB\) on startup is less than desired GPU memory utilization \(([\d.]+), ([\d.]+) GiB\)/i,
		explain: ([, free, total, share, wanted], { holders = [] }) => {
			const users = holders.map(({ name, pid, memory }) => `${name} (pid ${pid}) holds ${gib(memory / GIB)}`);
			const others = Number(total) - Number(free);
			return {
				reason: `the model may take ${gib(wanted)} of the GPU (${share}), but ${gib(free)} of ${total} are free: ${
					users.length > 0 ? users.join(", ") : `other processes hold ${gib(others)}`
				}`,
				fix: `stop them (\`nvidia-smi\` lists them), or set the model's \`gpu_memory: ${(Math.floor(Number(free) * 10) / 10).toFixed(1)}GiB\``,
			};
		},
	},
	{
		pattern: /No available memory for the cache blocks/i,
		explain: () => ({
			reason: "the weights fill the model's share of the GPU, so nothing is left for the KV cache",
			fix: SMALLER,
		}),
	},
	{
		pattern:
			/(?:CUDA|HIP) out of memory\.?(?: Tried to allocate ([\d.]+ \w+))?(?:.*?total capacity of ([\d.]+ \w+))?(?:.*?of which ([\d.]+ \w+) is free)?/i,
		explain: ([, wanted, total, free]) => ({
			reason: `the GPU's memory ran out${wanted ? ` when ${wanted} more were asked for` : ""}${
				free && total ? ` (${free} of ${total} were free)` : ""
			}`,
			fix: SMALLER,
		}),
	},
	{
		pattern: /Error in memory profiling|memory profiling.*other processes/i,
		explain: () => ({
			reason: "another process gave up or took GPU memory while vLLM measured it",
			fix: "nothing: the agent starts it again. If it stays so, start the other process first",
		}),
	},
	{
		pattern: /User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \((?:[a-z_]+=)?(\d+)/i,
		explain: ([, asked, most]) => ({
			reason: `--max-model-len asks for ${asked} tokens, and the model itself takes ${most}`,
			fix: paste("--max-model-len", most!),
		}),
	},
	{
		pattern:
			/(?:Model architectures \[([^\]]*)\] (?:are not supported for now|failed to be inspected))|(?:model type `([^`]+)` but Transformers does not recognize this architecture)/i,
		explain: ([, architectures, type]) => ({
			reason: `this vLLM does not know the model's architecture (${(architectures ?? type ?? "").replaceAll("'", "")})`,
			fix: "name a newer image by `agent.image` or the model's `image`: `vllm/vllm-openai:latest` is the newest",
		}),
	},
	{
		pattern:
			/NVIDIA driver on your system is too old(?: \(found version (\d+)\))?|CUDA driver version is insufficient|unsatisfied condition: cuda/i,
		explain: () => ({
			reason: "the host's NVIDIA driver is older than the image's CUDA",
			fix: `install driver 580 or newer, or set \`agent.image: ${pinnedImage("nvidia", "570")}\``,
		}),
	},
	{
		pattern:
			/Bfloat16 is only supported on GPUs with compute capability|no kernel image is available for execution on the device|quantization method \S+ is not supported for the current GPU/i,
		explain: ([line]) => ({
			reason: `the GPU is too old for what was asked of it: ${line}`,
			fix: /bfloat16/i.test(line) ? paste("--dtype", "half") : "take another quantisation of the model, or a newer GPU",
		}),
	},
	{
		pattern: /Failed to infer device type|No CUDA GPUs are available|libcuda\.so\.1: cannot open/i,
		explain: () => ({
			reason: "vLLM sees no GPU in its container",
			fix: "install the NVIDIA Container Toolkit (`sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker`) and see that `docker run --rm --gpus all ubuntu nvidia-smi` lists it; for a host without one set the model's `gpus: 0`",
		}),
	},
	{
		pattern: /gated repo|GatedRepoError|Access to model (\S+) is restricted/i,
		explain: (_, { lines }) => ({
			reason: `${modelOf(lines)} is gated: Hugging Face gives it only to those who accepted its licence`,
			fix: `accept it at https://huggingface.co/${modelOf(lines, "MODEL")}, then set HF_TOKEN in the agent's environment to a token of that account`,
		}),
	},
	{
		pattern:
			/401 Client Error|403 Client Error|RepositoryNotFoundError|is not a valid model identifier|Repository Not Found|Invalid repository ID or local directory/i,
		explain: (_, { lines }) => ({
			reason: `Hugging Face knows no ${modelOf(lines)}, or shows it to its owner alone`,
			fix: "check the spelling of `model` (ORGANISATION/NAME); for a private one set HF_TOKEN in the agent's environment",
		}),
	},
	{
		pattern: /No space left on device/i,
		explain: () => ({
			reason: "the disk with the model cache is full",
			fix: "`du -sh` on `agent.cache_dir` shows the models in it; remove some, or move it to a larger disk",
		}),
	},
	{
		pattern: /trust_remote_code=True|contains custom code which must be executed/i,
		explain: () => ({
			reason: "the model brings Python code of its own, which vLLM runs only when told to",
			fix: `read that code; if you trust it: ${paste("--trust-remote-code")}`,
		}),
	},
	{
		pattern: /error: (?:unrecognized arguments: (.+)|argument (\S+): (.+))/i,
		explain: ([, unknown, argument, why]) => ({
			reason: unknown ? `vLLM does not know ${unknown}` : `vLLM does not take ${argument}: ${why}`,
			fix: "correct the model's `args`; its image may be another version of vLLM than they are for",
		}),
	},
	{
		pattern: /(?:attention heads \((\d+)\)|(\d+) attention heads).*divisible by tensor parallel size \((\d+)\)/i,
		explain: ([, heads, others, gpus]) => ({
			reason: `the model's ${heads ?? others} attention heads can't be shared evenly by ${gpus} GPUs`,
			fix: "set `gpus` to a number that divides them: 1, 2, 4 or 8",
		}),
	},
	{
		pattern: /port is already allocated|\[?Errno 98\]?|address already in use/i,
		explain: () => ({
			reason: "its port is taken by another program",
			fix: "nothing: the agent tries the next one",
		}),
	},
	{
		pattern: /NCCL error|ncclUnhandledCudaError|ncclSystemError/i,
		explain: ([line]) => ({
			reason: `the GPUs can't talk to each other: ${line}`,
			fix: "set NCCL_DEBUG=INFO and list it in the model's `env` to see why; without NVLink or peer access NCCL_P2P_DISABLE=1 helps",
		}),
	},
	{
		pattern:
			/LocalEntryNotFoundError|couldn't connect to ['"]?(https?:\/\/[^\s'"]+)|Max retries exceeded with url|Name or service not known|Temporary failure in name resolution/i,
		explain: ([, url]) => ({
			reason: `the model can't be downloaded: ${url ?? "Hugging Face"} is out of reach from the container`,
			fix: "check the host's network and proxy, set HF_ENDPOINT to a mirror, or fill `agent.cache_dir` beforehand",
		}),
	},
];

/** `2` and `21.67` → `2.0 GiB` and `21.7 GiB`. */
function gib(amount: string | number | undefined): string {
	return `${Number(amount).toFixed(1)} GiB`;
}

/** The model that the lines name. */
function modelOf(lines: readonly string[], otherwise = "the model"): string {
	for (const line of lines) {
		const [, name] =
			/(?:Access to model|https?:\/\/[^/\s]+\/(?:api\/models\/)?|^|\s)['"]?([\w.-]+\/[\w.-]+?)['"]?(?:\/resolve\/| is (?:restricted|not a))/.exec(
				line,
			) ?? [];
		if (name) return name;
	}
	return otherwise;
}
