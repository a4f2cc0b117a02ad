/** The ways upstreams say no, each in its own words, and what the client must be told. */
import { DONE, event, finishEvent, textEvent } from "./events.ts";
import type { ExchangeResponse } from "./exchange.ts";

/** One refusal. */
export interface Refusal {
	readonly name: string;
	/** The dialect's name. */
	readonly provider: string;
	readonly response: ExchangeResponse;
	/** What the client sees. `message` must be part of its message, `hidden` of nothing it gets. */
	readonly status: number;
	readonly code: string;
	readonly message?: string;
	readonly hidden?: string;
	readonly retryAfter?: boolean;
}

const json = { "content-type": "application/json" };
const refusal = (
	provider: string,
	name: string,
	[upstreamStatus, body]: [number, unknown],
	client: Omit<Refusal, "name" | "provider" | "response">,
	headers: Record<string, string> = {},
): Refusal => ({
	name: `${provider}: ${name}`,
	provider,
	response:
		typeof body === "string"
			? { status: upstreamStatus, headers: { "content-type": "text/plain", ...headers }, text: body }
			: { status: upstreamStatus, headers: { ...json, ...headers }, body },
	...client,
});
const openai = (message: string, type: string, code: string | number | null, param: string | null = null) => ({
	error: { message, type, param, code },
});

/** Whole answers with an error. */
export const REFUSALS: readonly Refusal[] = [
	refusal(
		"openai",
		"wrong provider key",
		[401, openai("Incorrect API key provided: sk-of*****uter.", "invalid_request_error", "invalid_api_key")],
		{ status: 502, code: "upstream_auth", message: "OPENAI_API_KEY", hidden: "sk-of" },
	),
	refusal(
		"openai",
		"out of credit (429)",
		[429, openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota")],
		{ status: 502, code: "upstream_quota" },
	),
	refusal(
		"openai",
		"rate limit",
		[429, openai("Rate limit reached.", "requests", "rate_limit_exceeded")],
		{ status: 429, code: "rate_limit_exceeded", retryAfter: true },
		{ "retry-after": "7" },
	),
	refusal(
		"openai",
		"context length",
		[
			400,
			openai(
				"This model's maximum context length is 8192 tokens.",
				"invalid_request_error",
				"context_length_exceeded",
				"messages",
			),
		],
		{ status: 400, code: "context_length_exceeded", message: "8192" },
	),
	refusal(
		"openai",
		"unknown model",
		[404, openai("The model `gpt-x` does not exist.", "invalid_request_error", "model_not_found")],
		{ status: 404, code: "model_not_found" },
	),
	refusal(
		"openai",
		"a field it does not like",
		[400, openai("Invalid 'temperature'.", "invalid_request_error", "decimal_above_max_value", "temperature")],
		{ status: 400, code: "decimal_above_max_value", message: "Invalid 'temperature'." },
	),
	refusal("openai", "a 422", [422, openai("Unprocessable.", "invalid_request_error", null)], {
		status: 422,
		code: "upstream_refused",
		message: "Unprocessable.",
	}),
	refusal(
		"openrouter",
		"no credit (402)",
		[402, { error: { message: "Insufficient credits.", code: 402 }, user_id: "user_secret" }],
		{ status: 502, code: "upstream_quota", hidden: "user_secret" },
	),
	refusal(
		"openrouter",
		"refused by the model's host, with its user_id",
		[
			400,
			{
				error: {
					message: "Provider returned error",
					code: 400,
					metadata: { provider_name: "Some Host", raw: '{"error":"top_k is not allowed"}' },
				},
				user_id: "user_secret",
			},
		],
		{ status: 400, code: "upstream_refused", hidden: "user_secret" },
	),
	refusal(
		"xai",
		"wrong provider key as a 400 with a string",
		[
			400,
			{ code: "invalid-argument", error: "Incorrect API key provided: xa***er. You can obtain one from the console." },
		],
		{ status: 502, code: "upstream_auth", message: "XAI_API_KEY" },
	),
	refusal(
		"xai",
		"a string error",
		[400, { code: "Client specified an invalid argument", error: "Argument not supported on this model: stop" }],
		{
			status: 400,
			code: "Client specified an invalid argument",
			message: "Argument not supported on this model: stop",
		},
	),
	refusal("xai", "live search is gone (410)", [410, { error: "Live search is deprecated." }], {
		status: 410,
		code: "upstream_refused",
		message: "Live search is deprecated.",
	}),
	refusal(
		"venice",
		"a string error with issues",
		[
			400,
			{
				error: "Invalid request parameters",
				details: { _errors: [], top_k: { _errors: ["Expected number"] } },
				context: {
					errorCode: "INVALID_REQUEST",
					issues: [{ code: "invalid_type", message: "Expected number", path: ["top_k"] }],
				},
			},
		],
		{ status: 400, code: "INVALID_REQUEST", message: "Expected number" },
	),
	refusal(
		"venice",
		"an array of issues",
		[
			400,
			{
				error: [
					{
						code: "unrecognized_keys",
						keys: ["stream_opts"],
						path: [],
						message: "Unrecognized key(s) in object: 'stream_opts'",
					},
				],
			},
		],
		{ status: 400, code: "invalid_request", message: "stream_opts" },
	),
	refusal("venice", "wrong provider key", [401, { error: "Authentication failed" }], {
		status: 502,
		code: "upstream_auth",
		message: "VENICE_API_KEY",
	}),
	refusal(
		"llm-d",
		"back-pressure as plain text",
		[429, "inference error: ResourceExhausted - system saturated, sheddable request dropped"],
		{ status: 429, code: "rate_limit_exceeded", retryAfter: true },
	),
	refusal(
		"llm-d",
		"no endpoint as plain text",
		[503, "inference error: ServiceUnavailable - failed to find candidate endpoints"],
		{ status: 503, code: "upstream_overloaded", retryAfter: true },
	),
	refusal(
		"vllm-box",
		"integer code",
		[
			400,
			{
				object: "error",
				...openai(
					"This model's maximum context length is 4096 tokens. However, you requested 9000 tokens.",
					"BadRequestError",
					400,
				),
			},
		],
		{ status: 400, code: "context_length_exceeded", message: "4096" },
	),
	refusal("vllm-box", "unknown model", [404, openai("The model `nope` does not exist.", "NotFoundError", 404)], {
		status: 404,
		code: "model_not_found",
	}),
	refusal(
		"local",
		"agent busy",
		[503, openai("The queue is full.", "upstream_error", "upstream_overloaded")],
		{ status: 503, code: "upstream_overloaded", retryAfter: true },
		{ "retry-after": "1" },
	),
];

/** What an engine's death comes to where the call's time is up before another engine, or this one, can take it. */
export const ENGINE_DEAD = refusal(
	"vllm-box",
	"engine dead",
	[500, openai("EngineCore encountered an issue.", "InternalServerError", 500)],
	{ status: 503, code: "engine_died", retryAfter: true },
);

/** A stream that breaks with an error after its 200, and part of what the client's error event must say. */
export interface BrokenStream {
	readonly name: string;
	readonly provider: string;
	readonly sse: string;
	readonly message: string;
}

const choiceless = {
	id: "gen-1",
	object: "chat.completion.chunk",
	created: 1_760_000_000,
	model: "m",
	provider: "Some Host",
};

/** Both of OpenRouter's forms, vLLM's, and the named event of other servers. */
export const BROKEN_STREAMS: readonly BrokenStream[] = [
	{
		name: "OpenRouter, error beside a choice",
		provider: "openrouter",
		sse:
			textEvent("so far ") +
			event({
				...choiceless,
				error: { code: 502, message: "Host went away" },
				choices: [{ index: 0, delta: { content: "" }, finish_reason: "error" }],
			}) +
			DONE,
		message: "Host went away",
	},
	{
		name: "OpenRouter, error inside the choice",
		provider: "openrouter",
		sse:
			textEvent("so far ") +
			event({
				...choiceless,
				choices: [
					{ index: 0, delta: { content: "" }, finish_reason: "error", error: { code: 502, message: "Host fell over" } },
				],
			}) +
			DONE,
		message: "Host fell over",
	},
	{
		name: "vLLM, an error event",
		provider: "vllm-box",
		sse:
			textEvent("so far ") +
			event({ error: { message: "Engine died", type: "InternalServerError", param: null, code: 500 } }) +
			DONE,
		message: "Engine died",
	},
	{
		name: "a named error event",
		provider: "local",
		sse: `${textEvent("so far ")}event: error\ndata: {"error":{"message":"Over capacity","type":"server_error"}}\n\n`,
		message: "Over capacity",
	},
];

/** An error behind the finish reason, as OpenRouter has sent it (`wire/openrouter/openrouter-stream-error`): nothing of the answer is missing. */
export const FINISHED_STREAM =
	textEvent("so far") +
	finishEvent("length") +
	event({
		...choiceless,
		error: { code: 400, message: "Limit reached" },
		choices: [{ index: 0, delta: { content: "" }, finish_reason: null }],
	}) +
	DONE;
