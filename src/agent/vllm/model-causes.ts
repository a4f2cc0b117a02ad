/** Causes on the side of the model: where it comes from, its files, and the arguments it is served with. Pure data. */
import { type Cause, paste } from "./cause.ts";

const NEWER_IMAGE =
	"name a newer image by `agent.image` or the model's `image`: `vllm/vllm-openai:latest` is the newest";
/** What `--max-lora-rank` takes. */
const LORA_RANKS = [8, 16, 32, 64, 128, 256, 320, 512];

/** The more exact come first. */
export const MODEL_CAUSES: readonly Cause[] = [
	{
		pattern: /User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \((?:[a-z_]+=)?(\d+)/i,
		explain: ([, asked, most]) => ({
			reason: `--max-model-len asks for ${asked} tokens, and the model itself takes ${most}`,
			fix: paste("--max-model-len", most!),
		}),
	},
	{
		pattern: /max_num_batched_tokens \((\d+)\) is smaller than max_model_len \((\d+)\)/i,
		explain: ([, batch, length]) => ({
			reason: `--max-num-batched-tokens (${batch}) is less than one context (${length} tokens)`,
			fix: paste("--max-num-batched-tokens", length!),
		}),
	},
	{
		pattern: /No common block size for (\d+) \((?:.*?MultipleOf\((\d+)\))?/i,
		explain: ([, size, multiple]) => ({
			reason: `--block-size ${size} is none that this model's attention takes here`,
			fix: multiple ? `leave it out of \`args\`, or take a multiple of ${multiple}` : "leave it out of `args`",
		}),
	},
	{
		pattern:
			/(?:Model architectures \[([^\]]*)\] (?:are not supported for now|failed to be inspected))|(?:model type `([^`]+)` but Transformers does not recognize this architecture)/i,
		explain: ([, architectures, type]) => ({
			reason: `this vLLM does not know the model's architecture (${(architectures ?? type ?? "").replaceAll("'", "")})`,
			fix: NEWER_IMAGE,
		}),
	},
	{
		pattern: /Model architecture (\S+) (?:was supported in vLLM until (v[\d.]+)|is not supported in-tree)/i,
		explain: ([, architecture, last]) => ({
			reason: `this vLLM no longer knows the model's architecture (${architecture})`,
			fix: last
				? `set the model's \`image: vllm/vllm-openai:${last.replace(/\.$/, "")}\`, the last that does`
				: "an image with vLLM's plugin for it is needed: set the model's `image`",
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
		pattern: /Invalid (?:credentials in Authorization header|user token)|Invalid username or password/i,
		explain: () => ({
			reason: "Hugging Face does not know HF_TOKEN",
			fix: "set HF_TOKEN in the agent's environment to a valid token (https://huggingface.co/settings/tokens), or unset it for public models",
		}),
	},
	{
		pattern: /429 Client Error|Too Many Requests for url/i,
		explain: () => ({
			reason: "Hugging Face refuses more downloads for now (rate limit)",
			fix: "set HF_TOKEN in the agent's environment: it raises the limit; or set HF_ENDPOINT to a mirror",
		}),
	},
	{
		pattern: /RevisionNotFoundError|is not a valid git identifier/i,
		explain: () => ({
			reason: "the model's repository has no such revision",
			fix: "correct `--revision` in the model's `args`",
		}),
	},
	{
		pattern:
			/(?:local directory specified|Repo id must be[^:]*): ?'(\/[^']*)'|(\/\S+) does not appear to have a file named (\S+)/i,
		explain: ([, directory, other, file]) => ({
			reason: `${directory ?? other} holds no model that vLLM loads: ${file ?? "config.json"} is not in it`,
			fix: "`model` must name the directory that holds config.json and the weights themselves, not one above it",
		}),
	},
	{
		pattern: /Could not detect config format for no config file found|does not appear to have a file named (\S+)/i,
		explain: ([, file], { lines }) => ({
			reason: `${modelOf(lines)} has no ${file ?? "config.json"}: vLLM can't load it`,
			fix: "check that `model` names the repository with the weights; a GGUF file is named as `ORGANISATION/NAME:QUANTISATION`",
		}),
	},
	{
		pattern:
			/401 Client Error|403 Client Error|404 Client Error|RepositoryNotFoundError|is not a valid model identifier|Repository Not Found|Invalid repository ID or local directory/i,
		explain: (_, { lines }) => ({
			reason: `Hugging Face knows no ${modelOf(lines)}, or shows it to its owner alone`,
			fix: "check the spelling of `model` (ORGANISATION/NAME); for a private one set HF_TOKEN in the agent's environment",
		}),
	},
	{
		pattern:
			/LocalEntryNotFoundError|couldn't connect to ['"]?(https?:\/\/[^\s'"]+)|Max retries exceeded with url|Name or service not known|Temporary failure in name resolution|OfflineModeIsEnabled|Cannot reach https?:/i,
		explain: ([, url]) => ({
			reason: `the model can't be downloaded: ${url ?? "Hugging Face"} is out of reach from the container`,
			fix: "check the host's network and proxy, set HF_ENDPOINT to a mirror, or fill `agent.cache_dir` beforehand",
		}),
	},
	{
		pattern:
			/SafetensorError|Error while deserializing header|MetadataIncompleteBuffer|HeaderTooLarge|PytorchStreamReader failed/i,
		explain: ([found], { lines }) => ({
			reason: `a file of the weights is damaged or incomplete (${found}${fileIn(lines)})`,
			fix: "remove the model from `agent.cache_dir` (hub/models--ORGANISATION--NAME) so that it is downloaded again; in a directory of your own look for files of a few hundred bytes, which are Git LFS pointers",
		}),
	},
	{
		pattern: /Cannot find any (?:safetensors )?model weights with [`'"]?([^`'"\s]+)/i,
		explain: ([, model]) => ({
			reason: `${model} holds no weights that vLLM loads`,
			fix: "it needs *.safetensors (or *.bin, *.pt) files; a GGUF file is named as `ORGANISATION/NAME:QUANTISATION`",
		}),
	},
	{
		pattern:
			/There is no module or parameter named '?([^\s']+)|weights were not initialized from checkpoint: (.{0,80})|(size mismatch for \S+)|Attempted to load weight \(.{0,80}\) into parameter/i,
		explain: ([line]) => ({
			reason: `the weights do not match what this vLLM builds from config.json: ${line}`,
			fix: `${NEWER_IMAGE}; a quantised model may need its own \`--quantization\` in \`args\``,
		}),
	},
	{
		pattern: /trust_remote_code=True|contains custom code which must be executed|--trust-remote-code/i,
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
		pattern:
			/(Weight input_size_per_partition.{0,80}? is not divisible by \S+|(?:input|output)_size_per_partition ?= ?\d+ is not divisible by[^.]{0,60}|^AssertionError: \d+ is not divisible by \d+)/i,
		explain: ([, line]) => ({
			reason: `the model's layers can't be shared evenly by its GPUs: ${line!.replace("AssertionError: ", "")}`,
			fix: "set fewer `gpus`, or add `--enable-expert-parallel` to the `args` of a mixture of experts",
		}),
	},
	{
		pattern: /LoRA rank (\d+) is greater than max_lora_rank (\d+)/i,
		explain: ([, rank, most]) => {
			const enough = LORA_RANKS.find((each) => each >= Number(rank));
			return {
				reason: `an adapter has rank ${rank}, and vLLM was started for ranks up to ${most}`,
				fix: enough
					? paste("--max-lora-rank", String(enough))
					: `vLLM takes ranks up to ${LORA_RANKS.at(-1)}: merge the adapter into its model`,
			};
		},
	},
	{
		pattern: /(?:Loading lora|LoRA adapter) (\S+) failed: (.+)|No adapter found for (\S+)/i,
		explain: ([, name, why, missing]) => ({
			reason: missing ? `there is no adapter at ${missing}` : `the adapter ${name} can't be loaded: ${why}`,
			fix: "correct the path in `--lora-modules`: it is that in the container, where the model's `mounts` puts it",
		}),
	},
	{
		pattern: /supplied chat template(?: string| path)?(?: \((?:'|")?([^'")]+)(?:'|")?\))?/i,
		explain: ([, path]) => ({
			reason: `there is no chat template${path ? ` ${path}` : ""} in the container`,
			fix: "correct the path of `--chat-template` in the model's `args`: it is that in the container, where the model's `mounts` puts it",
		}),
	},
	{
		// The image's user is root: that it may not read a file is SELinux, or a file system that takes root for nobody.
		pattern: /Permission denied: ['"](\/(?!root\/\.cache\/)[^'"]+)/i,
		explain: ([, path]) => ({
			reason: `vLLM may not read ${path} in its container`,
			fix: 'under SELinux write `:z` behind the mount (`mounts: ["/srv/adapters:/adapters:z"]`); else let all read it on the host (`chmod -R a+rX`)',
		}),
	},
	{
		pattern: /invalid (tool call|reasoning) parser: (\S+)/i,
		explain: ([, kind, name]) => ({
			reason: `this vLLM has no ${kind} parser ${name}`,
			fix: `correct \`--${kind === "reasoning" ? "reasoning" : "tool-call"}-parser\` in the model's \`args\`; \`vllm serve --help\` in its image lists them`,
		}),
	},
	{
		pattern: /Quantization method specified in the model config \((\S+)\) does not match.*?argument \((\S+)\)/i,
		explain: ([, own, asked]) => ({
			reason: `the model is quantised by ${own}, and \`args\` ask for ${asked}`,
			fix: "leave `--quantization` out of the model's `args`",
		}),
	},
	{
		pattern: /Unknown quantization method: ([^.\s]+)/i,
		explain: ([, method]) => ({ reason: `this vLLM knows no quantisation ${method}`, fix: NEWER_IMAGE }),
	},
	{
		pattern: /(\S+) is not supported for quantization method (\S+?)\. Supported dtypes: \[([^\]]*)\]/i,
		explain: ([, dtype, method, dtypes]) => ({
			reason: `${method} does not work with ${dtype}`,
			fix: paste("--dtype", dtypes?.includes("float16") ? "half" : "bfloat16"),
		}),
	},
	{
		pattern:
			/Can't load (?:the )?tokenizer|Couldn't instantiate the backend tokenizer|Unable to load vocabulary|Error parsing .*tokenizer/i,
		explain: (_, { lines }) => ({
			reason: `the tokenizer of ${modelOf(lines)} can't be loaded`,
			fix: "its files are missing or need another library: name the repository of the original model by `--tokenizer` in `args`",
		}),
	},
	{
		pattern: /Could not find nvcc|nvcc.*not found|ninja: build stopped/i,
		explain: () => ({
			reason: "vLLM had to compile a kernel in its container and could not",
			fix: "set VLLM_USE_FLASHINFER_SAMPLER=0 in the agent's environment and list it in the model's `env`, or take another image",
		}),
	},
	{
		pattern: /Sleep mode is not supported on current platform|cumem allocator is not supported/i,
		explain: () => ({ reason: "this host's vLLM can't sleep", fix: "set `agent.sleep: false`" }),
	},
	{
		pattern: /^(?:ModuleNotFoundError|ImportError): (?:No module named '([^']+)'|(.{1,120}?)(?:\.|$))/,
		explain: ([, name, words]) => ({
			reason: name ? `its image lacks the Python package ${name}` : `a package of its image does not work: ${words}`,
			fix: "take an image with it (`image`), built upon vLLM's: `RUN uv pip install --system PACKAGE`",
		}),
	},
];

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

/** `, model-00002-of-00004.safetensors` where the lines name one. */
function fileIn(lines: readonly string[]): string {
	const file = lines.map((line) => /([\w.-]+\.(?:safetensors|bin|pt))\b/.exec(line)?.[1]).findLast(Boolean);
	return file ? `, ${file}` : "";
}
