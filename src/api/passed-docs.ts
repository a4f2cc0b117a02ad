/** What `/swagger` says of the routes that are passed on. */
import { type Detail, errorResponses } from "../http/route-docs.ts";
import { OPERATIONS } from "../openai/operations.ts";
import type { PassedOperation } from "../openai/passed-operations.ts";
import type { ObjectKind } from "../store/object-table.ts";
import { CALL_ERRORS } from "./api-docs.ts";
import type { ObjectAction } from "./stored-objects.ts";

/** A request of each, as small as it can be. */
const EXAMPLES: Partial<Record<PassedOperation, object>> = {
	image_generations: { model: "gpt-image-1", prompt: "A paper boat" },
	speech: { model: "tts-1", input: "Hello", voice: "alloy" },
	moderations: { input: "Hello" },
	rerank: { model: "reranker", query: "boats", documents: ["A paper boat", "A brick"] },
	score: { model: "reranker", text_1: "boats", text_2: ["A paper boat", "A brick"] },
	tokenize: { model: "qwen3-8b", prompt: "Hello" },
	detokenize: { model: "qwen3-8b", tokens: [9707] },
};
const FORM_FIELD: Partial<Record<PassedOperation, string>> = {
	image_edits: "image",
	image_variations: "image",
	transcriptions: "file",
	translations: "file",
};
const ERRORS = errorResponses(...CALL_ERRORS, "operation_not_served");

/** A route's entry. Several paths may have one operation. */
export function passedDetail(operation: PassedOperation, path: string): Detail {
	const { title, passed } = OPERATIONS[operation];
	const { defaultModel, isEngines } = passed!;
	const file = FORM_FIELD[operation];
	const model = { type: "string", ...(defaultModel && { default: defaultModel }) };
	const schema = {
		type: "object",
		properties: { model, ...(file && { [file]: { type: "string", format: "binary" } }) },
		...(defaultModel ? {} : { required: ["model"] }),
	};
	const content = file
		? { "multipart/form-data": { schema } }
		: { "application/json": { schema, example: EXAMPLES[operation] } };
	return {
		tags: [isEngines ? "vLLM" : "OpenAI"],
		operationId: `${operation}${path.replaceAll("/", "_")}`,
		summary: title[0]!.toUpperCase() + title.slice(1),
		description:
			"Passed on to the model's upstream as it is, and so is its answer, whatever it is: JSON, events, sound or a picture. Of the request only " +
			"`model` is read, and written in the upstream's name for it.",
		requestBody: { required: true, content } as unknown as NonNullable<Detail["requestBody"]>,
		responses: {
			200: {
				description: "The upstream's answer.",
				content: { "*/*": { schema: {} } },
			} as unknown as NonNullable<Detail["responses"]>[string],
			...ERRORS,
		},
	} as Detail;
}

const ACTIONS: Readonly<Record<ObjectAction, string>> = {
	create: "Make",
	list: "List",
	get: "Say what became of",
	content: "Content of",
	delete: "Delete",
	cancel: "Cancel",
};
const OBJECT_ERRORS = errorResponses(...CALL_ERRORS, "operation_not_served", "object_not_found");

/** The entry of a route of files or of batches. */
export function objectDetail(kind: ObjectKind, action: ObjectAction): Detail {
	const whole = action === "list" || action === "create";
	const content =
		kind === "file"
			? {
					"multipart/form-data": {
						schema: {
							type: "object",
							required: ["purpose", "file"],
							properties: { purpose: { type: "string" }, file: { type: "string", format: "binary" } },
						},
					},
				}
			: {
					"application/json": {
						schema: { type: "object", required: ["input_file_id"] },
						example: { input_file_id: "file-6f0c", endpoint: "/v1/chat/completions", completion_window: "24h" },
					},
				};
	return {
		tags: ["OpenAI"],
		operationId: `${action}_${kind}`,
		summary: `${ACTIONS[action]} ${action === "list" ? `the key's own ${kind === "file" ? "files" : "batches"}` : `a ${kind}`}`,
		description:
			"Kept by a provider (`?provider=` or `x-router-provider` names it for a new file), and reached by the key that made it alone.",
		...(action === "create" && {
			requestBody: { required: true, content } as unknown as NonNullable<Detail["requestBody"]>,
		}),
		...(whole ? {} : { parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }] as never }),
		responses: {
			200: { description: "The provider's answer.", content: { "*/*": { schema: {} } } } as unknown as NonNullable<
				Detail["responses"]
			>[string],
			...OBJECT_ERRORS,
		},
	} as Detail;
}
