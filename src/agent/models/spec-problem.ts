/** What a model may be called and made of: nothing that a shell, a path or a Docker flag could be made from. Pure. */

import { basename } from "node:path";
import { type Finding, pathText } from "../../config/config-error.ts";
import { cacheSizeProblem, limitProblem } from "../gpu/host-memory.ts";
import { adaptersProblems } from "../vllm/lora-modules.ts";
import { argsProblems, gpusPerReplica, isMig } from "../vllm/vllm-args.ts";
import { type Accelerator, BUILT_IN, isModelName, MAX_MODEL_NAME, type ModelSpec } from "./model-spec.ts";
import { modelMountProblem, mountsProblems } from "./mounts.ts";

/** `Qwen/Qwen3-8B`, `gpt2`, `unsloth/Qwen3-8B-GGUF:Q4_K_M`. */
const HUB_ID = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)?(?::[A-Za-z0-9][A-Za-z0-9._-]*)?$/;
const PATH = /^(?:\/[A-Za-z0-9_][A-Za-z0-9._ -]*)+$/;
/** A reference: host, path, tag, digest. */
const IMAGE = /^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/;
const VARIABLE = /^[A-Z][A-Z0-9_]*$/;
/** The CLI's own: from the agent's environment they would steer it, not the container. */
const AGENT_VARIABLES = /^(?:PATH|HOME|LD_|DOCKER_|CONTAINER|CONTAINERS_|XDG_|ROUTER_)/;
/** What calls of agents' models begin with. */
const ANY_LOCAL = "local";
/** What a name must be. */
const NAME_FORM = `letters, digits and . _ - in parts joined by / or :, no "..", at most ${MAX_MODEL_NAME}`;

const GIB = 1024 ** 3;

/** What decides about a model besides itself. */
interface SpecContext {
	/** A model that an API call names may not be a directory of this host, nor mount one: that would show it to the caller. */
	readonly from: "config" | "api";
	/** `agent.accelerator`. */
	readonly accelerator: "auto" | Accelerator;
}

const NO_MEMORY = "is nothing: write how much it takes, such as 8GiB, or leave it out";

/** Why a model is refused: a finding for each part that can't be used, with paths inside the model. None where it can. */
export function specProblems(spec: ModelSpec, { from, accelerator }: SpecContext): Finding[] {
	const { name, args = [], mounts = [], env = [] } = spec;
	const isApi = from === "api";
	const modelMessage = modelProblem(spec.model, isApi);
	const mountsMessage =
		isApi && mounts.length > 0 ? "files of this host can be named in the configuration only" : undefined;
	const isOnCpu = spec.gpus === 0 || accelerator === "cpu";
	const cacheProblem = isOnCpu ? cacheSizeProblem(spec) : undefined;
	return [
		...nameProblems(spec, modelMessage),
		...only("model", modelMessage),
		...only("memory", cacheProblem ? undefined : memoryProblem(spec, isOnCpu)),
		...only(
			"gpu_memory",
			spec.gpu_memory === 0 ? NO_MEMORY : cacheProblem && `${cacheProblem.reason}: ${cacheProblem.fix}`,
		),
		...only("image", imageProblem(spec.image)),
		...env.flatMap((variable, index) =>
			only("env", variableProblem(variable)).map((finding) => ({ ...finding, at: ["env", index] })),
		),
		...(mountsMessage === undefined ? mountsProblems(spec) : only("mounts", mountsMessage)),
		...only("devices", devicesProblem(spec)),
		...argsProblems(args),
		...adaptersProblems(name, args),
	];
}

/** The first of them, as `FIELD: reason`; undefined where there is none. */
export function specProblem(
	spec: ModelSpec,
	from: SpecContext["from"],
	accelerator: SpecContext["accelerator"] = "auto",
): string | undefined {
	const [first] = specProblems(spec, { from, accelerator });
	return first && `${pathText(first.path)}: ${first.message}`;
}

function only(field: keyof ModelSpec, message: string | undefined): Finding[] {
	return message === undefined ? [] : [{ path: [field], message }];
}

/** A model without a name of its own is called what it is, which of a directory is no name. */
function nameProblems({ name, model }: ModelSpec, modelMessage: string | undefined): Finding[] {
	if (name === BUILT_IN)
		return only("name", `"${BUILT_IN}" is the built-in model's, which no call passes by: choose another`);
	if (name === ANY_LOCAL || name.startsWith(`${ANY_LOCAL}/`)) {
		const message = `"${name}" would be another model's to callers ("${ANY_LOCAL}" is whichever is ready, "${ANY_LOCAL}/NAME" the model NAME): choose another`;
		return [{ path: ["name"], at: [name === model ? "model" : "name"], message }];
	}
	if (isModelName(name)) return [];
	if (name !== model) return only("name", `${shown(name)} is no name: ${NAME_FORM}`);
	const isDirectory = model.startsWith("/");
	if (!isDirectory && modelMessage !== undefined) return [];
	const last = basename(model);
	const example = isModelName(last) ? last : "my-model";
	const what = isDirectory ? "a directory" : "its id";
	const message = `is missing: ${what} can't be the name that callers use; write \`name: ${example}\` (--name ${example})`;
	return [{ path: ["name"], at: ["model"], message }];
}

function modelProblem(model: string, isApi: boolean): string | undefined {
	if (!model.startsWith("/")) {
		return isSafe(HUB_ID, model) ? undefined : `${shown(model)} is no Hugging Face id such as Qwen/Qwen3-8B`;
	}
	if (isApi) return "a directory of this host can be named in the configuration only";
	const unmountable = modelMountProblem(model);
	if (unmountable !== undefined) return `${shown(model)} ${unmountable}: name the directory with the model's own files`;
	return isSafe(PATH, model, 4096) ? undefined : `${shown(model)} is no absolute path of letters, digits and . _ -`;
}

/** The container's limit of the host's memory. */
function memoryProblem(spec: ModelSpec, isOnCpu: boolean): string | undefined {
	const problem = isOnCpu ? limitProblem(spec) : undefined;
	if (problem) return `${problem.reason}: ${problem.fix}`;
	return spec.memory !== undefined && spec.memory <= GIB ? "vLLM alone needs more than 1GiB" : undefined;
}

function imageProblem(image: string | undefined): string | undefined {
	return image === undefined || isSafe(IMAGE, image, 512) ? undefined : `${shown(image)} is no image name`;
}

function variableProblem(variable: string): string | undefined {
	if (!VARIABLE.test(variable)) {
		return `${shown(variable)} is no name of a variable; its value stays in the environment`;
	}
	return AGENT_VARIABLES.test(variable) ? `${variable} belongs to the agent and stays there` : undefined;
}

function devicesProblem(spec: ModelSpec): string | undefined {
	const { devices, gpus, replicas = 1 } = spec;
	if (!devices) return undefined;
	if (devices.length === 0) return "name at least one GPU, or leave it out";
	if (gpus === 0) return "names GPUs, while `gpus: 0` runs it on the CPU: leave one of the two out";
	if (new Set(devices).size !== devices.length) return "a GPU is named twice";
	const migs = devices.filter(isMig).length;
	if (migs > 0) return migProblem(spec, migs, devices.length);
	const each = gpus ?? devices.length / replicas;
	if (!Number.isInteger(each)) {
		return `${devices.length} GPUs can't be shared evenly by ${replicas} replicas; set \`gpus\``;
	}
	if (each > devices.length) return `names ${devices.length} GPUs, while \`gpus\` asks for ${each}`;
	const spanned = gpusPerReplica(spec);
	return spanned > devices.length ? `names ${devices.length} GPUs, while \`args\` ask for ${spanned}` : undefined;
}

/** No model spans MIG devices: they have no way to each other. */
function migProblem(spec: ModelSpec, migs: number, named: number): string | undefined {
	const { replicas = 1 } = spec;
	if (migs < named) return "names MIG devices beside GPUs: a model runs on one kind of them";
	if (gpusPerReplica(spec) > 1) return "names MIG devices, of which a replica can have one only: leave out `gpus`";
	return migs < replicas ? `names ${migs} MIG devices for ${replicas} replicas, each of which needs one` : undefined;
}

function isSafe(pattern: RegExp, text: string, longest = MAX_MODEL_NAME): boolean {
	return text.length <= longest && pattern.test(text) && !text.includes("..");
}

/** Quoted and cut: it may come from anyone. */
function shown(text: string): string {
	return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
