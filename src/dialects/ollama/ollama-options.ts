/** What stands beside the prompt, in OpenAI's words. */
import { isStrictSchema } from "../../openai/strict-schema.ts";
import type { OllamaChat, OllamaGenerate } from "./ollama-schema.ts";
import { ollamaRefusal } from "./ollama-validation.ts";

/** Called with the name of what is left out. */
export type LeaveOutOption = (name: string) => void;

type Options = Readonly<Record<string, unknown>>;

/** Options, and what OpenAI and servers of one's own call them; `limit` is the operation's own. */
const NAMES: Readonly<Record<string, string>> = {
	temperature: "temperature",
	top_p: "top_p",
	top_k: "top_k",
	min_p: "min_p",
	typical_p: "typical_p",
	presence_penalty: "presence_penalty",
	frequency_penalty: "frequency_penalty",
	repeat_penalty: "repetition_penalty",
};

/** Those that must be whole there. */
const WHOLE = new Set(["top_k"]);

/**
 * `options`. All that has no form elsewhere (`num_ctx`, `num_gpu`, `mirostat`, …) is left out: how a model is loaded is its server's matter.
 * @param limit what the answer's limit is called
 */
export function chatOptions(sent: unknown, limit: string, leaveOut: LeaveOutOption): Record<string, unknown> {
	const fields: Record<string, unknown> = {};
	for (const [name, value] of Object.entries((sent ?? {}) as Options)) {
		if (value == null) continue;
		const own = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
		if (own !== undefined) fields[own] = WHOLE.has(name) ? Math.trunc(value as number) : value;
		else if (name === "num_predict") {
			// -1 is no limit, -2 is what the context has room for.
			if ((value as number) >= 1) fields[limit] = Math.min(Math.trunc(value as number), 2_147_483_647);
		} else if (name === "seed") fields["seed"] = Math.trunc(value as number);
		else if (name === "stop") {
			if ((value as string | readonly string[]).length !== 0) fields["stop"] = value;
		} else leaveOut(`options.${name.slice(0, 64)}`);
	}
	return fields;
}

/** `format`: any JSON object, or what a schema describes; "" is none. */
export function responseFormat(format: OllamaChat["format"]): object | undefined {
	if (format == null || format === "") return undefined;
	if (format === "json") return { type: "json_object" };
	if (typeof format === "string") throw ollamaRefusal("format", 'must be "json" or a JSON schema');
	const strict = isStrictSchema(format) ? true : undefined;
	return { type: "json_schema", json_schema: { name: "output", schema: format, strict } };
}

/** Levels of `think` as OpenAI has them; `true` leaves the level to nobody else. */
const EFFORTS: Readonly<Record<string, string>> = {
	true: "medium",
	low: "low",
	medium: "medium",
	high: "high",
	max: "high",
};

/** How hard the model is to think; undefined where that is left to it, or where it is not to. */
export function thinkEffort(think: OllamaChat["think"]): string | undefined {
	if (think == null || isThoughtless(think)) return undefined;
	const effort = Object.hasOwn(EFFORTS, String(think)) ? EFFORTS[String(think)] : undefined;
	if (effort === undefined) throw ollamaRefusal("think", 'must be true, false, "low", "medium" or "high"');
	return effort;
}

/** Whether the model is not to think. */
export const isThoughtless = (think: OllamaChat["think"]): boolean =>
	think === false || think === "false" || think === "none";

/** Log probabilities, of a chat. */
export function chatLogprobs({ logprobs, top_logprobs: top }: OllamaChat | OllamaGenerate): object {
	if (!logprobs) return {};
	return top ? { logprobs: true, top_logprobs: top } : { logprobs: true };
}
