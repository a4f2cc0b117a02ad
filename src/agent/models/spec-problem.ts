/** What a model may be called and made of: nothing that a shell, a path or a Docker flag could be made from. Pure. */

import { adaptersProblem } from "../vllm/lora-modules.ts";
import { argsProblem } from "../vllm/vllm-args.ts";
import { isModelName, MAX_MODEL_NAME, type ModelSpec } from "./model-spec.ts";
import { mountsProblem } from "./mounts.ts";

/** `Qwen/Qwen3-8B`, `gpt2`, `unsloth/Qwen3-8B-GGUF:Q4_K_M`. */
const HUB_ID = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)?(?::[A-Za-z0-9][A-Za-z0-9._-]*)?$/;
const PATH = /^(?:\/[A-Za-z0-9_][A-Za-z0-9._ -]*)+$/;
/** A reference: host, path, tag, digest. */
const IMAGE = /^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/;
const VARIABLE = /^[A-Z][A-Z0-9_]*$/;
/** The CLI's own: from the agent's environment they would steer it, not the container. */
const AGENT_VARIABLES = /^(?:PATH|HOME|LD_|DOCKER_|CONTAINER|CONTAINERS_|XDG_|ROUTER_)/;
/** Least memory of a container, bytes. */
const MIN_MEMORY = 1024 ** 3;

/**
 * Why a model is refused, as `FIELD: reason`; undefined where it can. A model that an API call names may not be a
 * directory of this host: that would mount it.
 */
export function specProblem(spec: ModelSpec, from: "config" | "api"): string | undefined {
	const { name, model, gpus, devices, replicas = 1, image, memory, env = [], args = [], mounts = [] } = spec;
	if (!isModelName(name)) {
		return `name: ${shown(name)} is no name: letters, digits and . _ - in parts joined by / or :, no "..", at most ${MAX_MODEL_NAME}`;
	}
	if (model.startsWith("/")) {
		if (from === "api") return "model: a directory of this host can be named in the configuration only";
		if (!isSafe(PATH, model, 4096)) return `model: ${shown(model)} is no absolute path of letters, digits and . _ -`;
	} else if (!isSafe(HUB_ID, model)) {
		return `model: ${shown(model)} is no Hugging Face id such as Qwen/Qwen3-8B`;
	}
	if (memory !== undefined && memory < MIN_MEMORY) return "memory: vLLM alone needs more than 1GiB";
	if (image !== undefined && !isSafe(IMAGE, image, 512)) return `image: ${shown(image)} is no image name`;
	for (const variable of env) {
		if (!VARIABLE.test(variable))
			return `env: ${shown(variable)} is no name of a variable; its value stays in the environment`;
		if (AGENT_VARIABLES.test(variable)) return `env: ${variable} belongs to the agent and stays there`;
	}
	if (from === "api" && mounts.length > 0) return "mounts: files of this host can be named in the configuration only";
	const unmountable = mountsProblem(spec);
	if (unmountable) return unmountable;
	if (devices) {
		if (devices.length === 0) return "devices: name at least one GPU, or leave it out";
		if (new Set(devices).size !== devices.length) return "devices: a GPU is named twice";
		const each = gpus ?? devices.length / replicas;
		if (!Number.isInteger(each)) {
			return `devices: ${devices.length} GPUs can't be shared evenly by ${replicas} replicas; set \`gpus\``;
		}
		if (each > devices.length) return `devices: names ${devices.length} GPUs, while \`gpus\` asks for ${each}`;
	}
	return argsProblem(args) ?? adaptersProblem(name, args);
}

function isSafe(pattern: RegExp, text: string, longest = MAX_MODEL_NAME): boolean {
	return text.length <= longest && pattern.test(text) && !text.includes("..");
}

/** Quoted and cut: it may come from anyone. */
function shown(text: string): string {
	return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
