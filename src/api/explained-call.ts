/** Which call a path, or the fields of a body, stand for: what `POST /v1/route` explains. Pure. */
import type { Dialect } from "../dialects/dialect.ts";
import { askedMethod, type GeminiMethod } from "../dialects/gemini/asked-method.ts";
import { geminiFor } from "../dialects/gemini/gemini-dialect.ts";
import { isAnthropics } from "../dialects/request-dialect.ts";
import { RouterError } from "../errors.ts";
import { similarPaths } from "../http/similar-paths.ts";
import type { Operation } from "../openai/operations.ts";
import type { PassedOperation } from "../openai/passed-operations.ts";

/** A call that could be made: how its body is read. */
export type CallKind =
	| { readonly operation: Operation; readonly dialect: Dialect }
	| { readonly passes: PassedOperation; readonly dialect: Dialect };

/** A row of the router's table, as far as it says what call it makes. */
export interface ExplainableRoute {
	readonly method: string;
	readonly path: string;
	readonly dialect?: Dialect;
	readonly operation?: Operation;
	readonly passes?: PassedOperation;
	readonly methods?: "gemini";
}

/** Longest path that an error repeats, characters. */
const LONGEST = 200;
const VECTORS: ReadonlySet<GeminiMethod> = new Set(["embedContent", "batchEmbedContents"]);
const MODEL_METHOD = /^\/(?:v\d\w*\/|models\/).*:\w+$/;

/**
 * The call that is made by a POST to a path of this router's.
 * @param path as clients have it, with or without a query
 * @param headers of whoever asks: some say which form of its API a client speaks
 * Throws `invalid_value`, naming `path`, for one where no call is made.
 */
export function callAt(path: string, headers: Headers, routes: readonly ExplainableRoute[]): CallKind {
	const plain = `/${path.replace(/[?#].*$/s, "").replace(/^\/+|\/+$/g, "")}`;
	const row = routes.find((each) => each.method === "POST" && each.path === plain);
	if (row?.passes && row.dialect) return { passes: row.passes, dialect: row.dialect };
	if (row?.operation && row.dialect) {
		return { operation: row.operation, dialect: row.dialect.forRequest?.(headers) ?? row.dialect };
	}
	if (!row && MODEL_METHOD.test(plain)) return methodAt(`/${path.replace(/^\/+/, "")}`);
	throw noCall(plain, routes);
}

/** Google's paths name the model, and what it is asked. */
function methodAt(path: string): CallKind {
	const asked = readMethod(path);
	const { method } = asked;
	if (method === "countTokens") {
		throw wrongPath(`${method} counts, and makes no call that could be explained: ask for generateContent`);
	}
	return { operation: VECTORS.has(method) ? "embeddings" : "chat", dialect: geminiFor(asked) };
}

function readMethod(path: string) {
	try {
		return askedMethod(path);
	} catch (thrown) {
		throw wrongPath(`${shown(path)}: ${(thrown as Error).message.replace(/\.$/, "")}`);
	}
}

function noCall(path: string, routes: readonly ExplainableRoute[]): RouterError {
	const calls = routes.filter(({ operation, passes }) => operation || passes).map((each) => each.path);
	if (routes.some((each) => matches(each.path, path))) {
		return wrongPath(
			`no call of a model is made at ${shown(path)}: name the path of one, such as /v1/messages, /v1/responses or /v1beta/models/{model}:generateContent`,
		);
	}
	const close = similarPaths(path, calls);
	const hint = close.length > 0 ? `did you mean ${close.join(" or ")}?` : "GET /swagger lists the paths there are";
	return wrongPath(`there is no ${shown(path)}: ${hint}`);
}

/** Whether a path is one of a row with parameters. */
function matches(row: string, path: string): boolean {
	const parts = path.split("/");
	const wanted = row.split("/");
	const isOpen = wanted.at(-1) === "*";
	if (isOpen ? parts.length < wanted.length : parts.length !== wanted.length) return false;
	return wanted.every((part, at) => part === "*" || part.startsWith(":") || part === parts[at]);
}

const shown = (path: string): string => (path.length > LONGEST ? `${path.slice(0, LONGEST)}…` : path);

function wrongPath(what: string): RouterError {
	const message = `path: ${what}${/[.?]$/.test(what) ? "" : "."}`;
	return new RouterError("invalid_value", message, { param: "path" });
}

/** What calls of the Responses API have, and embeddings have not. */
const RESPONSES_FIELDS = [
	...["instructions", "max_output_tokens", "previous_response_id", "conversation", "reasoning", "text", "tools"],
	...["include", "store", "truncation", "temperature", "background", "prompt"],
];

/**
 * The path that a body is most likely for, by its fields; undefined where they say nothing: a model's name alone. Pictures and sound have no fields
 * of their own, so who means those says the path.
 */
export function likelyPath(body: Readonly<Record<string, unknown>>, headers: Headers): string | undefined {
	const has = (field: string) => Object.hasOwn(body, field);
	const { model } = body;
	if (has("contents") && typeof model === "string")
		return `/v1beta/models/${encodeURIComponent(model)}:generateContent`;
	if (has("messages")) return isAnthropics(headers) ? "/v1/messages" : "/v1/chat/completions";
	if (has("input")) {
		const { input } = body;
		const isItems = Array.isArray(input) && input.some((each) => typeof each === "object" && !Array.isArray(each));
		return isItems || RESPONSES_FIELDS.some(has) ? "/v1/responses" : "/v1/embeddings";
	}
	if (has("query") && has("documents")) return "/v1/rerank";
	return has("prompt") ? "/v1/completions" : undefined;
}
