/**
 * Words of a 400 that say of a request that this model, or this vendor, can't do it, though another could. From the recordings, and from
 * issue threads of the vendors' SDKs, LiteLLM, LangChain and others.
 */

/**
 * Anthropic ("does not support assistant message prefill", "`temperature` may only be set to 1 when thinking is enabled", "Thinking may not
 * be enabled when tool_choice forces tool use", "The compiled grammar is too large"), OpenAI and xAI ("is not supported with this model"),
 * Gemini ("is not enabled for this model"), pydantic's servers ("Extra inputs are not permitted"), vLLM ("requires --enable-auto-tool-choice").
 */
const UNSUPPORTED: readonly RegExp[] = [
	/\b(?:not|no longer) (?:supported|enabled|permitted|compatible)\b|\bunsupported\b|\b(?:does not|doesn't|do not) support\b/i,
	/\bmay only be set to\b|\bmay not be enabled\b|\bcannot both be specified\b|\b(?:deprecated|not available) for this model\b/i,
	/\bcannot end with trailing whitespace\b|\bgrammar is too large\b|\bschema is too complex\b/i,
	/\beach stop sequence must contain non-whitespace\b|\bblocks must define tools\b|\bmust match JSON Schema draft\b/i,
	/\bnot a multimodal model\b|\bat most 0 \w+\(s\)|\brequires --[a-z]/i,
];

/** Google's own. */
const GOOGLE_TAKES_NO: readonly RegExp[] = [
	/only one candidate can be specified|candidateCount must be 1/i,
	/a stopSequences value of \d+ but the supported range/i,
	/requests? (?:ending with a model turn|end with a user role)/i,
	/missing a thought_signature/i,
	/function call turn comes immediately after/i,
	/invalid function name/i,
	/unknown name .{0,100} at '[^']{0,200}(?:function_declarations|schema)/i,
	/^\$ref .{0,100} was set alongside|reference to undefined schema|parameters schema should be of type OBJECT/i,
	/only works in thinking mode/i,
	/^for controlled generation of only function calls/i,
];

/** Codes for it: OpenAI's, and this router's own where one stands behind another. */
const UNSUPPORTED_CODE = /^unsupported_(?:parameter|value)$/;

/** Whether a 400 is about what its upstream can't do. */
export function saysUnsupported(message: string, code: string | undefined): boolean {
	const isSaid = (words: RegExp) => words.test(message);
	return UNSUPPORTED_CODE.test(code ?? "") || UNSUPPORTED.some(isSaid) || GOOGLE_TAKES_NO.some(isSaid);
}
