/** A request of Google's in OpenAI's words. */
import { unsupported } from "../../openai/chat.ts";
import { isReasoning } from "../../openai/reasoning.ts";
import { joinedPieces } from "../../openai/sse.ts";
import { objectIn } from "../../openai/usage.ts";
import { leftOutNames } from "../client-fields.ts";
import { plainToolName } from "../tool-names.ts";
import { chatMessages } from "./contents.ts";
import type { AskedSettings } from "./facts.ts";
import type { LeaveOut, RequestForm } from "./media.ts";
import { type GeminiFunction, type GenerateRequest, type GenerationConfig, ROUTING_FIELDS } from "./request-schema.ts";
import { toJsonSchema } from "./schema-types.ts";

/** A request in OpenAI's words. */
export interface TranslatedRequest {
	/** JSON of a chat request; as bytes UTF-8. */
	readonly text: string | Buffer;
	/** Fields, and kinds of parts and tools, that are left out: what those for whom it is written have no form for. */
	readonly leftOut: readonly string[];
}

/** Fields that have a form in OpenAI's words. */
const CARRIED = new Set([
	"contents",
	"systemInstruction",
	"tools",
	"toolConfig",
	"generationConfig",
	"serviceTier",
	"model",
]);
/** Fields that go to Google as they are. */
const GOOGLES: ReadonlySet<string> = new Set(["safetySettings", "cachedContent"]);
/** Of these, what others are not asked without. */
const KEPT = "cachedContent";
/** Of `generationConfig`. */
const CONFIGURED = new Set([
	...["temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed"],
	...["presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs"],
	...["responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig"],
]);

/** What a request asks for, besides its body. */
export interface AskedChat {
	readonly model: string;
	readonly stream: boolean;
}

/**
 * The request as a chat request. It may have been checked in `read-request.ts`. Throws `invalid_value` for the result of a call that nobody made.
 * @param messages JSON of its messages where that is there; of its contents and its instruction of the system nothing is read then
 */
export function chatRequest(
	request: GenerateRequest,
	{ model, stream }: AskedChat,
	form: RequestForm,
	messages?: readonly (string | Buffer)[],
): TranslatedRequest {
	const left = new Set<string>();
	const leaveOut: LeaveOut = (name) => left.add(name);
	const isGemini = form === "gemini";
	for (const [name, value] of Object.entries(request)) {
		const isCarried = CARRIED.has(name) || name === KEPT || (isGemini && GOOGLES.has(name));
		if (value != null && !isCarried) leaveOut(name.slice(0, 64));
	}
	const config: GenerationConfig = request.generationConfig ?? {};
	const { own, tools } = toolsIn(request, form, leaveOut);
	const vendor = isGemini ? vendorField(request, config, own) : {};
	const chat = {
		model,
		messages: messages ? undefined : chatMessages(request, form, leaveOut),
		...(stream ? { stream, stream_options: { include_usage: true } } : {}),
		...(tools.length > 0 ? toolFields(tools, request, form) : {}),
		...configFields(config, form, leaveOut),
		service_tier: tierOf(request),
		...vendor,
	};
	const text = JSON.stringify(chat);
	return { text: messages ? withMessages(text, model, messages) : text, leftOut: leftOutNames(left) };
}

/** The chat request with these messages, which stand behind its first field. */
function withMessages(text: string, model: string, messages: readonly (string | Buffer)[]): string | Buffer {
	const at = JSON.stringify({ model }).length - 1;
	return joinedPieces("", [`${text.slice(0, at)},"messages":[`, ...messages, `]${text.slice(at)}`]) as string | Buffer;
}

interface SentTools {
	readonly tools: readonly object[];
	/** Google's own, such as its search. */
	readonly own: readonly object[];
}

/** The functions and all else that tools may be, of which each is left out that Google alone can run. */
function toolsIn({ tools }: GenerateRequest, form: RequestForm, leaveOut: LeaveOut): SentTools {
	const functions: object[] = [];
	const own: object[] = [];
	for (const { functionDeclarations, ...others } of tools ?? []) {
		for (const each of functionDeclarations ?? []) functions.push(functionTool(each, form));
		for (const [name, value] of Object.entries(others)) {
			if (value == null) continue;
			if (form === "gemini") own.push({ [name]: value });
			else leaveOut(`tools.${name.slice(0, 64)}`);
		}
	}
	return { tools: functions, own };
}

function functionTool(
	{ name, description, parameters, parametersJsonSchema }: GeminiFunction,
	form: RequestForm,
): object {
	const schema = objectIn(parametersJsonSchema) ?? (toJsonSchema(parameters ?? undefined) as object | undefined);
	return {
		type: "function",
		function: {
			name: form === "gemini" ? name : plainToolName(name),
			description: description || undefined,
			parameters: schema,
		},
	};
}

interface FunctionTool {
	readonly function: { readonly name: string };
}

/** The functions that may be called, and whether one of them must be. Few servers have words for a choice among several: they get no others. */
function toolFields(tools: readonly object[], { toolConfig }: GenerateRequest, form: RequestForm): object {
	const { mode: asked, allowedFunctionNames } = toolConfig?.functionCallingConfig ?? {};
	const mode = asked?.toUpperCase();
	const names = new Set((allowedFunctionNames ?? []).flatMap((name) => [name, plainToolName(name)]));
	const all = tools as readonly FunctionTool[];
	const named = all.filter(({ function: { name } }) => names.has(name));
	const isChosen = named.length > 0 && (mode === "ANY" || mode === "VALIDATED");
	if (isChosen && form === "gemini") {
		const allowed_tools = { mode: mode === "ANY" ? "required" : "auto", tools: named.map(nameOf) };
		return { tools: all, tool_choice: { type: "allowed_tools", allowed_tools } };
	}
	const sent = isChosen ? named : all;
	switch (mode) {
		case "ANY":
			return { tools: sent, tool_choice: isChosen && sent.length === 1 ? nameOf(sent[0]!) : "required" };
		case "NONE":
			return { tools: sent, tool_choice: "none" };
		default:
			return { tools: sent };
	}
}

const nameOf = ({ function: { name } }: FunctionTool) => ({ type: "function", function: { name } });

function configFields(config: GenerationConfig, form: RequestForm, leaveOut: LeaveOut): object {
	for (const [name, value] of Object.entries(config)) {
		const isOwn = form === "gemini" ? !ROUTING_FIELDS.includes(name) : name === "responseModalities";
		if (value != null && !CONFIGURED.has(name) && !isOwn) leaveOut(`generationConfig.${name.slice(0, 64)}`);
	}
	const { temperature, topP, topK, candidateCount, maxOutputTokens, stopSequences, seed } = config;
	const { presencePenalty, frequencyPenalty, responseLogprobs, logprobs } = config;
	return {
		temperature: temperature ?? undefined,
		top_p: topP ?? undefined,
		top_k: topK == null ? undefined : Math.trunc(topK),
		n: candidateCount && candidateCount > 1 ? candidateCount : undefined,
		max_completion_tokens: maxOutputTokens || undefined,
		stop: stopSequences?.length ? stopSequences : undefined,
		seed: seed ?? undefined,
		presence_penalty: presencePenalty ?? undefined,
		frequency_penalty: frequencyPenalty ?? undefined,
		logprobs: responseLogprobs || undefined,
		top_logprobs: (responseLogprobs && logprobs) || undefined,
		response_format: formatOf(config, leaveOut),
		reasoning_effort: form === "gemini" ? undefined : effortOf(config),
		modalities: form === "gemini" ? undefined : modalitiesOf(config),
	};
}

/** What the answer is to be, where that is more than text, which all answer with. */
function modalitiesOf({ responseModalities: sent }: GenerationConfig): readonly string[] | undefined {
	if (!Array.isArray(sent)) return undefined;
	const wanted = sent.map((each) => String(each).toLowerCase());
	return wanted.every((each) => each === "text") ? undefined : wanted;
}

function formatOf(config: GenerationConfig, leaveOut: LeaveOut): object | undefined {
	const { responseMimeType: type, responseSchema, responseJsonSchema } = config;
	if (type === "text/x.enum") leaveOut("generationConfig.responseMimeType");
	if (type !== "application/json") return undefined;
	const schema = objectIn(responseJsonSchema) ?? objectIn(toJsonSchema(responseSchema ?? undefined));
	if (!schema) return { type: "json_object" };
	return { type: "json_schema", json_schema: { name: "output", schema } };
}

/** Budgets of thinking up to which an effort is low or medium, tokens. */
const LOW_BUDGET = 4096;
const MEDIUM_BUDGET = 12_288;
const LEVELS = new Set(["minimal", "low", "medium", "high", "xhigh"]);

/** How hard the model is to think; undefined where that is left to it. Who asks for no thinking gets none where a model has a choice. */
function effortOf({ thinkingConfig }: GenerationConfig): string | undefined {
	const { thinkingBudget: budget, thinkingLevel } = thinkingConfig ?? {};
	const level = thinkingLevel?.toLowerCase();
	if (level !== undefined && LEVELS.has(level)) return level;
	// -1: as much as it takes.
	if (budget == null || budget <= 0) return undefined;
	return budget <= LOW_BUDGET ? "low" : budget <= MEDIUM_BUDGET ? "medium" : "high";
}

/** Whether the model is not to think before it answers. */
export const isThoughtless = ({ generationConfig }: Partial<GenerateRequest>): boolean =>
	generationConfig?.thinkingConfig?.thinkingBudget === 0;

function tierOf({ serviceTier }: GenerateRequest): string | undefined {
	const tier = typeof serviceTier === "string" ? serviceTier.toLowerCase() : undefined;
	return tier === "flex" || tier === "priority" ? tier : undefined;
}

/** Throws `unsupported_parameter` for a prompt of which a part is kept at Google: without it others would answer to less than was asked. */
export function refuseCached({ cachedContent }: Partial<GenerateRequest>): void {
	if (cachedContent != null) throw unsupported("cachedContent", "that part of the prompt is kept at Google");
}

/** What Google alone has words for. */
function vendorField(request: GenerateRequest, config: GenerationConfig, own: readonly object[]): object {
	const fields = Object.entries(request).filter(([name, value]) => GOOGLES.has(name) && value != null);
	const more = Object.entries(config).filter(
		([name, value]) =>
			value != null && (name === "thinkingConfig" || !CONFIGURED.has(name)) && !ROUTING_FIELDS.includes(name),
	);
	const gemini = {
		...Object.fromEntries(fields),
		...(more.length > 0 ? { generationConfig: Object.fromEntries(more) } : {}),
		...(own.length > 0 ? { tools: own } : {}),
	};
	return Object.keys(gemini).length > 0 ? { gemini } : {};
}

const TEXT_ONLY = { image: false, audio: false };

/** What the request says by a few of its fields. */
export function settingsOf(
	{ generationConfig, tools, cachedContent }: Partial<GenerateRequest>,
	model: string,
): AskedSettings {
	const config: GenerationConfig = generationConfig ?? {};
	const modalities = modalitiesOf(config);
	const effort = effortOf(config);
	const isOff = config.thinkingConfig?.thinkingBudget === 0;
	return {
		model,
		temperature: config.temperature ?? undefined,
		maxTokens: config.maxOutputTokens || undefined,
		choices: config.candidateCount ?? 1,
		modalities: modalities ? { image: modalities.includes("image"), audio: modalities.includes("audio") } : TEXT_ONLY,
		isLive: (tools ?? []).some(({ functionDeclarations, ...others }) =>
			Object.values(others).some((value) => value != null),
		),
		hasTools: (tools ?? []).length > 0,
		cachedContent: typeof cachedContent === "string" ? cachedContent : undefined,
		isReasoning: (name) => !isOff && isReasoning(effort === undefined ? {} : { reasoning_effort: effort }, name),
	};
}

/** Fields that the chat request says as well, by what they stand in. */
const SAID = {
	request: new Set(["contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "model"]),
	part: new Set(["text", "inlineData", "functionCall", "functionResponse"]),
	declaration: new Set(["name", "description", "parameters", "parametersJsonSchema"]),
	calling: new Set(["mode", "allowedFunctionNames"]),
} as const;

const hasMore = (value: object, said: ReadonlySet<string>): boolean =>
	Object.entries(value).some(([name, inner]) => inner != null && !said.has(name));

/**
 * Whether Google is told more than the chat request for all others says: then none of its answers is for those. Nor is one that goes on with the
 * model's words.
 * @param leftOut what that request has no form for
 */
export function saysMore(request: GenerateRequest, leftOut: readonly string[]): boolean {
	const { contents, tools, toolConfig, generationConfig } = request;
	const { functionCallingConfig, ...others } = toolConfig ?? {};
	return (
		leftOut.length > 0 ||
		hasMore(request, SAID.request) ||
		generationConfig?.thinkingConfig != null ||
		hasMore(functionCallingConfig ?? {}, SAID.calling) ||
		hasMore(others, new Set()) ||
		(tools ?? []).some(({ functionDeclarations }) =>
			(functionDeclarations ?? []).some((each) => hasMore(each, SAID.declaration)),
		) ||
		contents.some(({ parts }) => (parts ?? []).some((part) => hasMore(part, SAID.part))) ||
		contents.at(-1)?.role === "model"
	);
}
