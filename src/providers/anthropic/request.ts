/** A chat request as Anthropic's Messages API takes it (SDK 1.12, MessageCreateParams). */
import { invalid, readChat, unsupported } from "../../openai/chat.ts";
import { type Chat, isCited, type Message, type Tool } from "../../openai/chat-schema.ts";
import { objectText } from "../../openai/json.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { CARRIED, DROPPED, type FieldRules, joined, refuseOthers, vendorFields } from "../fields.ts";
import type { RequestInputs } from "../provider.ts";
import { allowedTools } from "../tools.ts";
import { UnsupportedFields } from "../unsupported-fields.ts";
import { type AnswerPlan, answerPlan, asksForm } from "./answer-plan.ts";
import { cacheText, says, textBlock } from "./content.ts";
import { inputSchema } from "./input-schema.ts";
import { conversationOf } from "./messages.ts";
import { BINDING_BETA, type Claude, claude, DROPPING, defaultMaxTokens, hasTrait, thinkingFor } from "./models.ts";
import { BRANCHES, strictSchema } from "./tool-schema.ts";

const RULES: FieldRules = {
	carried: new Set([...CARRIED, "user", "safety_identifier", "cache_control"]),
	dropped: new Set(DROPPED),
};

/** Fields of the API that OpenAI has none for; they go in by `anthropic: { … }`. */
const VENDOR = new Set([
	"container",
	"context_management",
	"diagnostics",
	"inference_geo",
	"output_config",
	"speed",
	"thinking",
]);

/** A request: its body, and the betas it needs. */
export interface MessagesRequest {
	readonly body: string;
	readonly betas: readonly string[];
}

/** The request. Throws RouterError naming what has no form there. */
export function messagesRequest(
	body: RequestBody,
	modelName: string,
	stream: boolean,
	inputs: RequestInputs,
	unsupportedFields = new UnsupportedFields(),
): MessagesRequest {
	const chat = readChat(body);
	refuseOthers(body, RULES, unsupportedFields);
	const model = claude(modelName);
	const vendor = vendorFields(body, "anthropic", VENDOR);
	const maxTokens = chat.max_completion_tokens ?? chat.max_tokens ?? defaultMaxTokens(model);
	const { system, messages, isOpenLoop, hasThoughts, prefill } = conversationOf(chat.messages, model, inputs);
	if (prefill !== undefined && hasTrait(model, "refusesPrefill")) {
		throw unsupported(prefill, "this model goes on with no message of the assistant's; end with a user's");
	}
	const plan = asksForm(chat) ? answerPlan(chat, thinkingField(body), model) : undefined;
	if (prefill !== undefined && (plan?.format || plan?.reading)) {
		throw unsupported(prefill, "no answer of the form that is asked for begins with the assistant's words");
	}
	if (plan?.format) refuseCited(chat.messages);
	const isOpen = isOpenLoop || prefill !== undefined;
	const { thinking: asked, effort } = thinkingFor(chat.reasoning_effort, model, maxTokens, isOpen, unsupportedFields);
	const isBound =
		hasThoughts && hasTrait(model, "bindsThoughts") && !vendor["thinking"] && asked?.["type"] !== "disabled";
	// These models think so when nothing is asked.
	const thinking = isBound ? { type: "adaptive", ...asked, ...DROPPING } : asked;
	const { temperature, top_p, top_k } = samplingOf(
		chat,
		model,
		thinks(thinking ?? vendor["thinking"]),
		unsupportedFields,
	);
	const { output_config: vendorOutput, ...vendorRest } = vendor;
	const options = {
		temperature,
		top_p,
		top_k,
		stop_sequences: stopsOf(chat),
		metadata: userOf(chat),
		service_tier: tierOf(chat),
		thinking,
		output_config: outputConfig(effort, plan?.format, vendorOutput),
		stream: stream || undefined,
	};
	const { tools, tool_choice } = toolFields(chat, model, plan, unsupportedFields);
	const text = objectText(
		{
			model: JSON.stringify(modelName),
			max_tokens: String(maxTokens),
			system: systemText(system, plan?.instruction),
			messages: `[${messages.join(",")}]`,
			tools,
			tool_choice,
			cache_control: cacheText(chat.cache_control),
		},
		joined(options, vendorRest, "anthropic"),
	);
	return { body: text, betas: isBound ? [BINDING_BETA] : [] };
}

/** `output_config`, with what the call says of it in the vendor's own words; undefined where it says nothing. */
function outputConfig(effort: string | undefined, format: AnswerPlan["format"], vendor: unknown): unknown {
	if (effort === undefined && !format && vendor === undefined) return undefined;
	if (vendor !== undefined && (typeof vendor !== "object" || vendor === null))
		throw invalid("anthropic.output_config", "must be an object");
	const ours = { ...(effort === undefined ? {} : { effort }), ...(format ? { format } : {}) };
	const output = joined(ours, (vendor ?? {}) as Record<string, unknown>, "anthropic.output_config");
	return Object.keys(output).length > 0 ? output : undefined;
}

/** The vendor's own field for thinking in a request. */
export function thinkingField(body: RequestBody): unknown {
	const fields = body["anthropic"];
	return typeof fields === "object" && fields !== null ? (fields as Record<string, unknown>)["thinking"] : undefined;
}

/** Whether it is asked to think, by a budget or as it sees fit. */
function thinks(thinking: unknown): boolean {
	const type = typeof thinking === "object" && thinking !== null ? (thinking as { type?: unknown }).type : undefined;
	return type === "enabled" || type === "adaptive";
}

/** A schema by grammar and citations together are a 400 (platform.claude.com, citations, feature compatibility). */
function refuseCited(messages: readonly Message[]): void {
	for (const [index, { content }] of messages.entries()) {
		const at = Array.isArray(content) ? content.findIndex(isCited) : -1;
		if (at !== -1) throw unsupported(`messages[${index}].content[${at}].citations`, "it goes with no response_format");
	}
}

function systemText(system: readonly string[], instruction: string | undefined): string | undefined {
	const blocks = instruction === undefined ? system : [...system, textBlock(instruction)];
	return blocks.length > 0 ? `[${blocks.join(",")}]` : undefined;
}

/** The least `top_p` beside thinking (platform.claude.com, extended thinking, feature compatibility). */
const MIN_THINKING_TOP_P = 0.95;

interface Sampling {
	temperature: number | undefined;
	top_p: number | undefined;
	top_k: number | undefined;
}

/** OpenAI's temperatures go to 2, Claude's to 1. Newer models take none: their default, which is OpenAI's, too, is left out. */
function samplingOf(
	chat: Chat,
	model: Claude,
	isThinking: boolean,
	unsupportedFields: UnsupportedFields,
): Readonly<Partial<Sampling>> {
	const sampling: Sampling = {
		temperature: chat.temperature ?? undefined,
		top_p: chat.top_p ?? undefined,
		top_k: chat.top_k ?? undefined,
	};
	const leaveOut = (field: keyof typeof sampling, why: string) => {
		unsupportedFields.add(field, why);
		sampling[field] = undefined;
	};
	const { temperature = 1, top_p = 1, top_k } = sampling;
	if (hasTrait(model, "refusesSampling")) {
		if (temperature !== 1) leaveOut("temperature", "this model takes none but 1");
		if (top_p !== 1) leaveOut("top_p", "this model takes none but 1");
		if (top_k) leaveOut("top_k", "this model takes none");
		return {};
	}
	if (temperature > 1) leaveOut("temperature", "Claude takes 0 to 1");
	if (isThinking) {
		const while_ = "while it is asked to think";
		if (temperature !== 1) leaveOut("temperature", `this model takes none but 1 ${while_}`);
		if (top_p < MIN_THINKING_TOP_P) leaveOut("top_p", `this model takes ${MIN_THINKING_TOP_P} to 1 ${while_}`);
		if (top_k) leaveOut("top_k", `this model takes none ${while_}`);
	}
	if (sampling.temperature === undefined || sampling.top_p === undefined) return sampling;
	// From Opus 4.1 on only one of the two is taken (`cannot both be specified`): one that is 1, the default, says nothing.
	if (sampling.top_p === 1) return { ...sampling, top_p: undefined };
	return sampling.temperature === 1 ? { ...sampling, temperature: undefined } : sampling;
}

/** "each stop sequence must contain non-whitespace". */
function stopsOf({ stop }: Chat): readonly string[] | undefined {
	if (stop == null) return undefined;
	const stops = typeof stop === "string" ? [stop] : stop;
	const blank = stops.findIndex((each) => !says(each));
	if (blank === -1) return stops;
	throw unsupported(typeof stop === "string" ? "stop" : `stop[${blank}]`, "Claude stops at no white space alone");
}

/** The names of functions that the API takes; OpenAI's are of the same characters. */
const NAME = /^[\w-]{1,128}$/;

function userOf({ safety_identifier, user }: Chat & Pick<RequestBody, "user">) {
	const user_id = safety_identifier ?? user;
	return user_id ? { user_id } : undefined;
}

function tierOf({ service_tier }: Chat): string | undefined {
	if (!service_tier || service_tier === "auto") return undefined;
	if (service_tier === "default" || service_tier === "standard_only") return "standard_only";
	throw unsupported("service_tier", 'Anthropic has "auto" and "default"');
}

/** Fields of the request, as JSON. */
interface ToolFields {
	readonly tools?: string;
	readonly tool_choice?: string | undefined;
}

function toolFields(
	chat: Chat,
	model: Claude,
	plan: AnswerPlan | undefined,
	unsupportedFields: UnsupportedFields,
): ToolFields {
	const { tools, mode, only } = allowedTools(chat);
	const sent = tools.map(({ tool, index }) => toolText(tool, model, `tools[${index}].function`, unsupportedFields));
	if (plan?.tool) sent.push(plan.tool);
	if (sent.length === 0) return {};
	const one = only.length === 1 && mode === "named";
	const isSingle = chat.parallel_tool_calls === false && mode !== "none" && tools.length > 0;
	const disable_parallel_tool_use = isSingle ? true : undefined;
	const type = one ? "tool" : mode === "required" ? "any" : mode;
	const isDefault = type === "auto" && !disable_parallel_tool_use && !chat.tool_choice;
	const choice = plan?.choice ?? { type, name: one ? only[0] : undefined, disable_parallel_tool_use };
	return {
		tools: `[${sent.join(",")}]`,
		tool_choice: isDefault && !plan?.choice ? undefined : JSON.stringify(choice),
	};
}

function toolText(
	{ function: fn, cache_control }: Tool,
	model: Claude,
	path: string,
	unsupportedFields: UnsupportedFields,
): string {
	const { name, description, parameters } = fn;
	if (!NAME.test(name)) {
		throw unsupported(`${path}.name`, "Claude's tools have names of 1 to 128 letters, digits, _ and -");
	}
	const isStrict = fn.strict === true && hasTrait(model, "holdsSchemas");
	if (fn.strict && !isStrict) {
		const why = "this model holds its calls to no schema; send the tool without it";
		unsupportedFields.add("tools.strict", why, `${path}.strict`);
	}
	return objectText({
		name: JSON.stringify(name),
		description: description ? JSON.stringify(description) : undefined,
		input_schema: JSON.stringify(schemaOf(parameters ?? undefined, isStrict, `${path}.parameters`)),
		strict: isStrict ? "true" : undefined,
		cache_control: cacheText(cache_control),
	});
}

function schemaOf(parameters: Record<string, unknown> | undefined, isStrict: boolean, path: string) {
	if (!isStrict) return inputSchema(parameters ?? { properties: {} }, path);
	const branch = BRANCHES.find((word) => parameters?.[word] !== undefined);
	if (branch) throw unsupported(`${path}.${branch}`, "a strict tool of Claude's takes none at the top");
	return strictSchema(parameters ?? { type: "object", properties: {} }, path);
}
