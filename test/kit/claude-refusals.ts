/**
 * What Claude's models refuse of a request that is right in itself, by their generation, in the API's own words (read from issues and
 * from platform.claude.com: structured outputs, thinking, mid-conversation system messages, migration guides). Written apart from the
 * router's own table, so that one checks the other.
 */
import type { Loose } from "./exchange.ts";

/** `[family, version]`: `claude-sonnet-4-5` is `["sonnet", 4.5]`. */
function generation(model: string): [family: string, version: number] {
	const words = model
		.replace(/-\d{8}$/, "")
		.split("-")
		.slice(1);
	const family = words.find((word) => /^[a-z]+$/.test(word)) ?? "";
	const numbers = words.filter((word) => /^\d+$/.test(word));
	return [family, Number(numbers.join(".") || Number.NaN)];
}

const isForced = (choice: Loose | undefined) => choice?.["type"] === "any" || choice?.["type"] === "tool";

/** The words of the refusal; undefined where the request is taken. */
export function refusalOf(body: Loose): string | undefined {
	const [family, version] = generation(body["model"]);
	if (body["stop_sequences"]?.some((each: string) => !each.trim())) {
		return "stop_sequences: each stop sequence must contain non-whitespace";
	}
	return (
		refusedSampling(body, version) ??
		refusedThinking(body, family, version) ??
		refusedTools(body, version) ??
		refusedChoice(body, family, version) ??
		refusedFormat(body, version) ??
		refusedTurns(body, family, version)
	);
}

const thinks = ({ thinking }: Loose) => thinking?.type === "enabled" || thinking?.type === "adaptive";

function refusedSampling(body: Loose, version: number): string | undefined {
	const { temperature, top_p, top_k } = body;
	for (const name of ["temperature", "top_p", "top_k"]) {
		if (version >= 4.7 && body[name] !== undefined) return `\`${name}\` is deprecated for this model.`;
	}
	if (temperature > 1) return "temperature: range: 0..1";
	if (!thinks(body)) return undefined;
	if (temperature !== undefined && temperature !== 1) {
		return "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.";
	}
	if (top_p < 0.95) return "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.";
	return top_k === undefined ? undefined : "`top_k` must be unset when thinking is enabled.";
}

function refusedThinking({ thinking, max_tokens }: Loose, family: string, version: number): string | undefined {
	const type = thinking?.type;
	if (type === "adaptive" && version < 4.6) return "adaptive thinking is not supported on this model";
	if (type === "enabled" && version >= 4.7) return '"thinking.type.enabled" is not supported for this model.';
	if (type === "enabled" && version < 3.7) return "thinking: Extra inputs are not permitted";
	if (type === "enabled" && thinking.budget_tokens >= max_tokens)
		return "`max_tokens` must be greater than `thinking.budget_tokens`.";
	const canNot = (family === "opus" || family === "sonnet") && version >= 5.5;
	if (type === "disabled" && (canNot || family === "fable" || family === "mythos")) {
		return '"thinking.type.disabled" is not supported for this model.';
	}
	if (type === "between_tools" && !(family === "sonnet" && version >= 5.5))
		return "thinking.type: Input should be 'adaptive'";
	return undefined;
}

function refusedTools({ tools }: Loose, version: number): string | undefined {
	for (const [index, { name, input_schema, strict }] of (tools ?? []).entries()) {
		const at = `tools.${index}.custom`;
		if (!/^[a-zA-Z0-9_-]{1,128}$/.test(name)) return `${at}.name: String should match pattern`;
		if (input_schema?.type !== "object") return `${at}.input_schema.type: Input should be 'object'`;
		if (["oneOf", "allOf", "anyOf"].some((word) => word in input_schema)) {
			return `${at}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level`;
		}
		if (strict && version < 4.5) return `${at}.strict: Extra inputs are not permitted`;
		const loose = strict ? looseness(input_schema) : undefined;
		if (loose) return `${at}: ${loose}`;
	}
	return undefined;
}

function refusedChoice({ tools, tool_choice, thinking }: Loose, family: string, version: number): string | undefined {
	if (!isForced(tool_choice)) return undefined;
	if (!tools?.length) return "tool_choice: may only be specified while providing tools.";
	const never = version >= (family === "fable" || family === "mythos" ? 5.1 : 5.5) && family !== "haiku";
	if (never) return 'tool_choice: type "tool" and "any" are not supported for this model.';
	if (thinking?.type === "enabled") return "Thinking may not be enabled when tool_choice forces tool use.";
	const isKnown = tool_choice.type === "any" || tools.some(({ name }: Loose) => name === tool_choice.name);
	return isKnown ? undefined : `Tool '${tool_choice.name}' not found in provided tools`;
}

function refusedFormat({ output_config, messages }: Loose, version: number): string | undefined {
	const format = output_config?.format;
	if (output_config?.effort !== undefined && version < 4.5)
		return "output_config.effort: Extra inputs are not permitted";
	if (format === undefined) return undefined;
	if (version < 4.5) return "output_config.format: Extra inputs are not permitted";
	if (messages.at(-1).role === "assistant")
		return "output_config.format: prefill is not supported with structured outputs";
	const loose = looseness(format.schema);
	return loose && `output_config.format.schema: ${loose}`;
}

/** What a grammar can't be made of; the message says it of the first. */
function looseness(schema: unknown): string | undefined {
	if (Array.isArray(schema)) return schema.map(looseness).find(Boolean);
	if (typeof schema !== "object" || schema === null) return undefined;
	const { type, properties, additionalProperties, anyOf, allOf, $defs, items, ...rest } = schema as Loose;
	if (type === "object" && additionalProperties !== false) {
		return "For 'object' type, 'additionalProperties' must be explicitly set to false";
	}
	const known = ["$ref", "enum", "const", "description", "title", "required", "format", "minItems"];
	const other = Object.keys(rest).find((word) => !known.includes(word));
	if (other) return `For '${type}' type, property '${other}' is not supported`;
	const inner = [...Object.values(properties ?? {}), ...Object.values($defs ?? {}), anyOf, allOf, items];
	return inner.map(looseness).find(Boolean);
}

function refusedTurns({ messages }: Loose, family: string, version: number): string | undefined {
	if (messages[0].role !== "user") return 'messages: first message must use the "user" role';
	const takesSystem = family === "sonnet" ? version >= 5.5 : version >= 4.8;
	for (const [index, { role, content }] of messages.entries()) {
		if (role === "system") {
			if (!takesSystem) return "role 'system' is not supported on this model";
			const next = messages[index + 1]?.role ?? "assistant";
			const isPlaced = messages[index - 1]?.role === "user" && next === "assistant";
			if (!isPlaced)
				return `messages.${index}: system messages must follow a user message and precede an assistant message`;
		}
		const first = content.findIndex(({ type }: Loose) => type !== "tool_result");
		if (role === "user" && first !== -1 && content.slice(first).some(({ type }: Loose) => type === "tool_result")) {
			return `messages.${index}: tool_result blocks must come first`;
		}
	}
	const last = messages.at(-1);
	if (last.role !== "assistant") return undefined;
	if (version >= 4.6) {
		return "This model does not support assistant message prefill. The conversation must end with a user message.";
	}
	const end = last.content.at(-1);
	return end?.type === "text" && /\s$/.test(end.text)
		? "messages: final assistant content cannot end with trailing whitespace"
		: undefined;
}
