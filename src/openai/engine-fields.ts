/**
 * Fields of a request by which a caller steers the inference server itself (vLLM, SGLang, what stands before them), not its answer: with a chat template, or
 * with settings of the code that reads pictures and sound, a call may hang a server for all others (vLLM's advisories before 0.32); where prefill and
 * decode are apart, fields name the host that it fetches a prompt's cache from, which only what stands between router and server may say (llm-d's
 * sidecar, SGLang's router); a logit processor is code; and a large grammar keeps it busy before the first token. The names are those of
 * `ChatCompletionRequest` and `CompletionRequest` in `vllm/entrypoints/openai` and `sglang/srt/entrypoints/openai/protocol.py`. Pure.
 */
import type { ParsedBody } from "./parsed-body.ts";
import type { RequestField } from "./request-scan.ts";

/** Longest JSON schema that any caller may hold an answer to, bytes of its field. OpenAI takes some 120,000 characters of names. */
export const LARGEST_SCHEMA = 128 * 1024;
/** The same of a regular expression, a grammar, a list of choices. */
export const LARGEST_GRAMMAR = 16 * 1024;

/** A field that not every caller may send. */
export interface EngineField {
	/** Its path, `chat_template_kwargs.chat_template`. */
	readonly name: string;
	/** How large it is and may be, bytes; absent where it may not be sent at all. */
	readonly size?: { readonly is: number; readonly most: number };
}

/** By name: how large it may be, bytes; 0: it may not be sent. */
const MOST: ReadonlyMap<string, number> = new Map([
	["chat_template", 0],
	["chat_template_kwargs", 0],
	["mm_processor_kwargs", 0],
	["media_io_kwargs", 0],
	// vLLM's, with prefill or the encoding of media elsewhere.
	["kv_transfer_params", 0],
	["ec_transfer_params", 0],
	["vllm_xargs", 0],
	// SGLang's, with prefill elsewhere.
	["bootstrap_host", 0],
	["bootstrap_port", 0],
	["bootstrap_room", 0],
	// SGLang's: Python, unpickled where it is switched on.
	["custom_logit_processor", 0],
	["response_format", LARGEST_SCHEMA],
	["structured_outputs", LARGEST_SCHEMA],
	["guided_json", LARGEST_SCHEMA],
	["guided_regex", LARGEST_GRAMMAR],
	["guided_choice", LARGEST_GRAMMAR],
	["guided_grammar", LARGEST_GRAMMAR],
	// SGLang's.
	["json_schema", LARGEST_SCHEMA],
	["regex", LARGEST_GRAMMAR],
	["ebnf", LARGEST_GRAMMAR],
	["stop_regex", LARGEST_GRAMMAR],
	// Of Responses: the form of its answer.
	["text", LARGEST_SCHEMA],
]);
/** Of these only some members may not be sent: others are any caller's (`enable_thinking`, settings of a server's own extensions). */
const MEMBERS: ReadonlyMap<string, readonly string[]> = new Map([
	// It takes the place of the model's own.
	["chat_template_kwargs", ["chat_template"]],
	// vLLM reads the first two here, too. By the third it publishes again what is in its prefix cache, as if it were stored once more.
	["vllm_xargs", ["kv_transfer_params", "ec_transfer_params", "kv_cache_report_mode"]],
]);
/** Members of `structured_outputs` that are schemas. */
const SCHEMAS = new Set(["json", "structural_tag"]);

/** The first of a request's fields that not every caller may send; undefined where there is none. */
export function engineFieldIn(body: ParsedBody): EngineField | undefined {
	for (const field of body.fields) {
		const most = MOST.get(field.key);
		if (most === undefined) continue;
		const found = most === 0 ? forbidden(body, field) : tooLarge(body, field, most);
		if (found) return found;
	}
	return undefined;
}

/** Clients send `null` for what they leave open. */
function forbidden(body: ParsedBody, field: RequestField): EngineField | undefined {
	const value = body.valueOf(field);
	if (value === null) return undefined;
	const members = MEMBERS.get(field.key);
	if (!members) return { name: field.key };
	if (typeof value !== "object") return undefined;
	const member = members.find((name) => (value as Record<string, unknown>)[name] != null);
	return member === undefined ? undefined : { name: `${field.key}.${member}` };
}

function tooLarge(body: ParsedBody, field: RequestField, most: number): EngineField | undefined {
	const { key } = field;
	const is = field.end - field.start;
	if (is > most) return { name: key, size: { is, most } };
	if (key !== "structured_outputs" || is <= LARGEST_GRAMMAR) return undefined;
	const value = body.valueOf(field);
	if (typeof value !== "object" || value === null) return undefined;
	for (const [name, part] of Object.entries(value)) {
		const size = SCHEMAS.has(name) ? 0 : Buffer.byteLength(JSON.stringify(part));
		if (size > LARGEST_GRAMMAR) return { name: `${key}.${name}`, size: { is: size, most: LARGEST_GRAMMAR } };
	}
	return undefined;
}
