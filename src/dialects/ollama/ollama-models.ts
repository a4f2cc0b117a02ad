/** Models as Ollama's clients list them. What nobody knows of a model its name may say; what that does not say either is empty. */

/** A model, and what is known of it. */
export interface OllamaModel {
	readonly id: string;
	/** Unix time, s; 0 where nobody knows. */
	readonly created: number;
	/** Of a LoRA adapter: the model that it changes. */
	readonly parent?: string | undefined;
	/** Tokens of a prompt and its answer at most. */
	readonly context?: number | undefined;
	/** What it can't do. */
	readonly lacks?: readonly string[] | undefined;
}

/** The version of Ollama's API that is followed: clients look for a least one. */
export const OLLAMA_VERSION = "0.17.0";

/** What `/` says, by which clients know a server. */
export const OLLAMA_RUNNING = "Ollama is running";

const SIZE = /(?:^|[-_:/.])(\d+(?:\.\d+)?(?:x\d+(?:\.\d+)?)?[bm])(?![a-z0-9])/i;
const QUANTIZATION =
	/(?:^|[-_:/.])(i?q\d(?:_[a-z0-9]+)*|awq|gptq|fp8|fp4|nvfp4|mxfp4|bf16|fp16|f16|int4|int8|w\da\d+|\dbit)(?![a-z0-9])/i;
const FAMILY = /^[a-z]+(?:\d+(?:\.\d+)?)?/i;

const lastPart = (id: string): string => id.slice(id.lastIndexOf("/") + 1);

/** The family of models that a name is of: `qwen3` of `local/Qwen/Qwen3-8B-AWQ`. */
const familyOf = (id: string): string => FAMILY.exec(lastPart(id))?.[0].toLowerCase() ?? "";

/** `details`. */
function detailsOf({ id, parent = "" }: OllamaModel) {
	const name = lastPart(id);
	const family = familyOf(id);
	return {
		parent_model: parent,
		format: "",
		family,
		families: family === "" ? [] : [family],
		parameter_size: SIZE.exec(name)?.[1]?.toUpperCase() ?? "",
		quantization_level: QUANTIZATION.exec(name)?.[1]?.toUpperCase() ?? "",
	};
}

const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString();

/** Clients show the first twelve of its digits; the bytes of the model nobody here has, so that it is its name's. */
const digestOf = (id: string): string => new Bun.SHA256().update(id).digest("hex");

/** A model of `GET /api/tags`. */
export function taggedModel(model: OllamaModel) {
	const { id, created } = model;
	return {
		name: id,
		model: id,
		modified_at: timeOf(created),
		size: 0,
		digest: digestOf(id),
		details: detailsOf(model),
	};
}

/** Models stay where they are; a time within what every client's calendar can hold. */
const NEVER = "2099-12-31T00:00:00Z";

/** A model of `GET /api/ps`. */
export function runningModel(model: OllamaModel) {
	const { modified_at, ...tagged } = taggedModel(model);
	return {
		...tagged,
		expires_at: NEVER,
		size_vram: 0,
		...(model.context === undefined ? {} : { context_length: model.context }),
	};
}

const EMBEDS = /embed|(?:^|[-_/])(?:bge|gte|e5|minilm)(?:[-_]|$)/i;
const SEES =
	/(?:^|[-_/.\d])(?:vl|vision)(?:[-_:.]|$)|llava|pixtral|gemma-?[34]|llama-?4|gpt-4o|gpt-4\.1|gpt-5|claude|gemini/i;
const THINKS =
	/think|reason|qwq|qwen-?3|deepseek-?(?:r1|v3\.[1-9])|gpt-oss|gpt-5|(?:^|[/:_-])o\d|claude-.*[4-9]|gemini-(?:2\.5|[3-9])|magistral|grok-[3-9]|glm-?[45]/i;

/** What a model can do: what its server or the configuration says that it lacks it can't; what is not said its name tells. */
export function capabilitiesOf({ id, lacks = [] }: OllamaModel): string[] {
	const name = lastPart(id);
	if (EMBEDS.test(name)) return ["embedding"];
	return [
		"completion",
		...(lacks.includes("tools") ? [] : ["tools"]),
		...(SEES.test(name) && !lacks.includes("images") ? ["vision"] : []),
		...(THINKS.test(name) ? ["thinking"] : []),
	];
}

/** The answer of `POST /api/show`. */
export function shownModel(model: OllamaModel) {
	const { id, created, context } = model;
	const family = familyOf(id) || "unknown";
	return {
		license: "",
		modelfile: `FROM ${id}\n`,
		parameters: "",
		template: "",
		details: detailsOf(model),
		model_info: {
			"general.architecture": family,
			"general.basename": id,
			...(context === undefined ? {} : { [`${family}.context_length`]: context }),
		},
		capabilities: capabilitiesOf(model),
		modified_at: timeOf(created),
	};
}
