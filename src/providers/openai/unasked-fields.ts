/**
 * Fields of calls whose clients speak another wire: those send with every call what many models have no form for (how hard to think, a limit of 64,000
 * tokens), so that a server which refuses such a field is asked without it, as without what the router adds itself.
 */
import type { UnsupportedPolicy } from "../../config/upstream-schema.ts";
import { ParsedBody } from "../../openai/parsed-body.ts";
import type { RequestField } from "../../openai/request-scan.ts";
import type { Addition } from "../failure.ts";
import { ANSWER_LIMIT, BEGINNING } from "../failure.ts";
import type { EncodeOptions } from "../provider.ts";

/** Newer servers' name of the answer's limit, and the older one, by which a server is asked that does not know the newer. */
const LIMIT = "max_completion_tokens";
const OLDER_LIMIT = "max_tokens";

/** Those that may be left out: without them there is an answer of the same kind. */
const TUNING: ReadonlySet<string> = new Set([
	"reasoning_effort",
	"temperature",
	"top_p",
	"top_k",
	"min_p",
	"typical_p",
	"repetition_penalty",
	"presence_penalty",
	"frequency_penalty",
	"seed",
	"parallel_tool_calls",
	"verbosity",
	"user",
	"safety_identifier",
	"prompt_cache_key",
]);

/** A call's body without what its server refuses. */
export interface AskedBody {
	readonly body: ParsedBody;
	/** Fields that it may be asked without. */
	readonly added: readonly Addition[];
	/** Fields that were left out. */
	readonly dropped: readonly string[];
}

/** What decides about a body besides what its server refuses. */
export interface AskedTerms {
	/** What is configured about fields that a target has no form for. */
	readonly policy: UnsupportedPolicy | undefined;
	/** The answer goes on with the last message, and the server can do so where it is told to. */
	readonly continues: boolean;
	/** The model is not to think, and its chat template may have a switch for that (Qwen's, DeepSeek's and others'). */
	readonly isThoughtless: boolean;
}

/** The body that a server is sent. */
export function askedBody(
	body: ParsedBody,
	omit: EncodeOptions["omit"],
	{ policy, continues, isThoughtless }: AskedTerms,
): AskedBody {
	const more: string[] = [];
	const added: Addition[] = [];
	const add = (name: Addition, fields: string) => {
		if (omit?.has(name)) return;
		added.push(name);
		more.push(fields);
	};
	if (continues) add(BEGINNING, CONTINUE);
	if (isThoughtless && !body.field(TEMPLATE)) add(TEMPLATE, THOUGHTLESS);
	if (policy === "refuse") return { body: withFields(body, more), added, dropped: [] };
	const dropped: string[] = [];
	let isOlder = false;
	for (const { key } of body.fields) {
		if (key === LIMIT) {
			isOlder = omit?.has(LIMIT) === true;
			if (!omit?.has(ANSWER_LIMIT)) added.push(ANSWER_LIMIT, ...(isOlder ? [] : [LIMIT]));
		} else if (TUNING.has(key)) (omit?.has(key) ? dropped : added).push(key);
	}
	const isUnlimited = omit?.has(ANSWER_LIMIT) === true;
	const isLeft = (key: string) => (isUnlimited && key === LIMIT) || dropped.includes(key);
	const isAsItCame = dropped.length === 0 && !isOlder && !isUnlimited;
	const asked = isAsItCame ? body : rewritten(body, isLeft, isOlder);
	return { body: withFields(asked, more), added, dropped };
}

/** Have vLLM go on with the last message, instead of beginning another. */
const CONTINUE = '"add_generation_prompt":false,"continue_final_message":true,';
const TEMPLATE = "chat_template_kwargs";
const THOUGHTLESS = `"${TEMPLATE}":{"enable_thinking":false,"thinking":false},`;

/** The body with further fields before its own. */
function withFields(body: ParsedBody, fieldTexts: readonly string[]): ParsedBody {
	if (fieldTexts.length === 0) return body;
	const { bytes, fields } = body;
	const more = Buffer.from(fieldTexts.join(""));
	const at = bytes.indexOf("{") + 1;
	const by = more.length;
	const moved = fields.map((field) => ({
		...field,
		keyStart: field.keyStart + by,
		start: field.start + by,
		end: field.end + by,
	}));
	return new ParsedBody(Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)]), moved);
}

/** The body without some fields, and with the limit under its older name. */
function rewritten(body: ParsedBody, isLeft: (key: string) => boolean, isOlder: boolean): ParsedBody {
	const { bytes } = body;
	const pieces: Buffer[] = [];
	const fields: RequestField[] = [];
	let length = 0;
	for (const field of body.fields) {
		if (isLeft(field.key)) continue;
		const key = isOlder && field.key === LIMIT ? OLDER_LIMIT : field.key;
		const name = `${fields.length === 0 ? "{" : ","}${JSON.stringify(key)}:`;
		const value = bytes.subarray(field.start, field.end);
		const keyStart = length + 1;
		const start = length + Buffer.byteLength(name);
		length = start + value.length;
		pieces.push(Buffer.from(name), value);
		fields.push({ ...field, key, keyStart, start, end: length });
	}
	pieces.push(Buffer.from("}"));
	return new ParsedBody(Buffer.concat(pieces), fields);
}
