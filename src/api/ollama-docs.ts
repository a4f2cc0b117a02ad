/** What `/swagger` says of the routes that Ollama's clients call. The examples are real answers of the model `dummy`. */
import { ollamaError } from "../dialects/ollama/ollama-error.ts";
import {
	OLLAMA_RUNNING,
	OLLAMA_VERSION,
	runningModel,
	shownModel,
	taggedModel,
} from "../dialects/ollama/ollama-models.ts";
import {
	OllamaChat,
	OllamaEmbed,
	OllamaEmbeddings,
	OllamaGenerate,
	OllamaNamed,
} from "../dialects/ollama/ollama-schema.ts";
import { ndjsonLine } from "../dialects/ollama/ollama-stream.ts";
import { ERRORS, type ErrorCode, RouterError } from "../errors.ts";
import { answer, type Detail } from "../http/route-docs.ts";
import { CALL_ERRORS, requestBody } from "./api-docs.ts";

const TAGS = ["Ollama"];

const errorSchema = { type: "object", required: ["error"], properties: { error: { type: "string" } } };

/** Errors by status, in Ollama's form. */
function ollamaErrors(...codes: readonly ErrorCode[]): NonNullable<Detail["responses"]> {
	const byStatus = Map.groupBy(codes, (code) => ERRORS[code].status);
	return Object.fromEntries(
		[...byStatus].map(([status, group]) => [
			String(status),
			{
				description: group.map((code) => ERRORS[code].remedy).join("\n\n"),
				content: {
					"application/json": {
						schema: errorSchema,
						examples: Object.fromEntries(
							group.map((code) => [code, { value: ollamaError(new RouterError(code, ERRORS[code].remedy)) }]),
						),
					},
				},
			},
		]),
	) as unknown as NonNullable<Detail["responses"]>;
}

const callErrors = ollamaErrors("unsupported_parameter", ...CALL_ERRORS);
const head = { model: "dummy", created_at: "2026-02-02T02:40:00.000Z" };
const end = {
	done: true,
	done_reason: "stop",
	total_duration: 21_000_000,
	load_duration: 0,
	prompt_eval_count: 9,
	eval_count: 2,
	eval_duration: 21_000_000,
};

/** A whole answer, and the same in lines. */
function generated(said: (text: string) => object): NonNullable<Detail["responses"]>[string] {
	const lines = [
		{ ...head, ...said("Hello world"), done: false },
		{ ...head, ...said(""), ...end },
	];
	return {
		description: "The answer, an object a line; with `stream: false` one object.",
		content: {
			"application/x-ndjson": {
				schema: { type: "string" },
				example: lines.map((line) => ndjsonLine(JSON.stringify(line))).join(""),
			},
			"application/json": { schema: { type: "object" }, example: { ...head, ...said("Hello world"), ...end } },
		},
	} as unknown as NonNullable<Detail["responses"]>[string];
}

/** `POST /api/chat`. */
export const OLLAMA_CHAT: Detail = {
	tags: TAGS,
	operationId: "ollamaChat",
	summary: "Chat",
	description:
		"Ollama's API for every model of the router. It streams unless `stream` is false. What a model's upstream has no form for (`options.num_ctx`, …) is " +
		"left out and named in `x-router-dropped`. Without messages nothing is asked.",
	requestBody: requestBody(OllamaChat, { model: "dummy", messages: [{ role: "user", content: "hi" }], stream: false }),
	responses: { 200: generated((content) => ({ message: { role: "assistant", content } })), ...callErrors },
};

/** `POST /api/generate`. */
export const OLLAMA_GENERATE: Detail = {
	tags: TAGS,
	operationId: "ollamaGenerate",
	summary: "Completion of a prompt",
	description: "One turn of a chat; with `raw` or `suffix` a text completion, which not every upstream has.",
	requestBody: requestBody(OllamaGenerate, { model: "dummy", prompt: "hi", stream: false }),
	responses: { 200: generated((response) => ({ response })), ...callErrors },
};

const vector = [0.12, -0.3, 0.5];

/** `POST /api/embed`. */
export const OLLAMA_EMBED: Detail = {
	tags: TAGS,
	operationId: "ollamaEmbed",
	summary: "Embeddings",
	requestBody: requestBody(OllamaEmbed, { model: "dummy", input: "hello" }),
	responses: {
		200: answer("One vector an input.", {
			...{ model: "dummy", embeddings: [vector], total_duration: 21_000_000, load_duration: 0 },
			prompt_eval_count: 2,
		}),
		...callErrors,
	},
};

/** `POST /api/embeddings`. */
export const OLLAMA_EMBEDDINGS: Detail = {
	tags: TAGS,
	operationId: "ollamaEmbeddings",
	summary: "One embedding, in the older form",
	requestBody: requestBody(OllamaEmbeddings, { model: "dummy", prompt: "hello" }),
	responses: { 200: answer("The vector.", { embedding: vector }), ...callErrors },
};

const dummy = { id: "dummy", created: 0 };

/** `GET /api/tags`. */
export const OLLAMA_TAGS: Detail = {
	tags: TAGS,
	operationId: "ollamaTags",
	summary: "Models",
	description: "All models that the key may use. Sizes are 0: the router has no model's bytes.",
	responses: {
		200: answer("The models.", { models: [taggedModel(dummy)] }),
		...ollamaErrors("invalid_api_key", "internal_error"),
	},
};

/** `GET /api/ps`. */
export const OLLAMA_PS: Detail = {
	tags: TAGS,
	operationId: "ollamaRunning",
	summary: "Models that are ready on machines of your own",
	responses: {
		200: answer("The models.", { models: [runningModel(dummy)] }),
		...ollamaErrors("invalid_api_key", "internal_error"),
	},
};

const named = requestBody(OllamaNamed, { model: "dummy" });
const namedErrors = ollamaErrors(
	...(["invalid_json", "invalid_value", "invalid_api_key", "model_not_found", "body_too_large"] as const),
);

/** `POST /api/show`. */
export const OLLAMA_SHOW: Detail = {
	tags: TAGS,
	operationId: "ollamaShow",
	summary: "One model",
	requestBody: named,
	responses: { 200: answer("What is known of it.", shownModel(dummy)), ...namedErrors },
};

/** `POST /api/pull`. */
export const OLLAMA_PULL: Detail = {
	tags: TAGS,
	operationId: "ollamaPull",
	summary: "Is this model there?",
	description: "Nothing is pulled: a model that is there is a success, any other one is not found.",
	requestBody: named,
	responses: { 200: answer("It is there.", { status: "success" }), ...namedErrors },
};

/** `GET /api/version`. */
export const OLLAMA_VERSION_DOCS: Detail = {
	tags: TAGS,
	operationId: "ollamaVersion",
	summary: "The version of Ollama's API that is followed",
	security: [],
	responses: { 200: answer("The version.", { version: OLLAMA_VERSION }) },
};

/** `GET /`. */
export const OLLAMA_ROOT: Detail = {
	tags: TAGS,
	operationId: "ollamaRoot",
	summary: "Is a server there?",
	security: [],
	responses: {
		200: {
			description: "One is. A browser, which accepts `text/html`, gets a router's console.",
			content: { "text/plain": { schema: { type: "string" }, example: OLLAMA_RUNNING } },
		},
	},
};

/** What changes models: `what` names it, `Copy a model`. */
export const ollamaRefused = (operationId: string, summary: string): Detail => ({
	tags: TAGS,
	operationId,
	summary,
	description: "Refused: which models there are is the operator's matter.",
	responses: ollamaErrors("invalid_api_key", "unsupported_parameter"),
});
