/** Pieces of a route's `detail` (its entry in `/swagger/json`), so that each route documents itself in a few lines. */
import type { DocumentDecoration } from "elysia";
import { ERRORS, type ErrorCode, RouterError } from "../errors.ts";

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
	const byStatus = new Map<number, ErrorCode[]>();
	for (const code of codes) byStatus.set(ERRORS[code].status, [...(byStatus.get(ERRORS[code].status) ?? []), code]);
	return Object.fromEntries(
		[...byStatus].map(([status, group]) => [
			String(status),
			{
				description: group.map((code) => `\`${code}\`: ${ERRORS[code].remedy}`).join("\n\n"),
				content: {
					"application/json": {
						schema: { $ref: ERROR_REF },
						examples: Object.fromEntries(group.map((code) => [code, { value: example(code) }])),
					},
				},
			},
		]),
	) as Responses;
}

/**
 * For a route whose path ends in `*` (model ids contain slashes): how the document names that part. Spread it into
 * `detail`; the path is then shown as `/v1/models/{name}`.
 */
export function wildcard(name: string, description: string, example: string): Partial<Detail> {
	const parameter = { name, in: "path", required: true, description, example, schema: { type: "string" } };
	return { "x-wildcard": name, parameters: [parameter] } as Partial<Detail>;
}

function example(code: ErrorCode) {
	return new RouterError(code, ERRORS[code].remedy).body;
}
