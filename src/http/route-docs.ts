/** Pieces of a route's `detail` (its entry in `/swagger/json`), so that each route documents itself in a few lines. */
import type { DocumentDecoration } from "elysia";
import { ERRORS, type ErrorCode, errorBody } from "../errors.ts";

/** What Elysia's `detail` takes. */
export type Detail = DocumentDecoration;
type Responses = NonNullable<Detail["responses"]>;
type Response = Responses[string];
type Schema = object;

/** Where the error shape lives in the document. */
export const ERROR_REF = "#/components/schemas/Error";

/** A JSON answer with an example, and a `schema` where the example does not show everything. */
export function answer(description: string, example: unknown, schema: Schema = { type: "object" }): Response {
	return { description, content: { "application/json": { schema, example } } } as Response;
}

/**
 * The answer of a route that streams when asked to (`"stream": true`): JSON or `text/event-stream`.
 * @param events the events of the example stream, without `data: `; `[DONE]` is added
 */
export function streamed(description: string, example: unknown, events: unknown[], schema?: Schema): Response {
	const lines = [...events.map((event) => JSON.stringify(event)), "[DONE]"].map((data) => `data: ${data}\n\n`);
	const stream = { schema: { type: "string" }, example: lines.join("") };
	const json = { schema: schema ?? { type: "object" }, example };
	return { description, content: { "application/json": json, "text/event-stream": stream } } as Response;
}

/** Error answers by status, each with one example a code. Spread it into `detail.responses`. */
export function errorResponses(...codes: ErrorCode[]): Responses {
	const byStatus: Record<string, ErrorCode[]> = {};
	for (const code of codes) {
		const { status } = ERRORS[code];
		byStatus[status] ??= [];
		byStatus[status].push(code);
	}
	const responses: Record<string, Response> = {};
	for (const status in byStatus) responses[status] = errorResponse(byStatus[status]!);
	return responses as Responses;
}

/** Of routes with the same errors there is one: hundreds would take a start's time. By their codes. */
const made = new Map<string, Response>();

function errorResponse(codes: readonly ErrorCode[]): Response {
	const key = codes.join();
	let response = made.get(key);
	if (!response) {
		const description = codes.map((code) => `\`${code}\`: ${ERRORS[code].remedy}`).join("\n\n");
		const examples = Object.fromEntries(codes.map((code) => [code, { value: errorBody(code, ERRORS[code].remedy) }]));
		const content = { "application/json": { schema: { $ref: ERROR_REF }, examples } };
		response = { description, content } as Response;
		made.set(key, response);
	}
	return response;
}

/**
 * For a route whose path ends in `*` (model ids contain slashes): how the document names that part. Spread it into
 * `detail`; the path is then shown as `/v1/models/{name}`.
 */
export function wildcard(name: string, description: string, example: string): Partial<Detail> {
	const parameter = { name, in: "path", required: true, description, example, schema: { type: "string" } };
	return { "x-wildcard": name, parameters: [parameter] } as Partial<Detail>;
}
