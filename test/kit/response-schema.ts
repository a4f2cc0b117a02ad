/** What Open Responses (2026-04-24) requires of a response and of its events: written from its schemas, nothing is copied. */
import { type TSchema, Type } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";

const open = { additionalProperties: true };
const object = <T extends Record<string, TSchema>>(properties: T) => Type.Object(properties, open);
const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const oneOf = (...values: string[]) => Type.Union(values.map((value) => Type.Literal(value)));
const text = Type.String();
const whole = Type.Integer({ minimum: 0 });

const STATUS = oneOf("in_progress", "completed", "incomplete");
const Citation = object({
	type: Type.Literal("url_citation"),
	url: text,
	title: text,
	start_index: whole,
	end_index: whole,
});
// OpenAI's others are beyond the standard.
const Annotation = Type.Union([Citation, object({ type: Type.Not(Type.Literal("url_citation")) })]);
const token = { token: text, logprob: Type.Number(), bytes: Type.Array(whole) };
const logprobs = Type.Array(object({ ...token, top_logprobs: Type.Array(object(token)) }));
const OutputText = object({ type: Type.Literal("output_text"), text, annotations: Type.Array(Annotation), logprobs });
const Refusal = object({ type: Type.Literal("refusal"), refusal: text });
const Summary = object({ type: Type.Literal("summary_text"), text });
const Part = Type.Union([OutputText, Refusal, Summary]);

const Item = Type.Union([
	object({
		...{ type: Type.Literal("message"), id: text, status: STATUS, role: Type.Literal("assistant") },
		content: Type.Array(Type.Union([OutputText, Refusal])),
	}),
	object({ type: Type.Literal("function_call"), id: text, call_id: text, name: text, arguments: text, status: STATUS }),
	object({ type: Type.Literal("reasoning"), id: text, summary: Type.Array(Summary) }),
	object({ type: Type.Literal("compaction"), id: text, encrypted_content: text }),
	// OpenAI's, beyond the standard.
	object({ type: Type.Literal("custom_tool_call"), id: text, call_id: text, name: text, input: text, status: STATUS }),
	object({ type: Type.Literal("image_generation_call"), id: text, status: text, result: nullable(text) }),
]);

const Response = object({
	id: text,
	object: Type.Literal("response"),
	created_at: whole,
	completed_at: nullable(whole),
	status: oneOf("in_progress", "completed", "incomplete", "failed"),
	incomplete_details: nullable(object({ reason: text })),
	model: text,
	previous_response_id: nullable(text),
	instructions: nullable(text),
	output: Type.Array(Item),
	error: nullable(object({ code: text, message: text })),
	tools: Type.Array(object({ type: text })),
	tool_choice: Type.Union([
		oneOf("none", "auto", "required"),
		object({ type: Type.Not(Type.Literal("allowed_tools")) }),
		object({ type: Type.Literal("allowed_tools"), mode: text, tools: Type.Array(object({ type: text })) }),
	]),
	truncation: oneOf("auto", "disabled"),
	parallel_tool_calls: Type.Boolean(),
	text: object({ format: object({ type: text }) }),
	top_p: Type.Number(),
	presence_penalty: Type.Number(),
	frequency_penalty: Type.Number(),
	top_logprobs: whole,
	temperature: Type.Number(),
	reasoning: nullable(object({ effort: nullable(text), summary: nullable(text) })),
	user: nullable(text),
	usage: nullable(
		object({
			input_tokens: whole,
			output_tokens: whole,
			total_tokens: whole,
			input_tokens_details: object({ cached_tokens: whole }),
			output_tokens_details: object({ reasoning_tokens: whole }),
		}),
	),
	max_output_tokens: nullable(whole),
	max_tool_calls: nullable(whole),
	store: Type.Boolean(),
	background: Type.Boolean(),
	service_tier: text,
	metadata: object({}),
	safety_identifier: nullable(text),
	prompt_cache_key: nullable(text),
});

const inItem = { item_id: text, output_index: whole };
const inPart = { ...inItem, content_index: whole };
const inSummary = { ...inItem, summary_index: whole };

const EVENTS: Readonly<Record<string, Record<string, TSchema>>> = {
	"response.created": { response: Response },
	"response.in_progress": { response: Response },
	"response.completed": { response: Response },
	"response.incomplete": { response: Response },
	"response.failed": { response: Response },
	"response.output_item.added": { output_index: whole, item: Item },
	"response.output_item.done": { output_index: whole, item: Item },
	"response.content_part.added": { ...inPart, part: Part },
	"response.content_part.done": { ...inPart, part: Part },
	"response.output_text.delta": { ...inPart, delta: text, logprobs },
	"response.output_text.done": { ...inPart, text, logprobs },
	"response.output_text.annotation.added": { ...inPart, annotation_index: whole, annotation: Annotation },
	"response.refusal.delta": { ...inPart, delta: text },
	"response.refusal.done": { ...inPart, refusal: text },
	"response.reasoning_summary_part.added": { ...inSummary, part: Summary },
	"response.reasoning_summary_part.done": { ...inSummary, part: Summary },
	"response.reasoning_summary_text.delta": { ...inSummary, delta: text },
	"response.reasoning_summary_text.done": { ...inSummary, text },
	"response.function_call_arguments.delta": { ...inItem, delta: text },
	"response.function_call_arguments.done": { ...inItem, name: text, arguments: text },
	"response.custom_tool_call_input.delta": { ...inItem, delta: text },
	"response.custom_tool_call_input.done": { ...inItem, input: text },
};

const RESPONSE = TypeCompiler.Compile<TSchema>(Response);
const ITEM = TypeCompiler.Compile<TSchema>(Item);
const CHECKS = new Map<string, TypeCheck<TSchema>>(
	Object.entries(EVENTS).map(([type, fields]) => [
		type,
		TypeCompiler.Compile<TSchema>(object({ type: Type.Literal(type), sequence_number: whole, ...fields })),
	]),
);

/** Where a response is none, one line a place. */
export const responseFaults = (value: unknown): string[] => faults(RESPONSE, value);

/** The same of an item of an output. */
export const itemFaults = (value: unknown): string[] => faults(ITEM, value);

/** The same of an event; one of a type that nobody knows is a fault. */
export function eventFaults(event: { readonly type?: unknown }): string[] {
	const check = CHECKS.get(String(event.type));
	return check ? faults(check, event) : [`there is no event ${event.type}`];
}

const faults = (check: TypeCheck<TSchema>, value: unknown): string[] =>
	[...check.Errors(value)].map(({ path, message }) => `${path}: ${message}`);
