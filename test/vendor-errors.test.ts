/** The ways Anthropic and Gemini say no: the client's status, code and words for each. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import type { ExchangeResponse, Json } from "./kit/exchange.ts";
import { CLAUDE_KEY, GEMINI_KEY, startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

let rig: VendorRig;
beforeAll(async () => {
	rig = await startVendorRig();
});
afterAll(() => rig.stop());

const CHAT = "/v1/chat/completions";
const JSON_TYPE = { "content-type": "application/json" };
const ask = (model: string, more: Json = {}) => ({ model, messages: [{ role: "user", content: "Hi" }], ...more });
const claude = (
	status: number,
	type: string,
	message: string,
	headers: Record<string, string> = {},
): ExchangeResponse => ({
	status,
	headers: { ...JSON_TYPE, "request-id": "req_up", ...headers },
	body: { type: "error", error: { type, message }, request_id: "req_up" },
});
const google = (code: number, status: string, message: string, details: Json[] = []): ExchangeResponse => ({
	status: code,
	headers: JSON_TYPE,
	body: { error: { code, message, status, details } },
});

interface Row {
	readonly response: ExchangeResponse;
	readonly status: number;
	readonly code: string;
	readonly says?: string;
	readonly hides?: string;
	readonly retryAfter?: string;
}

const CLAUDE: Record<string, Row> = {
	"a field it does not like": {
		response: claude(400, "invalid_request_error", "max_tokens: 200000 > 128000"),
		status: 400,
		code: "upstream_refused",
		says: "max_tokens: 200000 > 128000",
	},
	"a wrong key": {
		response: claude(401, "authentication_error", "invalid x-api-key"),
		status: 502,
		code: "upstream_auth",
		says: "ANTHROPIC_API_KEY",
		hides: "invalid x-api-key",
	},
	"no credit, as a 400": {
		response: claude(400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
		status: 502,
		code: "upstream_quota",
	},
	"no credit, as a 402": { response: claude(402, "billing_error", "Pay first."), status: 502, code: "upstream_quota" },
	"no permission": { response: claude(403, "permission_error", "Not for you."), status: 502, code: "upstream_auth" },
	"an unknown model": {
		response: claude(404, "not_found_error", "model: claude-x"),
		status: 404,
		code: "model_not_found",
		says: "model: claude-x",
	},
	"a prompt that is too long": {
		response: claude(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
		status: 400,
		code: "context_length_exceeded",
	},
	"a request that is too large": {
		response: claude(413, "request_too_large", "Request exceeds the maximum size"),
		status: 413,
		code: "upstream_refused",
	},
	"its filter": {
		response: claude(400, "invalid_request_error", "Output blocked by content filtering policy"),
		status: 400,
		code: "content_filter",
	},
	"its rate limit": {
		response: claude(429, "rate_limit_error", "Slower.", {
			"retry-after": "7",
			"anthropic-ratelimit-tokens-remaining": "0",
		}),
		status: 429,
		code: "rate_limit_exceeded",
		retryAfter: "7",
	},
	"its own fault": { response: claude(500, "api_error", "Internal server error"), status: 502, code: "upstream_error" },
	"its own timeout": { response: claude(504, "timeout_error", "Too slow"), status: 504, code: "upstream_timeout" },
	overload: {
		response: claude(529, "overloaded_error", "Overloaded"),
		status: 503,
		code: "upstream_overloaded",
		retryAfter: "2",
	},
	"an error in a 200": {
		response: { ...claude(200, "overloaded_error", "Overloaded") },
		status: 503,
		code: "upstream_overloaded",
	},
	"a 200 that is no message": {
		response: { status: 200, headers: JSON_TYPE, text: "{}" },
		status: 502,
		code: "upstream_error",
	},
	"a 200 that is cut off": {
		response: { status: 200, headers: JSON_TYPE, text: '{"type":"message","content":[{"type":"te' },
		status: 502,
		code: "upstream_truncated",
	},
	"a key echoed": {
		response: claude(400, "invalid_request_error", `no such header ${CLAUDE_KEY}`),
		status: 400,
		code: "upstream_refused",
		hides: CLAUDE_KEY,
	},
};

const retryInfo = { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "12.5s" };
const badKey = { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "API_KEY_INVALID" };
const candidate = (finishReason: string, parts: Json[] = []): ExchangeResponse => ({
	status: 200,
	headers: JSON_TYPE,
	body: { candidates: [{ content: { parts }, finishReason, index: 0 }], responseId: "r", modelVersion: "m" },
});
const GEMINI: Record<string, Row> = {
	"a field it does not like": {
		response: google(400, "INVALID_ARGUMENT", "Invalid value at 'generation_config'"),
		status: 400,
		code: "INVALID_ARGUMENT",
		says: "Invalid value at 'generation_config'",
	},
	"a wrong key, as a 400": {
		response: google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [badKey]),
		status: 502,
		code: "upstream_auth",
		says: "GEMINI_API_KEY",
	},
	"an expired key": {
		response: google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."),
		status: 502,
		code: "upstream_auth",
	},
	"a key without the API": {
		response: google(403, "PERMISSION_DENIED", "Generative Language API is off"),
		status: 502,
		code: "upstream_auth",
	},
	"no billing": {
		response: google(400, "FAILED_PRECONDITION", "Please enable billing on project."),
		status: 502,
		code: "upstream_quota",
	},
	"no credit": {
		response: google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
		status: 502,
		code: "upstream_quota",
	},
	"its rate limit, with RetryInfo": {
		response: google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your billing details.", [
			retryInfo,
		]),
		status: 429,
		code: "rate_limit_exceeded",
		retryAfter: "13",
	},
	"an unknown model": {
		response: google(404, "NOT_FOUND", "models/x is not found"),
		status: 404,
		code: "model_not_found",
	},
	"a prompt that is too long": {
		response: google(
			400,
			"INVALID_ARGUMENT",
			"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
		),
		status: 400,
		code: "context_length_exceeded",
	},
	overload: {
		response: google(503, "UNAVAILABLE", "The model is overloaded."),
		status: 503,
		code: "upstream_overloaded",
	},
	"its own fault": { response: google(500, "INTERNAL", "Internal error."), status: 502, code: "upstream_error" },
	"its own timeout": { response: google(504, "DEADLINE_EXCEEDED", "Too slow."), status: 504, code: "upstream_timeout" },
	"a blocked prompt": {
		response: { status: 200, headers: JSON_TYPE, body: { promptFeedback: { blockReason: "PROHIBITED_CONTENT" } } },
		status: 400,
		code: "content_filter",
		says: "PROHIBITED_CONTENT",
	},
	"no candidate at all": {
		response: { status: 200, headers: JSON_TYPE, body: {} },
		status: 502,
		code: "upstream_error",
	},
	"a malformed call": {
		response: candidate("MALFORMED_FUNCTION_CALL"),
		status: 502,
		code: "upstream_error",
		says: "MALFORMED_FUNCTION_CALL",
	},
	"a reason that is none": {
		response: candidate("OTHER", [{ text: "half" }]),
		status: 502,
		code: "upstream_error",
		says: "OTHER",
	},
	"no reason at all": {
		response: { status: 200, headers: JSON_TYPE, body: { candidates: [{ content: { parts: [{ text: "half" }] } }] } },
		status: 502,
		code: "upstream_truncated",
	},
	"a key echoed": {
		response: google(400, "INVALID_ARGUMENT", `no ${GEMINI_KEY} here`),
		status: 400,
		code: "INVALID_ARGUMENT",
		hides: GEMINI_KEY,
	},
};

describe.each([
	["anthropic", "claude-opus-4-7", CLAUDE],
	["gemini", "gemini-3-flash-preview", GEMINI],
] as const)("%s", (_, model, table) => {
	const rows = Object.entries(table).flatMap(([name, row]) => [
		[name, row, false] as const,
		[`${name}, streamed`, row, true] as const,
	]);
	test.each(rows)("%s", async (_, row, stream) => {
		// Whole answers to a streamed call are another matter: test/vendor-broken-streams.test.ts.
		const isEventStream = stream && row.response.status === 200;
		if (isEventStream && !("promptFeedback" in ((row.response.body ?? {}) as Json))) return;
		rig.replay.play(
			isEventStream
				? {
						status: 200,
						headers: { "content-type": "text/event-stream" },
						sse: `data: ${JSON.stringify(row.response.body)}\r\n\r\n`,
					}
				: row.response,
		);
		const { status, text, headers } = await rig.post(CHAT, ask(model, { stream }));
		const error = clientError(text);
		expect({ status, code: error.code }).toEqual({ status: row.status, code: row.code });
		if (row.says) expect(error.message).toContain(row.says);
		if (row.hides) expect(text).not.toContain(row.hides);
		if (row.retryAfter) expect(headers.get("retry-after")).toBe(row.retryAfter);
	});
});

test("Anthropic's rate headers reach the client, its organization does not", async () => {
	const headers = {
		"retry-after": "7",
		"anthropic-ratelimit-tokens-remaining": "0",
		"anthropic-organization-id": "org-secret",
	};
	rig.replay.play(claude(429, "rate_limit_error", "Slower.", headers));
	const answer = await rig.post(CHAT, ask("claude-opus-4-7"));
	expect(answer.headers.get("anthropic-ratelimit-tokens-remaining")).toBe("0");
	expect(answer.headers.get("anthropic-organization-id")).toBeNull();
});

test.each(["claude-x", "gemini-x"])("%s: a request nested too deeply is the caller's fault", async (model) => {
	const deep = `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`;
	// A field that is null has all the others looked at again, without it.
	const tool = `{"type":"function","function":{"name":"f","strict":null,"later":null,"parameters":${deep}}}`;
	const answer = await rig.post(
		CHAT,
		`{"model":"${model}","messages":[{"role":"user","content":"x"}],"tools":[${tool}]}`,
	);
	expect([answer.status, clientError(answer.text).code]).toEqual([400, "invalid_value"]);
});

test.each([
	["gemini/../../evil", "/v1beta/models/..%2F..%2Fevil:generateContent"],
	["gemini/a?key=1#x", "/v1beta/models/a%3Fkey%3D1%23x:generateContent"],
	["gemini/models/gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:generateContent"],
	["gemini/tunedModels/my-1", "/v1beta/tunedModels/my-1:generateContent"],
	["gemini/é🙂", "/v1beta/models/%C3%A9%F0%9F%99%82:generateContent"],
	["gemini/..", "/v1beta/models/..:generateContent"],
])("the model %s can't leave its place in the path", async (model, path) => {
	rig.replay.play(google(404, "NOT_FOUND", "no"));
	await rig.post(CHAT, ask(model));
	expect(rig.replay.only().path).toBe(path);
});
