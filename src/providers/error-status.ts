/** The status that an upstream's own word for an error stands for: errors inside a 200 or a stream often bring no number. */
import { ERRORS, type ErrorCode } from "../errors.ts";

/** Words of `type`, `code` and `status`; spec-facts of each vendor. A word that is not here says nothing. */
const STATUS: Readonly<Record<string, number>> = {
	// Anthropic (platform.claude.com/docs/en/api/errors); OpenAI shares the first.
	invalid_request_error: 400,
	authentication_error: 401,
	billing_error: 402,
	permission_error: 403,
	not_found_error: 404,
	request_too_large: 413,
	rate_limit_error: 429,
	api_error: 500,
	timeout_error: 504,
	overloaded_error: 529,
	// OpenAI
	context_length_exceeded: 400,
	content_filter: 400,
	invalid_api_key: 401,
	model_not_found: 404,
	insufficient_quota: 429,
	rate_limit_exceeded: 429,
	server_error: 500,
	// OpenRouter (error_type)
	max_tokens_exceeded: 400,
	token_limit_exceeded: 400,
	string_too_long: 400,
	invalid_request: 400,
	invalid_prompt: 400,
	content_policy_violation: 400,
	refusal: 400,
	authentication: 401,
	payment_required: 402,
	permission_denied: 403,
	not_found: 404,
	payload_too_large: 413,
	unprocessable: 422,
	server: 500,
	provider_unavailable: 502,
	provider_overloaded: 503,
	timeout: 504,
	// Gemini (google.rpc.Code)
	invalid_argument: 400,
	unauthenticated: 401,
	resource_exhausted: 429,
	internal: 500,
	unavailable: 503,
	deadline_exceeded: 504,
};

/** The status of the first of these words that is known. Agents, and routers behind this one, use the catalogue's. */
export function statusNamed(...words: readonly (string | undefined)[]): number | undefined {
	for (const word of words) {
		const key = word?.toLowerCase();
		if (key === undefined) continue;
		if (Object.hasOwn(STATUS, key)) return STATUS[key];
		// Whose client left is not known; it was not this one's.
		if (Object.hasOwn(ERRORS, key) && key !== "cancelled") return ERRORS[key as ErrorCode].status;
	}
	return undefined;
}
