/** The request of an operation that is passed on, read as far as its model: a JSON body whole, a form until its model has come. */
import type { Config } from "../config/schema.ts";
import { requestOf } from "../dialects/openai-chat.ts";
import { requestObject } from "../dialects/request-object.ts";
import { RouterError } from "../errors.ts";
import { FormBody } from "../http/form-body.ts";
import { readRequestBody } from "../http/request-body.ts";
import type { ParsedRequest, PassedRequest } from "../openai/call.ts";
import { addField, parseWithFields } from "../openai/json.ts";
import { OPERATIONS } from "../openai/operations.ts";
import { ParsedBody } from "../openai/parsed-body.ts";
import type { PassedOperation } from "../openai/passed-operations.ts";
import type { RequestBody } from "../openai/request-fields.ts";
import { utf8Text } from "../openai/validation.ts";

/** A request that was read so far. */
export interface ReadPassed {
	readonly parsed: ParsedRequest;
	readonly passed: PassedRequest;
	/** The body, where it is JSON. */
	readonly json?: Buffer;
	/** Gives back what it holds. */
	close?(): Promise<void>;
}

/**
 * Reads it.
 * @param config how long the body may be, and where a long form may be kept
 * @param isWhole a form is read to its end, so that all its fields are known
 * Throws `unsupported_media_type`, `body_too_large`, `invalid_json`, `invalid_value`, `duplicate_key`; `cancelled` where the client leaves.
 */
export async function readPassed(
	operation: PassedOperation,
	request: Request,
	config: Pick<Config, "server" | "data_dir">,
	isWhole: boolean,
): Promise<ReadPassed> {
	const limit = config.server.body_limit;
	const takesForms = OPERATIONS[operation].passed?.takesForms === true;
	const form = takesForms ? await FormBody.read(request, limit, isWhole ? "end" : "model", config.data_dir) : undefined;
	if (form) return formRequest(operation, request, form);
	const type = request.headers.get("content-type") ?? "";
	if (takesForms && !/json/i.test(type)) {
		const message = `The content-type must be multipart/form-data (with its boundary) or application/json; it is ${type ? `"${type.slice(0, 100)}"` : "missing"}.`;
		throw new RouterError("unsupported_media_type", message);
	}
	return readPassedJson(operation, await readRequestBody(request, limit));
}

function formRequest(operation: PassedOperation, request: Request, form: FormBody): ReadPassed {
	const { defaultModel } = OPERATIONS[operation].passed!;
	const asked = form.field("model")?.value;
	// No two forms are the same: nobody has looked into their files.
	const said: Record<string, unknown> = { session_id: crypto.randomUUID() };
	// Some servers read `models[]` as `models`.
	for (const name of form.names) said[name.replace(/\[.*$/, "")] = form.field(name)?.value ?? null;
	const n = Number(said["n"]);
	if ("n" in said) said["n"] = Number.isSafeInteger(n) && n > 0 ? n : null;
	delete said["stream"];
	const model = modelOf(asked, operation);
	return {
		parsed: parsedOf(operation, JSON.stringify({ ...said, model })),
		passed: {
			method: "POST",
			contentType: request.headers.get("content-type")!,
			isUncounted: SAYS_NO_LENGTH.includes(String(said["response_format"])),
			get isSpent() {
				return form.isSpent;
			},
			body: (target) => form.stream("model", asked === undefined && target === defaultModel ? undefined : target),
		},
		close: () => form.close(),
	};
}

/** The same of a body that is JSON, and has been read. Throws `invalid_json`, `invalid_value`, `duplicate_key`. */
export function readPassedJson(operation: PassedOperation, bytes: Buffer): ReadPassed {
	const { value, fields, raw } = parsedJson(bytes);
	const asked = value["model"];
	const model = modelOf(asked, operation);
	const body = ParsedBody.of(raw, fields, value as RequestBody);
	const field = body.field("model");
	// `null` is no name, either.
	const facts = asked === model ? undefined : JSON.stringify({ ...value, model });
	return {
		json: bytes,
		parsed: parsedOf(operation, facts ?? body),
		passed: {
			method: "POST",
			contentType: "application/json",
			isUncounted: SAYS_NO_LENGTH.includes(String(value["response_format"])),
			isSpent: false,
			body(target) {
				if (target === model) return [body.bytes];
				const insert = JSON.stringify(target);
				if (field) return body.edited([{ start: field.start, end: field.end, insert }]);
				return body.edited([addField(body.bytes.indexOf(OPEN_BRACE), fields.length === 0, "model", insert)]);
			},
		},
	};
}

const OPEN_BRACE = 123;
/** Forms of a transcription that are the text alone. */
const SAYS_NO_LENGTH = ["text", "srt", "vtt"];
/** Longest name of a model, characters. */
const LONGEST_NAME = 512;

/** The model that a request asks for. Throws `invalid_value`. */
function modelOf(asked: unknown, operation: PassedOperation): string {
	const { title, passed } = OPERATIONS[operation];
	const model = asked ?? passed?.defaultModel;
	if (typeof model === "string" && model !== "" && model.length <= LONGEST_NAME) return model;
	const message =
		model === undefined
			? `"model" is missing: the router has to know whom to ask for ${title}.`
			: `"model" must be a string of 1 to ${LONGEST_NAME} characters.`;
	throw new RouterError("invalid_value", message, { param: "model" });
}

/** The facts of it, with what is priced of it besides tokens. */
function parsedOf(operation: PassedOperation, body: string | ParsedBody): ParsedRequest {
	const read = typeof body === "string" ? bodyOf(body) : body;
	const parsed = requestOf(operation, read);
	const { unit } = OPERATIONS[operation].passed!;
	if (unit === undefined) return parsed;
	const { facts } = parsed;
	const input = unit === "character" ? read.at("input") : undefined;
	const characters = typeof input === "string" ? input.length : undefined;
	const images = unit === "image" ? facts.choices : undefined;
	return { ...parsed, facts: Object.assign(facts, { units: () => ({ images, characters }) }) };
}

function bodyOf(raw: string): ParsedBody {
	const { fields, value } = parseWithFields(raw);
	return ParsedBody.of(raw, fields, value as RequestBody);
}

/** A body that is a JSON object, with where its fields stand. Throws `invalid_json`, `invalid_value`, `duplicate_key` and `body_too_large`. */
export function parsedJson(bytes: Buffer) {
	const raw = utf8Text(bytes);
	const { value, fields } = requestObject(raw);
	return { raw, value, fields };
}

/** Of a request that names no model: about files, or batches. */
export function storedRequest(operation: "files" | "batches"): ParsedRequest {
	return parsedOf(operation, JSON.stringify({ model: operation }));
}
