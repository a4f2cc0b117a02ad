/** What `/swagger` says of the routes that Google's clients call. The examples are real answers of the model `dummy`. */
import { errorObject } from "../dialects/gemini/error.ts";
import { geminiModel } from "../dialects/gemini/models.ts";
import { GenerateRequest } from "../dialects/gemini/request-schema.ts";
import { ERRORS, type ErrorCode, RouterError } from "../errors.ts";
import { answer, type Detail, wildcard } from "../http/route-docs.ts";
import { CALL_ERRORS, requestBody } from "./api-docs.ts";

const TAGS = ["Google"];

const errorSchema = {
	type: "object",
	required: ["error"],
	properties: {
		error: {
			type: "object",
			required: ["code", "message", "status"],
			properties: {
				code: { type: "integer" },
				message: { type: "string" },
				status: { type: "string" },
				details: { type: "array", items: { type: "object" } },
			},
		},
	},
};

/** Errors of these routes, by status. */
function errors(codes: readonly ErrorCode[]): NonNullable<Detail["responses"]> {
	const byStatus = Map.groupBy(codes, (code) => ERRORS[code].status);
	return Object.fromEntries(
		[...byStatus].map(([status, group]) => [
			status,
			{
				description: group.map((code) => ERRORS[code].remedy).join("\n\n"),
				content: {
					"application/json": {
						schema: errorSchema,
						examples: Object.fromEntries(
							group.map((code) => [
								code,
								{ value: { error: errorObject(new RouterError(code, ERRORS[code].remedy)) } },
							]),
						),
					},
				},
			},
		]),
	) as unknown as NonNullable<Detail["responses"]>;
}

const generated = {
	candidates: [{ content: { parts: [{ text: "Hello world" }], role: "model" }, finishReason: "STOP", index: 0 }],
	usageMetadata: { promptTokenCount: 9, candidatesTokenCount: 2, totalTokenCount: 11 },
	modelVersion: "dummy",
	responseId: "6f0c",
};

/** `POST /v1beta/models/{model}:{method}`. */
export const GENERATE_DOCS: Detail = {
	tags: TAGS,
	operationId: "generateContent",
	summary: "Generate, stream, count, embed",
	description:
		"Google's Gemini API for every model of the router: `{model}:generateContent`, `:streamGenerateContent` (`?alt=sse` for events), " +
		"`:countTokens`, `:embedContent` and `:batchEmbedContents`; the same under `/v1` and without a version. What a model's upstream has no form " +
		"for is left out and named in `x-router-dropped`. The key goes as `x-goog-api-key`, as `?key=…` or as `authorization: Bearer …`.",
	...wildcard("model", "The model's name, slashes included, a colon and the method.", "dummy:generateContent"),
	requestBody: requestBody(GenerateRequest, { contents: [{ role: "user", parts: [{ text: "hi" }] }] }),
	responses: {
		200: {
			description: "The answer; of `:streamGenerateContent?alt=sse` as server-sent events.",
			content: {
				...(answer("", generated) as { content: object }).content,
				"text/event-stream": { schema: { type: "string" }, example: `data: ${JSON.stringify(generated)}\n\n` },
			},
		},
		...errors(["unsupported_parameter", "unknown_path", ...CALL_ERRORS]),
	},
};

/** `GET /v1beta/models`. */
export const GEMINI_MODELS_DOCS: Detail = {
	tags: TAGS,
	operationId: "listGeminiModels",
	summary: "Models",
	description: "In pages of `pageSize`, from `pageToken` on. `/v1/models` answers the same to Google's clients.",
	responses: {
		200: answer("The models.", { models: [geminiModel({ id: "dummy" })] }),
		...errors(["invalid_value", "invalid_api_key", "internal_error"]),
	},
};

/** `GET /v1beta/models/{model}`. */
export const GEMINI_MODEL_DOCS: Detail = {
	tags: TAGS,
	operationId: "getGeminiModel",
	summary: "One model",
	...wildcard("model", "The model's name, slashes included.", "dummy"),
	responses: {
		200: answer("The model.", geminiModel({ id: "dummy" })),
		...errors(["invalid_api_key", "model_not_found", "internal_error"]),
	},
};
