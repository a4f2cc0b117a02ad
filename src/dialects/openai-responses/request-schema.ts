/**
 * What clients may send to `/v1/responses` (OpenAI's openapi.yaml, Open Responses 2026-04-24). Every level lets unknown fields through, and null
 * stands for a field that is left out: clients fill requests from objects of their own. Items, parts and tools are checked one by one, each by its
 * own kind: the error of a union would name them all.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { LazyCheck } from "../../lazy-check.ts";
import { open, optional } from "../../openai/request-fields.ts";
import type { FieldChecks } from "./field-checks.ts";

const object = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties, open);
const anyObject = Type.Object({}, open);
const string = optional(Type.String());
const number = optional(Type.Number());
const boolean = optional(Type.Boolean());
const freeObject = optional(anyObject);
const filled = Type.String({ minLength: 1 });

/** The request. */
export const ResponsesRequestSchema = object({
	model: Type.String({ minLength: 1, maxLength: 512, examples: ["dummy"] }),
	input: optional(Type.Union([Type.String(), Type.Array(anyObject)], { examples: ["hi"] })),
	instructions: string,
	stream: boolean,
	stream_options: freeObject,
	tools: optional(Type.Array(object({ type: Type.String() }))),
	tool_choice: optional(Type.Union([Type.String(), object({ type: Type.String() })])),
	parallel_tool_calls: boolean,
	max_tool_calls: optional(Type.Integer({ minimum: 1 })),
	max_output_tokens: optional(Type.Integer({ minimum: 1, maximum: 2_147_483_647 })),
	temperature: number,
	top_p: number,
	presence_penalty: number,
	frequency_penalty: number,
	top_logprobs: optional(Type.Integer({ minimum: 0 })),
	reasoning: optional(object({ effort: string, summary: string })),
	text: optional(object({ format: optional(object({ type: Type.String() })), verbosity: string })),
	include: optional(Type.Array(Type.String())),
	truncation: string,
	store: boolean,
	background: boolean,
	previous_response_id: string,
	conversation: optional(Type.Union([Type.String(), anyObject])),
	prompt: freeObject,
	metadata: freeObject,
	client_metadata: freeObject,
	user: string,
	safety_identifier: string,
	prompt_cache_key: string,
	prompt_cache_retention: string,
	prompt_cache_options: freeObject,
	service_tier: string,
});
type Request = Static<typeof ResponsesRequestSchema>;
/** The request but for its input, checked. */
export type ResponsesBody = Omit<Request, "input"> & Readonly<Record<string, unknown>>;
/** What is said: a text, or items, which are checked by their kinds. */
export type ResponsesInput = NonNullable<Request["input"]>;
/** Checks it. */
export const RESPONSES_REQUEST = new LazyCheck(ResponsesRequestSchema);

const content = Type.Union([Type.String(), Type.Array(object({ type: Type.String() }))]);
const Role = Type.Union(["user", "assistant", "system", "developer"].map((role) => Type.Literal(role)));
const Message = object({ role: Role, content });
const FunctionCall = object({ call_id: filled, name: filled, arguments: Type.String(), namespace: string });
const CallOutput = object({ call_id: filled, output: content });
const CustomCall = object({ call_id: filled, name: filled, input: Type.String(), namespace: string });
const Reasoning = object({ summary: optional(Type.Array(anyObject)), encrypted_content: string });

/** Messages of all roles. */
export type MessageItem = {
	readonly role: "user" | "assistant" | "system" | "developer";
	readonly content: ItemContent;
};
/** Text, or parts of several kinds. */
export type ItemContent = string | readonly ContentPart[];
/** A part of a message, or of a tool's output. */
export type ContentPart = { readonly type: string } & Readonly<Record<string, unknown>>;
/** A call of a function. */
export type FunctionCallItem = Static<typeof FunctionCall>;
/** A call of a tool that takes a text. */
export type CustomCallItem = Static<typeof CustomCall>;
/** What either came to. */
export type CallOutputItem = { readonly call_id: string; readonly output: ItemContent };

/** Items by their `type`, as far as they are translated. */
export const ITEMS: FieldChecks = {
	message: new LazyCheck(Message),
	function_call: new LazyCheck(FunctionCall),
	function_call_output: new LazyCheck(CallOutput),
	custom_tool_call: new LazyCheck(CustomCall),
	custom_tool_call_output: new LazyCheck(CallOutput),
	reasoning: new LazyCheck(Reasoning),
	compaction: new LazyCheck(object({ encrypted_content: Type.String() })),
};

/** Parts by their `type`. */
export const CONTENT_PARTS: FieldChecks = {
	input_text: new LazyCheck(object({ text: Type.String() })),
	output_text: new LazyCheck(object({ text: Type.String() })),
	refusal: new LazyCheck(object({ refusal: Type.String() })),
	input_image: new LazyCheck(object({ image_url: string, file_id: string, detail: string })),
	input_file: new LazyCheck(object({ file_data: string, file_id: string, file_url: string, filename: string })),
	input_audio: new LazyCheck(object({ input_audio: object({ data: Type.String(), format: Type.String() }) })),
};

const FunctionTool = object({ name: filled, description: string, parameters: freeObject, strict: boolean });
const CustomTool = object({ name: filled, description: string, format: freeObject });
/** A function that the model may call. */
export type FunctionTool = Static<typeof FunctionTool>;
/** A tool that takes a text, of which a grammar may say more. */
export type CustomTool = Static<typeof CustomTool>;

/** Tools by their `type`, as far as the client runs them itself. */
export const TOOLS: FieldChecks = {
	function: new LazyCheck(FunctionTool),
	custom: new LazyCheck(CustomTool),
	namespace: new LazyCheck(
		object({ name: filled, description: string, tools: Type.Array(object({ type: Type.String() })) }),
	),
};

/** Choices of tools by their `type`. */
export const TOOL_CHOICES: FieldChecks = {
	function: new LazyCheck(object({ name: filled, namespace: string })),
	custom: new LazyCheck(object({ name: filled, namespace: string })),
	allowed_tools: new LazyCheck(
		object({
			mode: optional(Type.Union([Type.Literal("auto"), Type.Literal("required")])),
			tools: Type.Array(anyObject),
		}),
	),
};

/** Forms of the answer's text by their `type`. */
export const TEXT_FORMATS: FieldChecks = {
	text: new LazyCheck(anyObject),
	json_object: new LazyCheck(anyObject),
	json_schema: new LazyCheck(object({ name: filled, schema: anyObject, description: string, strict: boolean })),
};
