/**
 * What clients of Google's Gemini API may send (@google/genai 3.3, GenerateContentParameters). Every level lets unknown fields through: what has no form
 * elsewhere is left out, not refused.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { open, optional } from "../../openai/request-fields.ts";

const object = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties, open);
const text = optional(Type.String());
const number = optional(Type.Number());
const integer = optional(Type.Integer());
const flag = optional(Type.Boolean());
const anyObject = Type.Object({}, open);
/** A value of one of Google's enums: by its name or its number. */
const enumValue = Type.Union([Type.String(), Type.Number()], { expects: "a string" });

const inlineData = object({ mimeType: Type.String({ minLength: 1 }), data: Type.String() });
const fileData = object({ mimeType: text, fileUri: Type.String({ minLength: 1 }) });
const Part = object({
	text,
	thought: flag,
	thoughtSignature: text,
	inlineData: optional(inlineData),
	fileData: optional(fileData),
	executableCode: optional(object({ language: optional(enumValue), code: text })),
	codeExecutionResult: optional(object({ outcome: optional(enumValue), output: text })),
	functionCall: optional(object({ id: text, name: Type.String({ minLength: 1 }), args: optional(anyObject) })),
	functionResponse: optional(
		object({
			id: text,
			name: Type.String({ minLength: 1 }),
			response: optional(anyObject),
			parts: optional(Type.Array(object({ inlineData: optional(inlineData), fileData: optional(fileData) }))),
		}),
	),
});
/** A part of what was said. */
export type GeminiPart = Static<typeof Part> & Readonly<Record<string, unknown>>;

const Content = object({ role: text, parts: optional(Type.Array(Part)) });
/** Roles of a conversation: none is the user's, and so are results of functions, whoever is said to have sent them. */
const ROLES = ["user", "model", "function", "tool", ""] as const;
const Turn = object({
	role: optional(
		Type.Union(
			ROLES.map((role) => Type.Literal(role)),
			{ expects: '"user" or "model"' },
		),
	),
	parts: optional(Type.Array(Part)),
});
/** What one of the two has said. */
export type GeminiContent = Static<typeof Content>;

const FunctionDeclaration = object({
	name: Type.String({ minLength: 1 }),
	description: text,
	parameters: optional(anyObject),
	parametersJsonSchema: optional(Type.Unknown()),
});
/** A function that the model may call. */
export type GeminiFunction = Static<typeof FunctionDeclaration>;

const Tool = object({ functionDeclarations: optional(Type.Array(FunctionDeclaration)) });
const toolConfig = object({
	functionCallingConfig: optional(object({ mode: text, allowedFunctionNames: optional(Type.Array(Type.String())) })),
});
const thinkingConfig = object({ includeThoughts: flag, thinkingBudget: integer, thinkingLevel: text });
const generationConfig = object({
	temperature: number,
	topP: number,
	topK: number,
	candidateCount: optional(Type.Integer({ minimum: 1, maximum: 128 })),
	maxOutputTokens: optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647 })),
	stopSequences: optional(Type.Array(Type.String())),
	seed: integer,
	presencePenalty: number,
	frequencyPenalty: number,
	responseLogprobs: flag,
	logprobs: integer,
	responseMimeType: text,
	responseModalities: optional(Type.Array(enumValue)),
	responseSchema: optional(anyObject),
	responseJsonSchema: optional(Type.Unknown()),
	thinkingConfig: optional(thinkingConfig),
});
/** How the answer is made. */
export type GenerationConfig = Static<typeof generationConfig> & Readonly<Record<string, unknown>>;

/** `:generateContent` and `:streamGenerateContent`. */
export const GenerateRequest = object({
	contents: Type.Array(Turn, { minItems: 1, examples: [[{ role: "user", parts: [{ text: "hi" }] }]] }),
	systemInstruction: optional(Content),
	tools: optional(Type.Array(Tool)),
	toolConfig: optional(toolConfig),
	generationConfig: optional(generationConfig),
});
/** The same as a type. */
export type GenerateRequest = Static<typeof GenerateRequest> & Readonly<Record<string, unknown>>;

/** `:countTokens`: contents alone, or a whole request. */
export const CountRequest = object({
	contents: optional(Type.Array(Turn)),
	generateContentRequest: optional(GenerateRequest),
});

/** `:embedContent`. */
export const EmbedRequest = object({
	content: Content,
	taskType: text,
	title: text,
	outputDimensionality: optional(Type.Integer({ minimum: 1 })),
});
/** The same as a type. */
export type EmbedRequest = Static<typeof EmbedRequest> & Readonly<Record<string, unknown>>;

/** `:batchEmbedContents`. */
export const BatchEmbedRequest = object({ requests: Type.Array(EmbedRequest, { minItems: 1 }) });

/** Of `generationConfig`: by these Google would answer with another model, for which nobody has looked at the caller's key. */
export const ROUTING_FIELDS: readonly string[] = ["routingConfig", "modelConfig", "modelSelectionConfig"];

/** Whole requests. */
export const CHECKS = {
	generate: new LazyCheck(GenerateRequest),
	count: new LazyCheck(CountRequest),
	embed: new LazyCheck(EmbedRequest),
	batch: new LazyCheck(BatchEmbedRequest),
} as const;
