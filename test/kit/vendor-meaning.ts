/**
 * Vendors' requests with everything taken out that says the same in another way, so that two of them can be compared. Each rule is
 * a difference between what a vendor's own SDK was recorded to send and what the router sends, with its reason.
 */
import type { Json, Loose } from "./exchange.ts";
import { lowered } from "./vendor-reverse.ts";

const textBlocks = (content: unknown): unknown =>
	typeof content === "string" ? [{ type: "text", text: content }] : content;

/** A Messages API request. */
export function meaningOfAnthropic(body: Loose): Json {
	const { stream, tool_choice, tools, messages, system, ...rest } = body;
	return {
		...rest,
		// A string is "shorthand for an array of one content block" (SDK, MessageParam).
		messages: messages.map(({ role, content }: Loose) => ({ role, content: textBlocks(content) })),
		...(system === undefined ? {} : { system: textBlocks(system) }),
		// False is the default.
		...(stream ? { stream } : {}),
		...(tools ? { tools: tools.map(withoutEmptyDescription) } : {}),
		...choiceOf(tool_choice),
	};
}

/** "" describes nothing. */
const withoutEmptyDescription = ({ description, ...tool }: Loose): Loose =>
	description ? { ...tool, description } : tool;

function choiceOf(choice: Loose | undefined): Loose {
	if (!choice) return {};
	const { disable_parallel_tool_use: off, ...rest } = choice;
	// Both are the default.
	if (rest["type"] === "auto" && !off) return {};
	return { tool_choice: off ? { ...rest, disable_parallel_tool_use: off } : rest };
}

const CAMEL: Readonly<Record<string, string>> = {
	parameters_json_schema: "parametersJsonSchema",
	response_mime_type: "responseMimeType",
	response_schema: "responseSchema",
};

/** Google takes field names in either case (protobuf's JSON mapping). */
export function camel(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(camel);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(Object.entries(value).map(([key, inner]) => [CAMEL[key] ?? key, camel(inner)]));
}

/** A `generateContent` request. */
export function meaningOfGemini(recorded: Loose): Json {
	const { generationConfig = {}, toolConfig, tools, systemInstruction, ...rest } = camel(recorded) as Loose;
	const { responseModalities, responseSchema, ...config } = generationConfig;
	// Text alone is the default.
	const modalities = JSON.stringify(responseModalities) === '["TEXT"]' ? undefined : responseModalities;
	const calling = toolConfig?.functionCallingConfig;
	return {
		...rest,
		contents: rest["contents"].map(withoutMadeIds),
		generationConfig: {
			...config,
			...(modalities ? { responseModalities: modalities } : {}),
			// Two dialects for one schema; JSON Schema is the one that OpenAI's clients write.
			...(responseSchema ? { responseJsonSchema: responseSchema } : {}),
		},
		// The role says nothing there.
		...(systemInstruction ? { systemInstruction: { parts: systemInstruction.parts } } : {}),
		// AUTO is the default.
		...(calling && calling.mode !== "AUTO" ? { toolConfig } : {}),
		...(tools ? { tools: tools.map(declarations) } : {}),
	};
}

function declarations({ functionDeclarations }: Loose): Loose {
	return {
		functionDeclarations: functionDeclarations.map(
			({ description, parameters, parametersJsonSchema, name }: Loose) => ({
				name,
				...(description ? { description } : {}),
				parametersJsonSchema: parametersJsonSchema ?? lowered(parameters),
			}),
		),
	};
}

/** OpenAI's calls have ids; a client that had none from Google sends one of its own, which goes along. */
function withoutMadeIds({ role, parts }: Loose): Loose {
	return {
		role,
		parts: parts.map((part: Loose) => {
			const call = part["functionCall"] ?? part["functionResponse"];
			if (!call?.id?.startsWith("call_")) return part;
			const { id: _, ...rest } = call;
			return { ...part, [part["functionCall"] ? "functionCall" : "functionResponse"]: rest };
		}),
	};
}
