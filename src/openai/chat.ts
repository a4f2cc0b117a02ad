/**
 * A chat request, read for a translation to another wire. Every field that can't be carried is refused by name: an answer to
 * less than was asked is worse than none.
 */

import { ValueErrorType } from "@sinclair/typebox/errors";
import { RouterError } from "../errors.ts";
import type { LazyCheck } from "../lazy-check.ts";
import { CHOICES, type Chat, type Checks, FORMATS, MESSAGES, OPTIONS, PARTS } from "./chat-schema.ts";
import type { RequestBody } from "./request-fields.ts";
import { checkSchema } from "./schema-words.ts";
import { describe, furthest, pathOf } from "./validation.ts";

/**
 * The body of a chat call, checked. Throws `unsupported_parameter` for a field, a role or a kind of content that has no place in
 * a translation, and `invalid_value` for one of the wrong shape; both name it.
 */
export function readChat(body: RequestBody): Chat & RequestBody {
	const tools = Array.isArray(body["tools"]) ? body["tools"] : [];
	const other = tools.findIndex(({ type }) => type !== "function");
	if (other !== -1) throw unsupported(`tools[${other}].type`, "only functions have a counterpart");
	check(OPTIONS, body, "");
	checkKind(CHOICES, body["tool_choice"], "tool_choice");
	checkKind(FORMATS, body["response_format"], "response_format");
	checkSchemas(body as Chat & RequestBody);
	const messages = body["messages"] as { role: string; content?: unknown; [field: string]: unknown }[];
	for (let index = 0; index < messages.length; index++) {
		const message = messages[index]!;
		const path = `messages[${index}]`;
		const checker = named(MESSAGES, message.role);
		if (!checker) {
			throw unsupported(`${path}.role`, "only system, developer, user, assistant and tool have a counterpart");
		}
		if (message.role === "assistant") checkAssistant(message, path);
		check(checker, message, path);
		if (Array.isArray(message.content)) checkParts(message.content, path);
	}
	return body as Chat & RequestBody;
}

/** The schemas of the tools and of the answer. */
function checkSchemas({ tools, response_format: format }: Chat): void {
	for (const [index, { function: fn }] of (tools ?? []).entries()) {
		if (fn.parameters) checkSchema(fn.parameters, `tools[${index}].function.parameters`);
	}
	const schema = format?.type === "json_schema" ? format.json_schema.schema : undefined;
	if (schema) checkSchema(schema, "response_format.json_schema.schema");
}

/** What an assistant message of another kind of model may hold. */
function checkAssistant(message: Record<string, unknown>, path: string): void {
	for (const field of ["audio", "function_call"]) {
		if (message[field]) throw unsupported(`${path}.${field}`, "it has no counterpart");
	}
	const calls = (message["tool_calls"] ?? []) as readonly { type?: unknown }[];
	const other = calls.findIndex(({ type }) => type !== undefined && type !== "function");
	if (other !== -1) throw unsupported(`${path}.tool_calls[${other}].type`, "only functions have a counterpart");
}

function checkParts(parts: readonly { type: string }[], path: string): void {
	for (let index = 0; index < parts.length; index++) {
		checkKind(PARTS, parts[index], `${path}.content[${index}]`);
	}
}

const named = (checks: Checks, name: unknown): LazyCheck | undefined =>
	typeof name === "string" && Object.hasOwn(checks, name) ? checks[name] : undefined;

/** Checks an object by its `type`. What is no object is one of the words that `request.ts` lets through. */
function checkKind(checks: Checks, value: unknown, path: string): void {
	if (typeof value === "string" && path === "tool_choice") {
		if (!["auto", "none", "required"].includes(value)) throw invalid(path, 'must be "auto", "none" or "required"');
		return;
	}
	if (typeof value !== "object" || value === null) return;
	const checker = named(checks, (value as { type?: unknown }).type);
	if (!checker) throw unsupported(`${path}.type`, "this kind has no counterpart");
	check(checker, value, path);
}

function check(checker: LazyCheck, value: unknown, path: string): void {
	if (checker.Check(value)) return;
	// A field that is null says nothing, so nothing is lost with it.
	const present = withoutNulls(value);
	const first = checker.Errors(present).First();
	if (!first) return;
	const deepest = furthest(first);
	const param = joined(path, pathOf(deepest.path));
	if (deepest.type === ValueErrorType.ObjectAdditionalProperties) throw unsupported(param, "it has no counterpart");
	const { message } = describe(deepest);
	throw new RouterError(
		"invalid_value",
		message.replace(/"[^"]*"/, () => JSON.stringify(param)),
		{ param },
	);
}

function withoutNulls(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(withoutNulls);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(
		Object.entries(value).flatMap(([key, inner]) => (inner === null ? [] : [[key, withoutNulls(inner)]])),
	);
}

const joined = (path: string, inner: string): string =>
	path === "" ? inner : inner === "" ? path : `${path}.${inner}`;

/** The refusal of a field that can't be carried. `why` completes "The upstream of this model can't take "x": …". */
export function unsupported(param: string, why: string): RouterError {
	return new RouterError("unsupported_parameter", `The upstream of this model can't take "${param}": ${why}.`, {
		param,
	});
}

/** The refusal of a value that is wrong for every upstream. `why` completes "The field "x" …". */
export function invalid(param: string, why: string): RouterError {
	return new RouterError("invalid_value", `The field "${param}" ${why}.`, { param });
}

/** What an encoder makes, or needs. Throws `invalid_value` where the request is nested so deeply that the stack overflows. */
export function encoded<T>(encode: () => T): T {
	try {
		return encode();
	} catch (thrown) {
		if (thrown instanceof RangeError) throw new RouterError("invalid_value", "The request is nested too deeply.");
		throw thrown;
	}
}
