/** The ways Anthropic and Gemini say no, or break off: the client's status, code and words for each. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { type ExchangeResponse, eventData, type Json } from "./kit/exchange.ts";
import { post } from "./kit/rig.ts";
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
		code: "upstream_truncated",
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
		// Whole answers to a streamed call are another matter: see below.
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

describe("streams that break", () => {
	const sse = (...events: Json[]) =>
		events.map((event) => `event: ${event["type"]}\ndata: ${JSON.stringify(event)}\n\n`).join("");
	const start = {
		type: "message_start",
		message: { id: "msg_1", model: "claude-x", usage: { input_tokens: 5, output_tokens: 1 } },
	};
	const open = { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } };
	const delta = { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "so far" } };
	const finish = { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 2 } };
	const overloaded = {
		type: "error",
		error: { details: null, type: "overloaded_error", message: "Overloaded" },
		request_id: "r",
	};
	const piece = (more: Json) =>
		`data: ${JSON.stringify({ candidates: [{ content: { parts: [{ text: "so far" }] }, index: 0, ...more }], responseId: "r", modelVersion: "m" })}\r\n\r\n`;
	/** The last: the text before which the stream waits until the client has seen the first bytes. Without one only its end comes later. */
	const rows = [
		[
			"Claude: an error event",
			"claude-x",
			sse(start, open, delta, overloaded),
			"upstream_overloaded",
			"Overloaded",
			"overloaded_error",
		],
		[
			"Claude: no message_stop",
			"claude-x",
			sse(start, open, delta, finish),
			"upstream_truncated",
			"broke off",
			undefined,
		],
		[
			"Claude: nothing behind the text",
			"claude-x",
			sse(start, open, delta),
			"upstream_truncated",
			"broke off",
			undefined,
		],
		["Gemini: no finish reason", "gemini-x", piece({}) + piece({}), "upstream_truncated", "broke off", undefined],
		[
			"Gemini: a malformed call at the end",
			"gemini-x",
			piece({}) + piece({ finishReason: "MALFORMED_FUNCTION_CALL" }),
			"upstream_error",
			"MALFORMED_FUNCTION_CALL",
			undefined,
		],
		[
			"Gemini: an error as an event",
			"gemini-x",
			`${piece({})}data: {"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}\r\n\r\n`,
			"upstream_overloaded",
			"overloaded",
			"UNAVAILABLE",
		],
	] as const;
	test.each(rows)("%s: after the first bytes an error event ends it", async (_, model, text, code, says, before) => {
		const seen = Promise.withResolvers<void>();
		const cut = before === undefined ? "whole" : { before, until: seen.promise };
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, cut);
		const look = (sofar: string) => sofar.includes("so far") && seen.resolve();
		const answer = await post(rig.router.url + CHAT, ask(model, { stream: true }), {}, look);
		expect(answer.status).toBe(200);
		const data = eventData(answer.text);
		expect(data).not.toContain("[DONE]");
		const error = clientError(data.at(-1)!);
		expect(error.code).toBe(code);
		expect(error.message).toContain(says);
		expect(answer.text).toContain('"content":"so far"');
	});

	test.each(rows)("%s: within the first bytes it has a status", async (_, model, text, code) => {
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text });
		const answer = await rig.post(CHAT, ask(model, { stream: true }));
		const last = answer.status === 200 ? eventData(answer.text).at(-1)! : answer.text;
		expect(clientError(last).code).toBe(code);
	});

	test("Claude: an end that never said why is none", async () => {
		const text = sse(start, open, delta, { type: "message_stop" });
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, "event");
		const answer = await rig.post(CHAT, ask("claude-x", { stream: true }));
		const last = answer.status === 200 ? eventData(answer.text).at(-1)! : answer.text;
		expect(clientError(last).code).toBe("upstream_truncated");
	});

	test("Claude: several message_deltas are one end, and the last count is the count", async () => {
		const more = { ...finish, usage: { output_tokens: 9 } };
		const text = sse(start, open, delta, finish, more, { type: "message_stop" });
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, "event");
		const answer = await rig.post(CHAT, ask("claude-x", { stream: true, stream_options: { include_usage: true } }));
		const chunks = eventData(answer.text)
			.slice(0, -1)
			.map((each) => JSON.parse(each));
		expect(chunks.flatMap(({ choices }) => choices[0]?.finish_reason ?? [])).toEqual(["stop"]);
		expect(chunks.flatMap(({ usage }) => usage?.completion_tokens ?? [])).toEqual([9]);
	});

	test("garbage inside is passed over and counted, unknown events and pings are silent", async () => {
		const text = `${sse(start, { type: "ping" }, open)}event: x\ndata: {"half\n\n${sse({ type: "brand_new" }, delta, { type: "ping" }, finish, { type: "message_stop" })}`;
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, "event");
		const answer = await rig.post(CHAT, ask("claude-x", { stream: true }));
		const deltas = eventData(answer.text)
			.slice(0, -1)
			.map((each) => JSON.parse(each).choices[0]);
		expect(deltas.map(({ delta: said, finish_reason }) => said.content ?? finish_reason)).toEqual([
			"",
			"so far",
			"stop",
		]);
		expect(await rig.router.metric("router_dropped_events_total")).toBe(1);
	});
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
