/**
 * What upstreams say when they refuse, in every shape seen (`wire/observed-errors.md` and the recordings), read into one,
 * and sorted into a failure kind.
 */
import { ERRORS, type ErrorCode } from "../errors.ts";
import { parseBounded } from "../openai/json.ts";
import { shortText } from "../short-text.ts";
import { busyFailure, engineDeath, engineFailure } from "./engine-errors.ts";
import type { Failure, FailureKind } from "./failure.ts";
import type { AnswerHeaders } from "./provider.ts";
import type { Upstream } from "./registry.ts";
import { saysUnsupported } from "./unsupported-words.ts";

/** An upstream's error, before it has a kind. */
export interface UpstreamError {
	readonly message: string;
	/** See {@link Failure}. */
	readonly isOurs?: boolean;
	readonly type?: string | undefined;
	readonly param?: string | undefined;
	readonly code?: string | undefined;
	/**
	 * The status inside the body (OpenRouter, vLLM and Gemini put one there), or the one its words stand for; what counts when
	 * the answer itself was a 200.
	 */
	readonly status?: number | undefined;
	/** Google's own word for the cause, `API_KEY_INVALID`. */
	readonly reason?: string | undefined;
	/** When to come back, ms from now, where the body says so. */
	readonly retryAfterMs?: number | undefined;
}

/** Longest message passed on, in characters: some upstreams quote the whole prompt. */
const MAX_MESSAGE = 1000;

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
	typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);

/** Reads an error body: JSON in any of the known shapes, or plain text. */
export function readError(body: string, status: number): UpstreamError {
	let parsed: unknown;
	try {
		parsed = parseBounded(body);
	} catch {
		return plainText(body, status);
	}
	// Gemini's OpenAI half wraps its error in an array.
	const whole = Array.isArray(parsed) ? parsed[0] : parsed;
	if (!isObject(whole)) return plainText(text(whole) ?? "", status);
	return readErrorObject(whole) ?? { isOurs: true, message: `answered ${status} without saying why` };
}

/** Reads the error in a JSON object, if there is one: the body of a refusal, a 200, or an event of a stream. */
export function readErrorObject(whole: Json): UpstreamError | undefined {
	const error = whole["error"];
	if (isObject(error)) {
		const { metadata } = error;
		const type = text(isObject(metadata) ? metadata["error_type"] : undefined) ?? text(error["type"]);
		const code = text(error["code"]) ?? text(error["status"]);
		return {
			message: clip(withRaw(text(error["message"]) ?? "no reason given", metadata)),
			type,
			param: text(error["param"]),
			code,
			status: statusIn(error["code"]) ?? statusNamed(code, type),
			...detailsOf(error["details"]),
		};
	}
	// xAI: {"code": "invalid-argument", "error": "…"}; Venice: {"error": "…", "context": {"errorCode", "issues"}}.
	if (typeof error === "string") {
		const context = isObject(whole["context"]) ? whole["context"] : {};
		const issues = issuesOf(context["issues"]);
		return { message: clip([error, ...issues].join(": ")), code: text(whole["code"]) ?? text(context["errorCode"]) };
	}
	// Venice's early form: {"error": [zod issue, …]}.
	if (Array.isArray(error)) return { message: clip(issuesOf(error).join("; ")), code: "invalid_request" };
	// Older vLLM: {"object": "error", "message", "code"}; Mistral: the same, with FastAPI's {"detail": "…" | [{loc, msg}]} as its message.
	const { message } = whole;
	const reported = isObject(message) ? detailIn(message) : text(message);
	if (whole["object"] === "error") {
		return {
			message: clip(reported ?? "no reason given"),
			type: text(whole["type"]),
			param: text(whole["param"]),
			status: statusIn(whole["code"]),
		};
	}
	// Databricks: {"error_code": "BAD_REQUEST", "message"}; gateways of clouds: {"message"}, {"Message"}.
	const reason = detailIn(whole) ?? reported ?? text(whole["Message"]);
	return reason ? { message: clip(reason), code: text(whole["error_code"]) } : undefined;
}

function detailIn({ detail }: Json): string | undefined {
	return text(detail) ?? text(issuesOf(detail).join("; "));
}

/** What the parts of `google.rpc.Status` add (Gemini): `ErrorInfo` a reason, `RetryInfo` a delay such as `48.9s`. */
function detailsOf(details: unknown): Pick<UpstreamError, "reason" | "retryAfterMs"> {
	if (!Array.isArray(details)) return {};
	const parts = details.filter(isObject);
	const delay = /^(\d{1,9}(?:\.\d+)?)s$/.exec(parts.map((part) => text(part["retryDelay"])).find(Boolean) ?? "")?.[1];
	return {
		reason: parts.map((part) => text(part["reason"])).find(Boolean),
		retryAfterMs: delay === undefined ? undefined : Number(delay) * 1000,
	};
}

/** OpenRouter hides the provider's own words under "Provider returned error". */
function withRaw(message: string, metadata: unknown): string {
	if (!isObject(metadata)) return message;
	const name = text(metadata["provider_name"]);
	const raw = text(metadata["raw"]);
	return raw ? `${message}${name ? ` (${name})` : ""}: ${raw}` : message;
}

function issuesOf(issues: unknown): string[] {
	if (!Array.isArray(issues)) return [];
	return issues.filter(isObject).map((issue) => {
		const where = [issue["path"], issue["loc"], issue["keys"]].find(Array.isArray)?.join(".");
		const what = text(issue["message"]) ?? text(issue["msg"]) ?? text(issue["code"]) ?? "invalid";
		return where ? `${where}: ${what}` : what;
	});
}

function statusIn(code: unknown): number | undefined {
	const number = typeof code === "string" && /^\d{3}$/.test(code) ? Number(code) : code;
	return typeof number === "number" && number >= 400 && number < 600 ? number : undefined;
}

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
function statusNamed(...words: readonly (string | undefined)[]): number | undefined {
	for (const word of words) {
		const key = word?.toLowerCase();
		if (key === undefined) continue;
		if (Object.hasOwn(STATUS, key)) return STATUS[key];
		// Whose client left is not known; it was not this one's.
		if (Object.hasOwn(ERRORS, key) && key !== "cancelled") return ERRORS[key as ErrorCode].status;
	}
	return undefined;
}

/** llm-d and many proxies answer in plain text (`inference error: 429 - …`) or HTML. */
function plainText(body: string, status: number): UpstreamError {
	const trimmed = body.trim();
	if (trimmed === "") return { isOurs: true, message: `answered ${status} with an empty body` };
	if (trimmed.startsWith("<")) return { isOurs: true, message: `answered ${status} with an HTML page` };
	return { message: clip(trimmed) };
}

const clip = (message: string): string => shortText(message, MAX_MESSAGE);

const CONTEXT =
	/context.?(?:length|window)|maximum (?:context|model length|prompt length)|prompt is too long|too many (?:input )?tokens|token_limit_exceeded|input.{0,40}(?:too long|exceeds)/i;
const FILTER = /content.?(?:filter|policy)|moderation|flagged|safety/i;
/** Anthropic's words for it. A 400's message may speak of filters for other reasons. */
const BLOCKED = /blocked by content filter/i;
const MONEY =
	/insufficient.?(?:quota|credit|funds|balance)|exceeded your current quota|billing|out of credits|payment.?required|credits? (?:are|is) depleted/i;
/** Anthropic says 400 to an account without money, Google to one that must have a card first. */
const UNPAID = /credit balance is too low|enable billing/i;

/** Which kind of failure an upstream's status and words make. */
export function failureKindOf(status: number, error: UpstreamError, badKey?: RegExp): FailureKind {
	const words = `${error.code ?? ""} ${error.type ?? ""} ${error.message}`;
	const isBadKey = error.reason === "API_KEY_INVALID" || badKey?.test(error.message);
	if (status === 401 || (status === 400 && isBadKey)) return "auth";
	// Gemini says "exceeded your current quota" for the limit of a minute, too, and names it so.
	const isMinute = error.code === "RESOURCE_EXHAUSTED" && !/depleted/.test(error.message);
	const isMoney = MONEY.test(words) && !isMinute;
	if (status === 402 || (status === 400 && UNPAID.test(error.message))) return "quota";
	if ((status === 429 || status === 403) && isMoney) return "quota";
	if (status === 403) return FILTER.test(words) ? "content_filter" : "auth";
	if (status === 400 || status === 413 || status === 422) {
		if (CONTEXT.test(words)) return "context_length";
		const isFiltered = FILTER.test(`${error.code ?? ""} ${error.type ?? ""}`) || BLOCKED.test(error.message);
		if (isFiltered) return "content_filter";
		return status !== 413 && saysUnsupported(error.message, error.code) ? "unsupported" : "caller";
	}
	if (status === 404) return "not_found";
	if (status === 408 || status === 504) return "timeout";
	if (status === 429) return "rate";
	if (status === 501) return "unsupported";
	// Loop detected (RFC 5842): to ask again, there or elsewhere, would send it round again.
	if (status === 508) return "caller";
	if (status === 503 || status === 529) return "overloaded";
	return status >= 400 && status < 500 ? "caller" : "transport";
}

/** `Retry-After` (seconds or a date) or OpenAI's `retry-after-ms`, in ms; undefined where it is none of these. */
export function retryAfter(headers: AnswerHeaders, now = sentAt(headers) ?? Date.now()): number | undefined {
	const ms = amount(headers.get("retry-after-ms"));
	if (ms !== undefined) return ms;
	const value = headers.get("retry-after");
	const seconds = amount(value);
	if (seconds !== undefined) return seconds * 1000;
	const date = /[a-z]/i.test(value ?? "") ? Date.parse(value ?? "") : Number.NaN;
	return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** The upstream's clock when it sent the answer, which may differ from this machine's. Unix time, ms. */
function sentAt(headers: AnswerHeaders): number | undefined {
	const date = Date.parse(headers.get("date") ?? "");
	return Number.isNaN(date) ? undefined : date;
}

/** Nine digits are 31 years: more is no wait but a mistake. */
function amount(value: string | null): number | undefined {
	return value !== null && /^\d{1,9}(?:\.\d+)?$/.test(value) ? Number(value) : undefined;
}

/** Shorter keys are no secrets but placeholders (`a`, `none`, `EMPTY`), and words of every message. */
const SHORTEST_SECRET = 8;
/** What a word of a key is made of. */
const WORD = /[\w-]/;

/** The text without a secret that stands in it as a word of its own: `token` is none in `tokens`. */
export function masked(text: string, secret: string | undefined): string {
	if (secret === undefined || secret.length < SHORTEST_SECRET) return text;
	let result = "";
	let from = 0;
	for (let at = text.indexOf(secret); at !== -1; at = text.indexOf(secret, at + 1)) {
		const end = at + secret.length;
		if (at < from || WORD.test(text[at - 1] ?? "") || WORD.test(text[end] ?? "")) continue;
		result += `${text.slice(from, at)}********`;
		from = end;
	}
	return result + text.slice(from);
}

/** The failure that an upstream's error makes. */
export function failureOf(upstream: Upstream, status: number, error: UpstreamError, headers?: AnswerHeaders): Failure {
	const kind =
		engineFailure(upstream, status, error) ??
		busyFailure(upstream, status, error, headers) ??
		failureKindOf(status, error, upstream.row.badKeyMessage);
	// An agent has said it in these words already.
	if (kind === "engine_died" && error.code !== "engine_died") {
		const message = masked(engineDeath(error.message), upstream.apiKey);
		return { kind, status, isOurs: true, message, retryAfterMs: headers && retryAfter(headers) };
	}
	return {
		kind,
		status,
		// Some upstreams echo the key they were called with.
		message: masked(error.message, upstream.apiKey),
		isOurs: error.isOurs,
		param: error.param,
		type: error.type,
		code: error.code,
		retryAfterMs: (headers && retryAfter(headers)) ?? error.retryAfterMs,
	};
}
