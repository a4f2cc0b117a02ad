/** Reads a request's JSON and says what is wrong with it in the words of Anthropic's own API: `messages.0.content: Field required`. */
import type { TSchema } from "@sinclair/typebox";
import { type ValueError, ValueErrorType } from "@sinclair/typebox/errors";
import { RouterError } from "../../errors.ts";
import type { Field } from "../../openai/json.ts";
import { furthest } from "../../openai/validation.ts";
import { type ObjectRefusals, requestObject } from "../request-object.ts";
import { BLOCKS, type Block, type MessagesRequest, REQUESTS, SOURCES } from "./messages-schema.ts";

/** The refusal of a field. `path` with dots, `messages.0.content`. */
export function refusal(path: string, what: string): RouterError {
	return new RouterError("invalid_value", `${path}: ${what}`, { param: path });
}

const REFUSALS: ObjectRefusals = {
	noJson: () => "The request body is not valid JSON.",
	noObject: "The request body must be a JSON object.",
	repeated: (name) => `${name}: the field stands twice; send it once`,
};

/** A request, and where its top-level fields stand in its text. */
export interface CheckedRequest {
	readonly request: MessagesRequest;
	readonly fields: readonly Field[];
}

/**
 * The request, checked. Throws `invalid_json`, `duplicate_key`, `body_too_large` or `invalid_value`; messages never quote the request.
 * @param isSevere the rules of version 2026-10-21 and later hold
 */
export function readRequest(text: string, kind: keyof typeof REQUESTS, isSevere: boolean): CheckedRequest {
	const { value, fields } = requestObject(text, REFUSALS);
	const { compiled: check } = REQUESTS[kind];
	if (!check.Check(value)) throw wrongValue(check.Errors(value).First(), "");
	const request = value as MessagesRequest;
	checkThread(request);
	checkTools(request.tools);
	if (Array.isArray(request.system)) checkBlocks(request.system, "system", isSevere);
	for (const [index, { content, role }] of request.messages.entries()) {
		if (typeof content === "string") continue;
		checkBlocks(content, `messages.${index}.content`, isSevere);
		if (isSevere && role === "assistant") refuseDocuments(content, `messages.${index}.content`);
	}
	if (isSevere) refuseSampling(request);
	return { request, fields };
}

/**
 * Conversations that the server keeps are refused with the code on which Anthropic's SDKs send the whole history instead, and go on without
 * threads (`thread_unsupported_request`).
 */
function checkThread(request: Readonly<Record<string, unknown>>): void {
	if (request["thread"] == null) return;
	throw new RouterError("unsupported_parameter", "thread: this server keeps no threads; send the whole conversation", {
		param: "thread",
		upstreamCode: THREAD_UNSUPPORTED,
	});
}

/** Tools that the client runs say what they are called and what they take. */
function checkTools(tools: MessagesRequest["tools"]): void {
	for (const [index, tool] of (tools ?? []).entries()) {
		if (tool.type != null && tool.type !== "custom") continue;
		const missing = tool.name === undefined ? "name" : tool.input_schema == null ? "input_schema" : undefined;
		if (missing) throw refusal(`tools.${index}.custom.${missing}`, "Field required");
	}
}

/** `error.details.error_code` of that refusal. */
export const THREAD_UNSUPPORTED = "thread_unsupported_request";

function checkBlocks(blocks: readonly Block[], path: string, isSevere: boolean): void {
	for (const [index, block] of blocks.entries()) {
		const { type } = block;
		const at = `${path}.${index}`;
		const check = Object.hasOwn(BLOCKS, type) ? BLOCKS[type]!.compiled : undefined;
		if (!check) continue;
		if (!check.Check(block)) throw wrongValue(check.Errors(block).First(), `${at}.${type}`);
		if (type === "image" || type === "document") checkSource(block["source"] as Block, `${at}.${type}.source`);
		else if (type === "tool_result" && Array.isArray(block["content"])) {
			checkBlocks(block["content"] as Block[], `${at}.tool_result.content`, isSevere);
		} else if (isSevere && type === "text" && block["citations"] != null) {
			throw refusal(`${at}.text.citations`, NOT_PERMITTED);
		}
	}
}

function checkSource(source: Block, path: string): void {
	const { type } = source;
	const check = Object.hasOwn(SOURCES, type) ? SOURCES[type]!.compiled : undefined;
	if (!check) throw refusal(path, `Input tag '${type.slice(0, 40)}' does not match any of the expected tags`);
	if (!check.Check(source)) throw wrongValue(check.Errors(source).First(), `${path}.${type}`);
	if (type === "content" && Array.isArray(source["content"])) {
		checkBlocks(source["content"] as Block[], `${path}.content.content`, false);
	}
}

const NOT_PERMITTED = "Extra inputs are not permitted";

/** From 2026-10-21 on these are errors, whatever their value. */
function refuseSampling(request: Readonly<Record<string, unknown>>): void {
	for (const name of ["temperature", "top_p", "top_k"]) {
		if (request[name] === undefined) continue;
		throw refusal(name, `${NOT_PERMITTED}: anthropic-version 2026-10-21 takes no sampling parameters`);
	}
}

function refuseDocuments(blocks: readonly Block[], path: string): void {
	const index = blocks.findIndex(({ type }) => type === "document");
	if (index !== -1) throw refusal(`${path}.${index}`, "documents are not permitted in assistant messages");
}

/** `/messages/0/role` → `messages.0.role`. */
const dotted = (pointer: string): string =>
	pointer.slice(1).replaceAll("/", ".").replaceAll("~1", "/").replaceAll("~0", "~").slice(0, 200);

function wrongValue(found: ValueError | undefined, base: string): RouterError {
	if (!found) return new RouterError("invalid_value", "A field has a wrong type.");
	// A union of literals, or of texts and lists, says itself what may stand there.
	if (found.path === "/messages" && Array.isArray(found.value)) {
		return refusal("messages", "at least one message is required");
	}
	const own = expectsOf(found.schema);
	const deepest = furthest(found);
	const error = own !== undefined && deepest.path === found.path ? found : deepest;
	const path = [base, dotted(error.path)].filter((part) => part !== "").join(".");
	return refusal(path, whatIsWrong(error));
}

function whatIsWrong({ type, schema, value }: ValueError): string {
	if (type === ValueErrorType.ObjectRequiredProperty) return "Field required";
	const expects = expectsOf(schema);
	if (expects !== undefined) return expects;
	const { minimum, maximum, minItems, minLength, maxLength } = boundsIn(schema);
	if (typeof value === "number" && minimum !== undefined && value < minimum) {
		return `Input should be greater than or equal to ${minimum}`;
	}
	if (typeof value === "number" && Number.isInteger(value) && maximum !== undefined && value > maximum) {
		return `Input should be less than or equal to ${maximum}`;
	}
	if (Array.isArray(value) && minItems !== undefined && value.length < minItems) {
		return `List should have at least ${minItems} item after validation, not ${value.length}`;
	}
	if (typeof value === "string" && minLength !== undefined && value.length < minLength) {
		return `String should have at least ${minLength} character`;
	}
	if (typeof value === "string" && maxLength !== undefined) return `String should have at most ${maxLength} characters`;
	return `Input should be a valid ${KINDS[kindOf(schema)] ?? "value"}`;
}

/** What a schema says itself may stand there. */
const expectsOf = (schema: TSchema): string | undefined => schema["expects"] ?? optionsOf(schema)[0]?.["expects"];

/** What TypeBox calls it, and what Anthropic does. */
const KINDS: Readonly<Record<string, string>> = {
	string: "string",
	integer: "integer",
	number: "number",
	boolean: "boolean",
	array: "list",
	object: "dictionary",
};

const kindOf = (schema: TSchema): string => schema["type"] ?? optionsOf(schema)[0]?.["type"] ?? "";

/** The ways that a value may be other than null. */
const optionsOf = (schema: TSchema): readonly TSchema[] =>
	Array.isArray(schema["anyOf"]) ? schema["anyOf"].filter((option: TSchema) => option["type"] !== "null") : [];

function boundsIn(schema: TSchema): TSchema {
	return schema["anyOf"] ? ((optionsOf(schema)[0] ?? schema) as TSchema) : schema;
}
