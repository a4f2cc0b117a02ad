/** What upstreams say when they refuse, and what is made of it. */
import { describe, expect, test } from "bun:test";
import { ERRORS } from "../src/errors.ts";
import { errorOf, FAILURES, type Failure, type FailureKind } from "../src/providers/failure.ts";
import type { Target } from "../src/providers/provider.ts";
import { failureKindOf, masked, readError, readErrorObject, retryAfter } from "../src/providers/upstream-error.ts";
import { VENDORS } from "../src/vendors.ts";

/** What a vendor's 400 says when it means a bad key. */
const BAD_KEY: Record<string, RegExp | undefined> = {
	xAI: VENDORS.xai.badKeyMessage,
	Gemini: VENDORS.gemini.badKeyMessage,
};

/** The kind and the words of a whole answer; `vendor, what` says whose. */
function read(name: string, status: number, body: unknown) {
	const error = readError(typeof body === "string" ? body : JSON.stringify(body), status);
	return { kind: failureKindOf(status, error, BAD_KEY[name.split(",")[0]!]), message: error.message };
}

const openai = (message: string, code: string | null = null, type = "invalid_request_error") => ({
	error: { message, type, param: null, code },
});
const anthropic = (type: string, message: string) => ({ type: "error", error: { type, message }, request_id: "req_1" });

const ROWS: [string, number, unknown, FailureKind, string][] = [
	["OpenAI, a wrong value", 400, openai("Invalid value: 'x'"), "caller", "Invalid value: 'x'"],
	["OpenAI, too long", 400, openai("…", "context_length_exceeded"), "context_length", "…"],
	["OpenAI, a wrong key", 401, openai("Incorrect API key provided: sk-…", "invalid_api_key"), "auth", "Incorrect"],
	["OpenAI, no such model", 404, openai("The model `x` does not exist", "model_not_found"), "not_found", "`x`"],
	["OpenAI, too fast", 429, openai("Rate limit reached", "rate_limit_exceeded", "requests"), "rate", "Rate limit"],
	["OpenAI, no money", 429, openai("You exceeded your current quota", "insufficient_quota"), "quota", "quota"],
	["OpenAI, filtered", 400, openai("flagged", "content_policy_violation"), "content_filter", "flagged"],
	["OpenAI, broken", 500, openai("The server had an error", null, "server_error"), "transport", "had an error"],
	[
		"Anthropic, too long",
		400,
		anthropic("invalid_request_error", "prompt is too long: 3 > 2 maximum"),
		"context_length",
		"long",
	],
	["Anthropic, a wrong key", 401, anthropic("authentication_error", "invalid x-api-key"), "auth", "invalid"],
	["Anthropic, no money", 402, anthropic("billing_error", "credit balance is too low"), "quota", "credit"],
	["Anthropic, not allowed", 403, anthropic("permission_error", "Your key lacks permission"), "auth", "lacks"],
	["Anthropic, too large", 413, anthropic("request_too_large", "Request exceeds the maximum size"), "caller", "size"],
	["Anthropic, too slow", 504, anthropic("timeout_error", "Timed out"), "timeout", "Timed out"],
	["Anthropic, overloaded", 529, anthropic("overloaded_error", "Overloaded"), "overloaded", "Overloaded"],
	[
		"xAI, a wrong key as 400",
		400,
		{ code: "Client specified an invalid argument", error: "Incorrect API key provided: xa***" },
		"auth",
		"Incorrect API key",
	],
	["xAI, a wrong value", 400, { code: "invalid-argument", error: "Bad temperature" }, "caller", "Bad temperature"],
	["xAI, search is gone", 410, { code: "gone", error: "Live search is deprecated." }, "caller", "deprecated"],
	[
		"xAI, too long",
		400,
		{ code: "invalid-argument", error: "This model's maximum prompt length is 131072 but the request contains 537812" },
		"context_length",
		"131072",
	],
	["Venice, a text", 401, { error: "Authentication failed" }, "auth", "Authentication failed"],
	["Venice, no money", 402, { error: "Insufficient USD or Diem balance" }, "quota", "Insufficient"],
	[
		"Venice, zod issues as a list",
		400,
		{ error: [{ code: "unrecognized_keys", keys: ["stream_options"], message: "Unrecognized key(s)" }] },
		"caller",
		"stream_options: Unrecognized key(s)",
	],
	[
		"Venice, issues beside the text",
		400,
		{
			error: "Invalid request parameters",
			details: {},
			context: { errorCode: "INVALID_REQUEST", issues: [{ path: ["messages", 0], message: "Required" }] },
		},
		"caller",
		"Invalid request parameters: messages.0: Required",
	],
	[
		"Venice, an unverifiable reasoning item",
		400,
		{ error: "The encrypted content for item rs_1 could not be verified" },
		"caller",
		"rs_1",
	],
	["Venice, at capacity", 503, { error: "The model is at capacity" }, "overloaded", "capacity"],
	[
		"OpenRouter, its provider's own words",
		502,
		{ error: { code: 502, message: "Provider returned error", metadata: { provider_name: "Host", raw: "boom" } } },
		"transport",
		"Provider returned error (Host): boom",
	],
	["OpenRouter, no money", 402, { error: { code: 402, message: "Insufficient credits" } }, "quota", "credits"],
	[
		"OpenRouter, moderated",
		403,
		{ error: { code: 403, message: "Your input was flagged" } },
		"content_filter",
		"flagged",
	],
	[
		"OpenRouter, too long, by its type alone",
		400,
		{ error: { code: 400, message: "no", metadata: { error_type: "token_limit_exceeded" } } },
		"context_length",
		"no",
	],
	["OpenRouter, no host", 404, { error: { code: 404, message: "No endpoints found" } }, "not_found", "No endpoints"],
	[
		"Gemini, a wrong key as 400",
		400,
		[{ error: { code: 400, message: "API key not valid. Please pass a valid API key.", status: "INVALID_ARGUMENT" } }],
		"auth",
		"API key not valid",
	],
	[
		"Gemini, too long",
		400,
		[{ error: { code: 400, message: "The input token count (5) exceeds the maximum number of tokens allowed (4)." } }],
		"context_length",
		"exceeds",
	],
	[
		"Gemini, a thought signature left out",
		400,
		[{ error: { code: 400, message: "Function call is missing a thought_signature", status: "INVALID_ARGUMENT" } }],
		"unsupported",
		"thought_signature",
	],
	[
		"Gemini, too fast: it says quota for the limit of a minute, too",
		429,
		[
			{
				error: { code: 429, message: "You exceeded your current quota, check your plan", status: "RESOURCE_EXHAUSTED" },
			},
		],
		"rate",
		"quota",
	],
	[
		"vLLM, its older form",
		400,
		{ object: "error", message: "bad", type: "BadRequestError", code: 400 },
		"caller",
		"bad",
	],
	[
		"vLLM, too long",
		400,
		openai("The decoder prompt (length 9) is longer than the maximum model length of 4.", null, "BadRequestError"),
		"context_length",
		"decoder",
	],
	[
		"vLLM, no such model",
		404,
		{ object: "error", message: "The model `x` does not exist.", code: 404 },
		"not_found",
		"`x`",
	],
	["FastAPI, a text", 422, { detail: "Field required" }, "caller", "Field required"],
	[
		"FastAPI, a list",
		422,
		{ detail: [{ loc: ["body", "model"], msg: "Field required" }] },
		"caller",
		"body.model: Field",
	],
	["llm-d, plain text", 429, "inference error: 429 - saturated", "rate", "inference error: 429 - saturated"],
	["llm-d, no endpoint", 503, "no healthy upstream", "overloaded", "no healthy upstream"],
	["a proxy's HTML", 502, "<html><h1>Bad Gateway</h1></html>", "transport", "answered 502 with an HTML page"],
	["nothing", 500, "", "transport", "answered 500 with an empty body"],
	["JSON that says nothing", 400, {}, "caller", "answered 400 without saying why"],
	["a null for an error", 500, { error: null }, "transport", "without saying why"],
	["a number for an error", 500, { error: 5 }, "transport", "without saying why"],
	["an error without words", 500, { error: {} }, "transport", "no reason given"],
	["a quoted text", 400, '"so not"', "caller", "so not"],
	["an empty list", 400, "[]", "caller", "answered 400"],
	["a redirect", 307, "", "transport", "answered 307"],
	["another router, a loop", 508, openai("come back", "loop_detected", "api_error"), "caller", "come back"],
	["not implemented", 501, openai("no embeddings here"), "unsupported", "no embeddings here"],
];

test.each(ROWS)("%s (%i)", (name, status, body, kind, words) => {
	const got = read(name, status, body);
	expect(got.kind).toBe(kind);
	expect(got.message).toContain(words);
});

test("a refusal that quotes the whole prompt is cut", () => {
	const { message } = read("OpenAI", 400, openai("x".repeat(100_000)));
	expect(message.length).toBeLessThanOrEqual(1001);
});

describe("an error inside a 200 or a stream has no status of its own: its words give one", () => {
	test.each([
		[{ type: "error", error: { details: null, type: "overloaded_error", message: "Overloaded" } }, "overloaded"],
		[anthropic("rate_limit_error", "slow down"), "rate"],
		[anthropic("api_error", "Internal server error"), "transport"],
		[openai("oops", "server_error"), "transport"],
		[openai("slow down", "rate_limit_exceeded"), "rate"],
		[openai("used up", "insufficient_quota"), "quota"],
		[{ error: { code: 400, message: "no", metadata: { error_type: "context_length_exceeded" } } }, "context_length"],
		[{ error: { code: 429, message: "slow down" } }, "rate"],
		[{ error: { code: "server_error", message: "Provider disconnected" } }, "transport"],
		[{ error: { message: "m", metadata: { error_type: "provider_overloaded" } } }, "overloaded"],
		[{ error: { message: "m", metadata: { error_type: "payment_required" } } }, "quota"],
		[{ error: { message: "m", status: "UNAVAILABLE" } }, "overloaded"],
		[{ error: { message: "m", type: "BadRequestError", code: 400 } }, "caller"],
		[{ error: { message: "m", code: 7 } }, "transport"],
		[{ error: "gone wrong" }, "transport"],
	] as [Record<string, unknown>, FailureKind][])("%j is %s", (whole, kind) => {
		const error = readErrorObject(whole)!;
		expect(failureKindOf(error.status ?? 500, error)).toBe(kind);
	});
});

describe("Retry-After", () => {
	const at = Date.parse("2026-01-01T00:00:00Z");
	test.each([
		[{ "retry-after": "17" }, 17_000],
		[{ "retry-after": "0.5" }, 500],
		[{ "retry-after": "Thu, 01 Jan 2026 00:01:00 GMT" }, 60_000],
		[{ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }, 0],
		[{ "retry-after-ms": "250", "retry-after": "1" }, 250],
		[{ "retry-after-ms": "soon", "retry-after": "1" }, 1000],
		[{ "retry-after-ms": "", "retry-after": "1" }, 1000],
		[{ "retry-after": "soon" }, undefined],
		[{ "retry-after": "" }, undefined],
		[{ "retry-after": "-5" }, undefined],
		[{ "retry-after": "Infinity" }, undefined],
		[{ "retry-after": "1e999" }, undefined],
		[{}, undefined],
	] as [Record<string, string>, number | undefined][])("%j is %p ms", (headers, ms) => {
		expect(retryAfter(new Headers(headers), at)).toBe(ms);
	});
});

describe("the table of failure kinds", () => {
	const target = (keySetting = "providers.p.api_key") =>
		({ id: "p/m", model: "m", provider: { name: "p", keySetting } }) as unknown as Target;
	const failure = (kind: FailureKind, more: Partial<Failure> = {}): Failure => ({
		kind,
		message: "its words",
		...more,
	});
	/** The design's table: kind, status, elsewhere, breaker. `truncated` goes elsewhere while nothing has left. */
	const WANTED: [FailureKind, number, boolean, boolean][] = [
		["caller", 400, false, false],
		["unsupported", 400, true, false],
		["not_found", 404, true, false],
		["auth", 502, true, false],
		["quota", 502, true, false],
		["rate", 429, true, false],
		["busy", 503, true, false],
		["evicted", 429, true, false],
		["context_length", 400, true, false],
		["content_filter", 400, false, false],
		["overloaded", 503, true, true],
		["transport", 502, true, true],
		["timeout", 504, true, true],
		["truncated", 502, true, true],
		["engine_died", 503, true, true],
		["poisonous", 422, false, false],
		["cancelled", 499, false, false],
		["internal", 500, false, false],
	];

	test("has the design's rows and no others", () => {
		expect(Object.keys(FAILURES).sort()).toEqual(WANTED.map(([kind]) => kind).sort());
	});

	test.each(WANTED)("%s is a %i", (kind, status, elsewhere, breaker) => {
		const rule = FAILURES[kind];
		expect([rule.elsewhere, rule.countsForBreaker]).toEqual([elsewhere, breaker]);
		expect(errorOf(failure(kind), target()).status).toBe(status);
		expect(ERRORS[rule.code]).toBeDefined();
	});

	test.each([404, 409, 410, 413, 422])("a caller's own %i is kept, with type, param and code", (status) => {
		const error = errorOf(failure("caller", { status, type: "t", param: "p", code: "c" }), target());
		expect([error.status, error.body.error]).toEqual([
			status,
			{ message: "its words", type: "t", param: "p", code: "c" },
		]);
	});

	test("a loop that another router found stays one", () => {
		expect(errorOf(failure("caller", { status: 508 }), target())).toMatchObject({
			status: 508,
			errorCode: "loop_detected",
		});
	});

	test("an agent is named, not the provider that all of them are", () => {
		const unreached = failure("transport", { message: "can't be reached: nothing listens there", isOurs: true });
		const { message } = errorOf(unreached, { ...target(), agent: "gpu-1" });
		expect(message).toStartWith('The agent "gpu-1" can\'t be reached: nothing listens there');
	});

	test("a refused key is never quoted; its variable is named, and the client's own 401 is not meant", () => {
		const error = errorOf(failure("auth", { status: 401, message: "wrong key sk-secret" }), target("P_API_KEY"));
		expect(error.status).toBe(502);
		expect(error.message).not.toContain("sk-secret");
		expect(error.message).toContain("P_API_KEY");
		expect(errorOf(failure("auth"), target()).message).toContain("providers.p.api_key");
	});

	test("an upstream's own words are not made into a sentence of ours", () => {
		expect(errorOf(failure("transport", { message: "it has no room", status: 500 }), target()).message).toBe(
			"p: it has no room",
		);
		expect(errorOf(failure("timeout", { message: "gave no answer", isOurs: true }), target()).message).toBe(
			"p gave no answer",
		);
	});

	test.each(["rate", "busy", "evicted", "overloaded"] as const)(
		"%s always says when to come back, in whole seconds",
		(kind) => {
			const after = (ms?: number) => errorOf(failure(kind, { retryAfterMs: ms }), target()).headers["retry-after"];
			expect([after(), after(0), after(1), after(17_000), after(17_001)]).toEqual(["2", "0", "1", "17", "18"]);
		},
	);

	test("nobody answered and it answered badly are told apart", () => {
		expect(errorOf(failure("transport"), target()).errorCode).toBe("upstream_unreachable");
		expect(errorOf(failure("transport", { status: 500 }), target()).errorCode).toBe("upstream_error");
	});

	test("a fault of ours tells the client nothing", () => {
		expect(errorOf(failure("internal"), target()).message).not.toContain("its words");
	});
});

test.each([
	["of one letter", "a", "a bad parameter", "a bad parameter"],
	["of seven characters", "secret1", "key secret1 is bad", "key secret1 is bad"],
	["of eight", "secret12", "key secret12 is bad", "key ******** is bad"],
	["that is part of a word", "sk-12345", "sk-123456 and xsk-12345", "sk-123456 and xsk-12345"],
	["behind a word that holds it", "sk-12345", "sk-123456, sk-12345", "sk-123456, ********"],
	["in quotes, twice", "sk-12345", '"sk-12345" is not "sk-12345"', '"********" is not "********"'],
	["at both ends", "sk-12345", "sk-12345:sk-12345", "********:********"],
	["that overlaps itself", "--------", "----------- --------", "----------- ********"],
	["that is none", undefined, "a message", "a message"],
])("a key %s, echoed by its upstream", (_, secret, text, shown) => {
	expect(masked(text, secret)).toBe(shown);
});
