/**
 * What `generateContent` refuses, in its own words: ai.google.dev (function calling, structured output, latest model), the recordings and public
 * issue threads. Of its own knowledge of models, so that it can't share a mistake with what it judges.
 */
import type { Loose } from "./exchange.ts";

const version = (model: string): number => Number(/gemini-(\d+(?:\.\d+)?)/.exec(model)?.[1] ?? 99);
/** Of the models that take no model's words as the last. */
const NO_PREFILL = /gemini-(?:3\.5-flash-lite|3\.[6-9]|[4-9])|gemini-flash(?:-lite)?-latest/;
const NAME = /^[A-Za-z_][A-Za-z0-9_.:-]{0,63}$/;

/** The refusal of a request; undefined where it is taken. */
export function refusalOf(body: Loose, model: string): string | undefined {
	return problemWithContents(body, model) ?? problemWithTools(body, model) ?? problemWithConfig(body, model);
}

const holds = (turn: Loose | undefined, kind: string): boolean =>
	((turn?.["parts"] ?? []) as Loose[]).some((part) => part[kind]);

function problemWithContents({ contents, systemInstruction }: Loose, model: string): string | undefined {
	const turns = contents as Loose[];
	if (turns.length === 0) return "* GenerateContentRequest.contents: contents is not specified";
	for (const [index, turn] of [...turns, ...(systemInstruction ? [systemInstruction] : [])].entries()) {
		const parts = turn["parts"] as Loose[];
		const isSystem = index === turns.length;
		if (parts.length === 0) {
			return `* GenerateContentRequest.contents[${index}].parts: contents.parts must not be empty.`;
		}
		if (!isSystem && turn["role"] !== "user" && turn["role"] !== "model") {
			return "Please use a valid role: user, model.";
		}
		if (parts.some((part) => Object.keys(part).length === 0)) {
			return `* GenerateContentRequest.contents[${index}].parts[0].data: required oneof field 'data' must have one initialized field`;
		}
		if (isSystem) continue;
		const type = parts
			.map((part) => part["inlineData"]?.mimeType)
			.find((each) => /^image\/(?!png|jpeg|webp|hei[cf])/.test(each));
		if (type) return `Unsupported MIME type: ${type}`;
		const before = turns[index - 1];
		if (holds(turn, "functionCall") && before?.["role"] !== "user" && !holds(before, "functionCall")) {
			return "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
		}
		if (holds(turn, "functionResponse") && !holds(before, "functionCall")) {
			return "Please ensure that function response turn comes immediately after a function call turn.";
		}
	}
	if (turns.at(-1)!["role"] !== "model") return undefined;
	if (turns.length === 1)
		return "Please ensure that single turn requests end with a user role or the role field is empty.";
	return NO_PREFILL.test(model) ? "Requests ending with a model turn are not supported." : undefined;
}

function problemWithTools({ tools, toolConfig, generationConfig, contents }: Loose, model: string): string | undefined {
	const declared = ((tools ?? []) as Loose[]).flatMap((each) => (each["functionDeclarations"] ?? []) as Loose[]);
	const hasOwn = ((tools ?? []) as Loose[]).some((each) => !each["functionDeclarations"]);
	for (const [index, { name, parametersJsonSchema: schema }] of declared.entries()) {
		const path = `tools[0].function_declarations[${index}]`;
		if (!NAME.test(name)) {
			return `* GenerateContentRequest.${path}.name: Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.`;
		}
		if (schema && schema.type !== "object" && !schema["$ref"]) {
			return `Unable to submit request because \`${name}\` functionDeclaration parameters schema should be of type OBJECT.`;
		}
		const problem = problemWithSchema(schema);
		if (problem) return problem;
	}
	const chosen = toolConfig?.functionCallingConfig?.allowedFunctionNames ?? [];
	const stranger = chosen.find((name: string) => !declared.some((each) => each["name"] === name));
	if (stranger) return `allowed_function_names: ${stranger} is not declared`;
	const hasCalls = (contents as Loose[]).some((turn) => holds(turn, "functionCall"));
	const isJson = generationConfig?.responseMimeType === "application/json";
	if (hasOwn && version(model) < 3) {
		if (declared.length > 0) return "Tool use with function calling is unsupported";
		if (isJson) return "Tool use with a response mime type: 'application/json' is unsupported";
	}
	if (isJson && (declared.length > 0 || hasCalls) && version(model) < 3) {
		return "Function calling with a response mime type: 'application/json' is unsupported";
	}
	return undefined;
}

function problemWithSchema(schema: unknown): string | undefined {
	if (Array.isArray(schema)) return schema.map(problemWithSchema).find(Boolean);
	if (typeof schema !== "object" || schema === null) return undefined;
	const node = schema as Loose;
	const beside = Object.keys(node).filter((word) => !word.startsWith("$"));
	if (typeof node["$ref"] === "string") {
		if (beside.length > 0) return `$ref '${node["$ref"]}' was set alongside unsupported fields.`;
		if (node["$ref"].startsWith("#/definitions/")) return "reference to undefined schema at top-level";
	}
	const { properties, ...rest } = node;
	const inner = properties && typeof properties === "object" ? Object.values(properties) : [];
	return [...inner, ...Object.values(rest)].map(problemWithSchema).find(Boolean);
}

function problemWithConfig({ generationConfig: config = {} }: Loose, model: string): string | undefined {
	if ((config.frequencyPenalty || config.presencePenalty) && version(model) >= 2.5) {
		return `Penalty is not enabled for models/${model}`;
	}
	if ((config.candidateCount ?? 1) > 1 && version(model) >= 3) {
		return "Multiple candidates is not enabled for this model";
	}
	if ((config.stopSequences ?? []).length > 5) {
		return `Unable to submit request because it has a stopSequences value of ${config.stopSequences.length} but the supported range is from 1 (inclusive) to 6 (exclusive).`;
	}
	if (config.seed !== undefined && config.seed !== (config.seed | 0)) {
		return `Invalid value at 'generation_config.seed' (TYPE_INT32), ${config.seed}`;
	}
	if ((config.maxOutputTokens ?? 1) < 1) return "max_output_tokens must be positive";
	if ((config.temperature ?? 0) > 2) {
		return `Unable to submit request because it has a temperature value of ${config.temperature} but the supported range is from 0 (inclusive) to 2.0 (inclusive).`;
	}
	return problemWithSchema(config.responseJsonSchema);
}
