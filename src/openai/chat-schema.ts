/**
 * The parts of a chat request that a translation to another wire reads, closed: what has no place here would be lost on the
 * way. (`request.ts` is what clients may send; upstreams that speak OpenAI get that as it came.)
 */
import { type Static, Type } from "@sinclair/typebox";
import { LazyCheck } from "../lazy-check.ts";
import { closedObject, open, optional } from "./request-fields.ts";

const anything = Type.Optional(Type.Unknown());

/** A prompt-cache marker (Anthropic's and OpenRouter's field): passed on where the vendor has one. */
const cache_control = optional(Type.Object({ type: Type.String(), ttl: Type.Optional(Type.String()) }, closedObject));
/** OpenAI's own marker; a hint, which others have no form for. */
const prompt_cache_breakpoint = anything;
const marked = { cache_control, prompt_cache_breakpoint };

const TextPart = Type.Object({ type: Type.Literal("text"), text: Type.String(), ...marked }, closedObject);
const ImagePart = Type.Object(
	{
		type: Type.Literal("image_url"),
		image_url: Type.Object({ url: Type.String(), detail: optional(Type.String()) }, closedObject),
		...marked,
	},
	closedObject,
);
const FilePart = Type.Object(
	{
		type: Type.Literal("file"),
		file: Type.Object(
			{ file_data: optional(Type.String()), file_id: optional(Type.String()), filename: optional(Type.String()) },
			closedObject,
		),
		citations: optional(Type.Object({ enabled: Type.Boolean() }, closedObject)),
		...marked,
	},
	closedObject,
);
const AudioPart = Type.Object(
	{
		type: Type.Literal("input_audio"),
		input_audio: Type.Object({ data: Type.String(), format: Type.String() }, closedObject),
		...marked,
	},
	closedObject,
);
const RefusalPart = Type.Object({ type: Type.Literal("refusal"), refusal: Type.String() }, closedObject);

/** One piece of a message's content. */
export type Part = Static<typeof TextPart | typeof ImagePart | typeof FilePart | typeof AudioPart | typeof RefusalPart>;
/** Whether a part's document is to be cited (Anthropic's field, as LiteLLM takes it, too). */
export const isCited = (part: Part): boolean => part.type === "file" && part.citations?.enabled === true;
/** A prompt-cache marker. */
export type CacheControl = Static<typeof cache_control> | undefined;

/** Checks by the `type` or `role` of what they check. */
export type Checks = Readonly<Record<string, LazyCheck>>;

/** By `type` or `role`. */
export const PARTS: Checks = {
	text: new LazyCheck(TextPart),
	image_url: new LazyCheck(ImagePart),
	file: new LazyCheck(FilePart),
	input_audio: new LazyCheck(AudioPart),
	refusal: new LazyCheck(RefusalPart),
};

// Parts are checked one by one, each by its own type: a union's error would name them all.
const content = Type.Optional(Type.Unsafe<string | Part[] | null>(Type.Unknown()));
const common = { content, name: optional(Type.String()), cache_control };

const ToolCall = Type.Object(
	{
		id: Type.String(),
		type: Type.Optional(Type.String()),
		function: Type.Object({ name: Type.String(), arguments: Type.String() }, open),
		extra_content: anything,
	},
	open,
);
/** One call of a function. */
export type ToolCall = Static<typeof ToolCall>;

const SystemMessage = Type.Object(
	{ role: Type.Union([Type.Literal("system"), Type.Literal("developer")]), ...common },
	closedObject,
);
const UserMessage = Type.Object({ role: Type.Literal("user"), ...common }, closedObject);
// Clients send back what they got, and upstreams and clients add fields of their own to that.
const AssistantMessage = Type.Object(
	{
		role: Type.Literal("assistant"),
		...common,
		tool_calls: optional(Type.Array(ToolCall)),
		refusal: optional(Type.String()),
		audio: anything,
		function_call: anything,
		images: anything,
		reasoning_details: anything,
		extra_content: anything,
	},
	open,
);
const ToolMessage = Type.Object({ role: Type.Literal("tool"), tool_call_id: Type.String(), ...common }, closedObject);

/** What the assistant said before. */
export type AssistantMessage = Static<typeof AssistantMessage>;
/** The result of a tool call. */
export type ToolMessage = Static<typeof ToolMessage>;
/** One message. */
export type Message = Static<typeof SystemMessage> | Static<typeof UserMessage> | AssistantMessage | ToolMessage;

/** By `type` or `role`. */
export const MESSAGES: Checks = {
	system: new LazyCheck(SystemMessage),
	developer: new LazyCheck(SystemMessage),
	user: new LazyCheck(UserMessage),
	assistant: new LazyCheck(AssistantMessage),
	tool: new LazyCheck(ToolMessage),
};

/** A JSON schema; what its keywords mean is the upstream's matter. */
const schema = Type.Object({}, open);

const Tool = Type.Object(
	{
		type: Type.Literal("function"),
		function: Type.Object(
			{
				name: Type.String(),
				description: optional(Type.String()),
				parameters: optional(schema),
				strict: optional(Type.Boolean()),
			},
			closedObject,
		),
		cache_control,
	},
	closedObject,
);
/** A function that the model may call. */
export type Tool = Static<typeof Tool>;

const Named = Type.Object(
	{ type: Type.Literal("function"), function: Type.Object({ name: Type.String() }, closedObject) },
	closedObject,
);
const AllowedTools = Type.Object(
	{
		type: Type.Literal("allowed_tools"),
		allowed_tools: Type.Object(
			{ mode: Type.Union([Type.Literal("auto"), Type.Literal("required")]), tools: Type.Array(Named) },
			closedObject,
		),
	},
	closedObject,
);
/** Which tools may or must be called. */
export type ToolChoice = "auto" | "none" | "required" | Static<typeof Named> | Static<typeof AllowedTools>;

/** By `type` or `role`. */
export const CHOICES: Checks = {
	function: new LazyCheck(Named),
	allowed_tools: new LazyCheck(AllowedTools),
};

const Plain = Type.Object({ type: Type.Union([Type.Literal("text"), Type.Literal("json_object")]) }, closedObject);
const JsonSchema = Type.Object(
	{
		type: Type.Literal("json_schema"),
		json_schema: Type.Object(
			{
				name: Type.Optional(Type.String()),
				description: optional(Type.String()),
				strict: optional(Type.Boolean()),
				schema: optional(schema),
			},
			closedObject,
		),
	},
	closedObject,
);
/** By `type` or `role`. */
export const FORMATS: Checks = {
	text: new LazyCheck(Plain),
	json_object: new LazyCheck(Plain),
	json_schema: new LazyCheck(JsonSchema),
};

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const;
/** How hard a model is asked to think. */
export type Effort = (typeof EFFORTS)[number];

/** Fields beside the messages whose shape `request.ts` leaves open. */
const Options = Type.Object(
	{
		tools: optional(Type.Array(Tool)),
		reasoning_effort: optional(Type.Union(EFFORTS.map((effort) => Type.Literal(effort)))),
		top_k: optional(Type.Integer()),
		cache_control,
	},
	open,
);
/** What stands beside the messages. */
export const OPTIONS = new LazyCheck(Options);

/** The request, read: `tools` and the others are as checked, `messages` one by one. */
export type Chat = Static<typeof Options> & {
	readonly tool_choice?: ToolChoice | null;
	readonly response_format?: Static<typeof Plain> | Static<typeof JsonSchema> | null;
	readonly messages: readonly Message[];
	readonly stop?: string | string[] | null;
	readonly temperature?: number | null;
	readonly top_p?: number | null;
	readonly max_tokens?: number | null;
	readonly max_completion_tokens?: number | null;
	readonly parallel_tool_calls?: boolean | null;
	readonly safety_identifier?: string | null;
	readonly frequency_penalty?: number | null;
	readonly presence_penalty?: number | null;
	readonly n?: number | null;
	readonly seed?: number | null;
	readonly logprobs?: boolean | null;
	readonly top_logprobs?: number | null;
	readonly service_tier?: string | null;
};
