/**
 * The OpenAPI document: the draft of @elysiajs/swagger 1.3.1 becomes valid OpenAPI 3.1. Of that version, since its schemas are plain JSON
 * Schema, as TypeBox's are: `const`, `null` and exclusive bounds are wrong in 3.0.
 */
import { Type } from "@sinclair/typebox";
import { ERROR_REF } from "./route-docs.ts";

type Json = Record<string, unknown>;

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/** The fields of a Response Object; the plugin copies the whole schema's annotations into it. */
const RESPONSE_FIELDS = ["$ref", "description", "headers", "content", "links"];

/** The error body, as every route answers it. */
const ErrorSchema = Type.Object(
	{
		error: Type.Object({
			message: Type.String({ description: "What was wrong, where, and what to do." }),
			type: Type.String({ examples: ["invalid_request_error"] }),
			param: Type.Union([Type.String(), Type.Null()], { description: "The field at fault: `messages[0].role`." }),
			code: Type.Union([Type.String(), Type.Null()], { examples: ["model_not_found"] }),
		}),
	},
	{ description: "OpenAI's error shape." },
);

/** Parts of the document that no route brings: the key, the error shape, the tags. */
const SHARED = {
	// Beside `/swagger/json`, where this is read, one up: whatever path a proxy has put before the API is in it.
	servers: [{ url: ".." }],
	tags: [
		{ name: "OpenAI", description: "The OpenAI API." },
		{ name: "Agents", description: "What GPU hosts say to the router." },
		{ name: "Administration", description: "Keys, usage and past calls; takes an admin key." },
		{ name: "Operations", description: "For those who run the router." },
	],
	security: [{ key: [] }],
	components: {
		securitySchemes: {
			key: {
				type: "http",
				scheme: "bearer",
				description: "One of the router's own keys. Not needed while it has none.",
			},
			adminKey: {
				type: "http",
				scheme: "bearer",
				description: "A key of `admin.keys`, or of `ROUTER_ADMIN_KEYS`.",
			},
			agentToken: {
				type: "http",
				scheme: "bearer",
				description: "`ROUTER_AGENT_TOKEN` of the router, or a token from `router agents invite`.",
			},
		},
		schemas: { Error: ErrorSchema },
		responses: {
			Error: {
				description: "Any failure, with the status that fits.",
				content: { "application/json": { schema: { $ref: ERROR_REF } } },
			},
		},
	},
};

/**
 * Finishes a document: every operation has its error answer, every response its description and nothing it may not
 * have, request bodies are JSON, and the key, the error shape and the tags are there.
 * @param draft the plugin's document after a round trip through JSON; not changed
 */
export function finishDocument(draft: Json): Json {
	const paths: Json = {};
	for (const [path, item] of Object.entries((draft["paths"] ?? {}) as Json)) paths[path] = finishPath(item as Json);
	const { components: drafted, ...rest } = draft as { components?: { schemas?: Json } };
	const components = { ...SHARED.components, schemas: { ...drafted?.schemas, ...SHARED.components.schemas } };
	return withoutIds({ ...rest, ...SHARED, components, openapi: "3.1.0", paths }) as Json;
}

function finishPath(item: Json): Json {
	return Object.fromEntries(
		Object.entries(item).map(([method, operation]) => [
			method,
			METHODS.includes(method) ? finishOperation(operation as Json) : operation,
		]),
	);
}

function finishOperation({ "x-wildcard": _named, ...operation }: Json): Json {
	const responses: Json = {};
	for (const [status, response] of Object.entries((operation["responses"] ?? {}) as Json))
		responses[status] = finishResponse(response as Json);
	responses["default"] ??= { $ref: "#/components/responses/Error" };
	const body = operation["requestBody"] as Json | undefined;
	return { ...operation, responses, ...(body ? { requestBody: { ...body, content: jsonOnly(body["content"]) } } : {}) };
}

function finishResponse(response: Json): Json {
	const allowed = Object.fromEntries(Object.entries(response).filter(([name]) => RESPONSE_FIELDS.includes(name)));
	return "$ref" in allowed ? allowed : { ...allowed, description: allowed["description"] ?? "Success." };
}

/** The plugin lists a body under JSON, form and text, or under `none` where a route parses it itself. A form alone is one. */
function jsonOnly(content: unknown): Json {
	const types = (content ?? {}) as Json;
	const form = types["multipart/form-data"];
	if (form && Object.keys(types).length === 1) return { "multipart/form-data": form };
	return { "application/json": types["application/json"] ?? types["none"] ?? {} };
}

/** `$id` would make the schema the base of its own references. */
function withoutIds(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(withoutIds);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(
		Object.entries(value)
			.filter(([name, inner]) => name !== "$id" || typeof inner !== "string")
			.map(([name, inner]) => [name, withoutIds(inner)]),
	);
}
