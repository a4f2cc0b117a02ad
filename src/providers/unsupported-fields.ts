/**
 * What becomes of a field that a target has no form for: refused by name, so that the next target is tried, or left out, and its client told so.
 * By the call's dialect, unless `unsupported:` of the model or of the provider says it.
 */
import type { UnsupportedPolicy } from "../config/upstream-schema.ts";
import type { Call } from "../openai/call.ts";
import { unsupported } from "../openai/chat.ts";
import type { EncodeOptions } from "./provider.ts";
import type { Upstream } from "./registry.ts";

/** By dialect; `others` are those that are not named. */
interface Defaults {
	readonly "openai-chat": UnsupportedPolicy;
	readonly others: UnsupportedPolicy;
}

/** OpenAI's clients set what they mean; those of other wires send such fields with every call. */
const TUNING: Defaults = { "openai-chat": "refuse", others: "drop" };

/**
 * The fields that may be left out: they tune how an answer is made, and without them there is one of the same kind. All others are refused
 * whatever is configured, since without them the client gets something else than it reads for: `n` (fewer answers), `logprobs` and `top_logprobs`
 * (numbers that are not there), `modalities` and `audio` (no sound), `web_search_options` (no search), `functions` (no calls), `store`
 * (nothing kept), `service_tier` (another price), `stop` (text behind the stop), `response_format`, and every field that nobody here knows.
 */
const DROPPABLE: Readonly<Record<string, Defaults>> = {
	seed: TUNING,
	frequency_penalty: TUNING,
	presence_penalty: TUNING,
	repetition_penalty: TUNING,
	// Tokens of another model's vocabulary.
	logit_bias: TUNING,
	temperature: TUNING,
	top_p: TUNING,
	top_k: TUNING,
	min_p: TUNING,
	typical_p: TUNING,
	top_a: TUNING,
	// How long answers are, and how hard they are thought about, is the model's to choose without them.
	verbosity: TUNING,
	reasoning_effort: TUNING,
	// Of every tool: calls mostly fit their schema without it, too.
	"tools.strict": TUNING,
};

/** What decides about a call's fields. */
export interface UnsupportedTerms {
	/** The dialect's id; undefined where the call has none of its own. */
	readonly dialect?: string | undefined;
	/** Of `models:`, which goes before the provider's. */
	readonly model?: UnsupportedPolicy | undefined;
	/** Of `providers:`. */
	readonly provider?: UnsupportedPolicy | undefined;
}

/** The fields of one call that its target has no form for. */
export class UnsupportedFields {
	readonly #dropped: string[];

	/** @param leftOut what the call's form in OpenAI's words has left out already */
	constructor(
		private readonly terms: UnsupportedTerms = CHAT,
		leftOut: readonly string[] = [],
	) {
		this.#dropped = [...leftOut];
	}

	/** Those that were left out, each once; undefined where there are none. */
	get dropped(): readonly string[] | undefined {
		return this.#dropped.length > 0 ? this.#dropped : undefined;
	}

	/**
	 * Notes that a field is left out. Throws `unsupported_parameter` where it may not be.
	 * @param field as the list of those that may be left out has it
	 * @param why completes "The upstream of this model can't take "x": …"
	 * @param path where it stands, if not at the top
	 */
	add(field: string, why: string, path = field.slice(0, 64)): void {
		if (policyOf(field, this.terms) !== "drop") throw unsupported(path, why);
		if (!this.#dropped.includes(field)) this.#dropped.push(field);
	}
}

function policyOf(field: string, { model, provider, dialect }: UnsupportedTerms): UnsupportedPolicy {
	if (!Object.hasOwn(DROPPABLE, field)) return "refuse";
	const defaults = DROPPABLE[field]!;
	return model ?? provider ?? (dialect === "openai-chat" ? defaults[dialect] : defaults.others);
}

/** Whether a call of these terms takes an answer that was made without these fields. */
export function takesWithout(fields: readonly string[], terms: UnsupportedTerms): boolean {
	return fields.every((field) => policyOf(field, terms) === "drop");
}

/** What a call is made without: what its dialect has left out, and what its target has no form for; undefined where that is nothing. */
export function allDropped(
	call: Pick<Call, "leftOut" | "native">,
	atTarget: readonly string[] | undefined,
): readonly string[] | undefined {
	const always = alwaysLeftOut(call);
	const all = [...(always ?? []), ...(atTarget ?? [])];
	return all.length > 0 ? all : undefined;
}

/** What is left out of a call whoever is asked. */
export function alwaysLeftOut({ leftOut, native }: Pick<Call, "leftOut" | "native">): readonly string[] | undefined {
	const names = leftOut?.();
	if (!names || !native) return names;
	const natives = native.leftOut?.() ?? [];
	return names.filter((name) => natives.includes(name));
}

/** What collects those of one call to an upstream. */
export function unsupportedFields(
	{ dialect }: Pick<Call, "dialect">,
	{ unsupported: provider }: Pick<Upstream, "unsupported">,
	options: EncodeOptions | undefined,
	leftOut?: readonly string[],
): UnsupportedFields {
	return new UnsupportedFields({ dialect: dialect?.id, model: options?.unsupported, provider }, leftOut);
}

const CHAT: UnsupportedTerms = { dialect: "openai-chat" };
