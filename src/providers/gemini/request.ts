/** A chat request as Gemini's `generateContent` takes it (@google/genai 2.32). */
import { invalid, readChat, unsupported } from "../../openai/chat.ts";
import type { Chat, Tool } from "../../openai/chat-schema.ts";
import { objectText } from "../../openai/json.ts";
import type { RequestBody } from "../../openai/request-fields.ts";
import { objectIn } from "../../openai/usage.ts";
import { CARRIED, DROPPED, type FieldRules, joined, refuseOthers, vendorFields } from "../fields.ts";
import type { RequestInputs } from "../provider.ts";
import { allowedTools } from "../tools.ts";
import { UnsupportedFields } from "../unsupported-fields.ts";
import { allowedSchema, parametersText } from "./allowed-schema.ts";
import { contentsOf } from "./contents.ts";
import { declaredName, sentName } from "./function-names.ts";
import { type JsonPlan, jsonPlan } from "./json-answer.ts";
import { joinsToolsAndJson, makesCandidates, takesPenalties, thinkingConfig } from "./models.ts";

const RULES: FieldRules = {
	carried: new Set([...CARRIED, "n", "seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs"]),
	// Google has no word for the end user, and caches prompts without being asked.
	dropped: new Set([...DROPPED, "user", "safety_identifier", "cache_control"]),
};

/** Fields of the API that OpenAI has none for; they go in by `gemini: { … }`. */
const VENDOR = new Set(["cachedContent", "generationConfig", "safetySettings", "tools"]);

/** The body. Throws RouterError naming what has no form there. */
export function generateRequest(
	body: RequestBody,
	model: string,
	baseUrl: string,
	inputs: RequestInputs,
	unsupportedFields = new UnsupportedFields(),
): string {
	const chat = readChat(body);
	refuseOthers(body, RULES, unsupportedFields);
	const { generationConfig: vendorConfig = {}, tools: vendorTools, ...vendor } = vendorFields(body, "gemini", VENDOR);
	if (typeof vendorConfig !== "object" || vendorConfig === null) {
		throw invalid("gemini.generationConfig", "must be an object");
	}
	const { system, contents, hasCalls } = contentsOf(chat.messages, model, baseUrl, inputs);
	const plan = jsonPlan(chat, model, hasCalls);
	const own = ownTools(vendorTools);
	if (own.length > 0) checkOwnTools(chat, plan, model);
	const config = joined(
		{ ...configOf(chat, model, unsupportedFields), ...(plan.hasFormat ? formatOf(chat) : {}) },
		vendorConfig as Record<string, unknown>,
		"gemini.generationConfig",
	);
	return objectText(
		{
			contents: `[${contents.join(",")}]`,
			systemInstruction: system.length > 0 ? `{"parts":[${system.join(",")}]}` : undefined,
			...toolFields(chat, plan, own),
			generationConfig: JSON.stringify(config),
			serviceTier: JSON.stringify(tierOf(chat)),
		},
		vendor,
	);
}

function configOf(chat: Chat, model: string, unsupportedFields: UnsupportedFields): Record<string, unknown> {
	const { n, logprobs } = chat;
	if ((n ?? 1) > 1 && !makesCandidates(model)) throw unsupported("n", "this model makes one answer to a call");
	const isTooHot = (chat.temperature ?? 0) > 2;
	if (isTooHot) unsupportedFields.add("temperature", "Gemini takes 0 to 2");
	return {
		maxOutputTokens: limitOf(chat),
		temperature: isTooHot ? undefined : (chat.temperature ?? undefined),
		topP: chat.top_p ?? undefined,
		topK: chat.top_k ?? undefined,
		candidateCount: n && n !== 1 ? n : undefined,
		seed: seedOf(chat),
		...penaltiesOf(chat, model, unsupportedFields),
		responseLogprobs: logprobs || undefined,
		logprobs: (logprobs && chat.top_logprobs) || undefined,
		stopSequences: stopsOf(chat),
		thinkingConfig: thinkingConfig(chat.reasoning_effort, model, unsupportedFields),
	};
}

function penaltiesOf(chat: Chat, model: string, unsupportedFields: UnsupportedFields): Record<string, unknown> {
	const { frequency_penalty, presence_penalty } = chat;
	if (takesPenalties(model)) {
		return { frequencyPenalty: frequency_penalty || undefined, presencePenalty: presence_penalty || undefined };
	}
	if (frequency_penalty) unsupportedFields.add("frequency_penalty", "this model takes no penalties");
	if (presence_penalty) unsupportedFields.add("presence_penalty", "this model takes no penalties");
	return {};
}

/** Gemini's has 32 bits, and a larger one is a 400: of that the lowest, the same each time. */
function seedOf({ seed }: Chat): number | undefined {
	if (typeof seed !== "number") return undefined;
	return seed === (seed | 0) ? seed : Number(BigInt.asIntN(32, BigInt(seed)));
}

/** -1 is no limit, as servers of one's own have it. */
function limitOf({ max_completion_tokens, max_tokens }: Chat): number | undefined {
	const limit = max_completion_tokens ?? max_tokens ?? -1;
	return limit === -1 ? undefined : limit;
}

/** Sequences that it takes at most. */
const MOST_STOPS = 5;

function stopsOf({ stop }: Chat): readonly string[] | undefined {
	const stops = typeof stop === "string" ? [stop] : (stop ?? []);
	if (stops.length > MOST_STOPS) throw unsupported("stop", `Gemini takes at most ${MOST_STOPS}`);
	return stops.length > 0 ? stops : undefined;
}

function formatOf({ response_format: format }: Chat): Record<string, unknown> {
	if (!format || format.type === "text") return {};
	const responseMimeType = "application/json";
	if (format.type !== "json_schema") return { responseMimeType };
	const { description, schema } = format.json_schema;
	// What the schema says of itself stands.
	const responseJsonSchema = allowedSchema({ ...(description ? { description } : {}), ...schema });
	return { responseMimeType, responseJsonSchema };
}

function tierOf({ service_tier: tier }: Chat): string | undefined {
	if (!tier || tier === "auto") return undefined;
	if (tier === "default") return "standard";
	if (tier === "flex" || tier === "priority") return tier;
	// OpenAI itself reports it so.
	if (tier === "fast") return "priority";
	throw unsupported("service_tier", 'Gemini has "auto", "default", "flex", "priority" and "fast"');
}

const toolsText = (declarations: readonly string[], own: readonly string[]): string =>
	`[${[`{"functionDeclarations":[${declarations.join(",")}]}`, ...own].join(",")}]`;

const MODES = { auto: "AUTO", none: "NONE", required: "ANY", named: "ANY" } as const;

/** Google's own tools, such as its search, as JSON. Throws `invalid_value` for what is none, or says functions a second time. */
function ownTools(tools: unknown): readonly string[] {
	if (tools === undefined || tools === null) return [];
	if (!Array.isArray(tools)) throw invalid("gemini.tools", "must be a list");
	return tools.map((tool: unknown, index) => {
		if (!objectIn(tool)) throw invalid(`gemini.tools[${index}]`, "must be an object, such as {googleSearch: {}}");
		const said = ["functionDeclarations", "function_declarations"].find((name) => Object.hasOwn(tool as object, name));
		if (said) throw invalid(`gemini.tools[${index}].${said}`, "functions stand in tools");
		return JSON.stringify(tool);
	});
}

/** Before Gemini 3 they stand alone ("Tool use with function calling is unsupported"). Throws `unsupported_parameter`. */
function checkOwnTools(chat: Chat, { hasTools, answer }: JsonPlan, model: string): void {
	if (joinsToolsAndJson(model)) return;
	const asksJson = chat.response_format && chat.response_format.type !== "text";
	if (asksJson) throw unsupported("response_format", "this model takes no JSON beside Google's own tools");
	if (answer || (hasTools && chat.tools?.length)) {
		throw unsupported("tools", "this model takes no functions beside Google's own tools");
	}
}

function toolFields(
	chat: Chat,
	{ hasTools, answer }: JsonPlan,
	own: readonly string[],
): Record<string, string | undefined> {
	const { mode, only } = allowedTools(chat);
	const tools = (hasTools && chat.tools) || [];
	const declarations = tools.map((tool, index) => toolText(tool, `tools[${index}]`));
	if (answer) {
		const names = only.length > 0 ? [...only.map(sentName), answer.name] : undefined;
		const functionCallingConfig = { mode: "ANY", allowedFunctionNames: names };
		return {
			tools: toolsText([...declarations, answer.declaration], own),
			toolConfig: JSON.stringify({ functionCallingConfig }),
		};
	}
	if (tools.length === 0) return own.length > 0 ? { tools: `[${own.join(",")}]` } : {};
	// VALIDATED: text or calls, and calls by their schema. Names may be chosen in it, not in AUTO.
	const isStrict = tools.some(({ function: { strict } }) => strict) || only.length > 0;
	const functionCallingConfig = {
		mode: mode === "auto" && isStrict ? "VALIDATED" : MODES[mode],
		allowedFunctionNames: only.length > 0 ? only.map(sentName) : undefined,
	};
	const isDefault = functionCallingConfig.mode === "AUTO" && !chat.tool_choice;
	return {
		tools: toolsText(declarations, own),
		toolConfig: isDefault ? undefined : JSON.stringify({ functionCallingConfig }),
	};
}

function toolText({ function: { name, description, parameters } }: Tool, path: string): string {
	return objectText({
		name: JSON.stringify(declaredName(name, `${path}.function.name`)),
		description: description ? JSON.stringify(description) : undefined,
		parametersJsonSchema: parameters ? parametersText(parameters) : undefined,
	});
}
