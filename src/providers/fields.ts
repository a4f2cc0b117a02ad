/** Which fields of a request a translator carries, which it may leave out, and that it refuses all others. */
import type { RouterError } from "../errors.ts";
import { invalid, unsupported } from "../openai/chat.ts";
import { OPERATIONS, type Operation } from "../openai/operations.ts";
import { WIRE_FIELDS } from "../vendors.ts";
import type { UnsupportedFields } from "./unsupported-fields.ts";

/** What becomes of a request's top-level fields at one upstream. */
export interface FieldRules {
	/** Translated. */
	readonly carried: ReadonlySet<string>;
	/** Left out without harm: the answer is no other one without them. */
	readonly dropped: ReadonlySet<string>;
}

/** Carried by every translator. */
export const CARRIED = [
	"model",
	"messages",
	"stream",
	"stream_options",
	"tools",
	"tool_choice",
	"response_format",
	"reasoning_effort",
	"stop",
	"temperature",
	"top_p",
	"top_k",
	"max_tokens",
	"max_completion_tokens",
	"parallel_tool_calls",
	"service_tier",
] as const;

/**
 * Left out by every translator: labels of OpenAI's own store, hints that make an answer cheaper or sooner and no other one, and
 * the fields that are named for a wire, which only the translator to that reads.
 */
export const DROPPED = [
	"metadata",
	"prediction",
	"prompt_cache_key",
	"prompt_cache_options",
	"prompt_cache_retention",
	...WIRE_FIELDS,
] as const;

/** Values that say no more than the field's absence, as JSON. */
const DEFAULTS: Readonly<Record<string, string>> = {
	audio: "{}",
	frequency_penalty: "0",
	functions: "[]",
	logit_bias: "{}",
	logprobs: "false",
	modalities: '["text"]',
	n: "1",
	presence_penalty: "0",
	store: "false",
	top_logprobs: "0",
	verbosity: '"medium"',
};

/** The refusal of an operation that a vendor does not have. */
export function noOperation(vendor: string, operation: Operation): RouterError {
	const { title } = OPERATIONS[operation];
	return unsupported("model", `${vendor} has no ${title}, only /v1${OPERATIONS.chat.path}`);
}

/** Leaves out what is neither carried nor without meaning, or throws `unsupported_parameter` for the first field that may not be left out. */
export function refuseOthers(
	body: Readonly<Record<string, unknown>>,
	{ carried, dropped }: FieldRules,
	unsupportedFields: UnsupportedFields,
): void {
	for (const name in body) {
		const value = body[name];
		if (value === null || carried.has(name) || dropped.has(name)) continue;
		if (Object.hasOwn(DEFAULTS, name) && JSON.stringify(value) === DEFAULTS[name]) continue;
		unsupportedFields.add(name, "it has no counterpart there");
	}
}

/**
 * The fields under a vendor's name (`anthropic`, `gemini`), which go into the vendor's request as they are. Throws for one that
 * is not of that kind: what the OpenAI fields say, the model above all, can't be said a second time.
 */
export function vendorFields(
	body: Readonly<Record<string, unknown>>,
	vendor: string,
	allowed: ReadonlySet<string>,
): Readonly<Record<string, unknown>> {
	const fields = body[vendor] ?? NONE;
	if (typeof fields !== "object" || Array.isArray(fields)) throw invalid(vendor, "must be an object");
	for (const name of Object.keys(fields)) {
		if (!allowed.has(name)) {
			throw unsupported(`${vendor}.${name.slice(0, 64)}`, `only these go there: ${[...allowed].join(", ")}`);
		}
	}
	return fields as Readonly<Record<string, unknown>>;
}

const NONE: Readonly<Record<string, never>> = {};

/** `ours` with `theirs`. Throws where both say something of one field. */
export function joined(
	ours: Readonly<Record<string, unknown>>,
	theirs: Readonly<Record<string, unknown>>,
	path: string,
): Readonly<Record<string, unknown>> {
	const names = Object.keys(theirs);
	if (names.length === 0) return ours;
	for (const name of names) {
		if (ours[name] !== undefined) throw invalid(`${path}.${name}`, "says again what another field says");
	}
	return { ...ours, ...theirs };
}
