/**
 * Fields of a request by which an upstream may answer with another model than `model` names: model routing, fallbacks, other addresses.
 * Of OpenRouter, Venice, LiteLLM and gateways like them. Pure.
 */
import { fieldsOf, itemsOf, repeatedKey } from "./json.ts";
import type { ParsedBody } from "./parsed-body.ts";

/** In lower case, as some servers read them in any. */
const ROUTING = new Set(
	(
		"models route router routing provider providers provideroptions provider_options plugins preset gateway model_id " +
		"fallback fallbacks fallback_model fallback_models default_fallbacks context_window_fallbacks content_policy_fallbacks " +
		"context_window_fallback_dict model_list model_group user_config router_settings_override custom_llm_provider api_base " +
		"base_url deployment_id specific_deployment"
	).split(" "),
);

/** Fields of OpenAI's, in which such names mean something else. All others are looked into: some servers take what is in them for fields. */
const KNOWN = new Set(
	(
		"messages prompt input suffix tools functions tool_choice function_call response_format stream_options logit_bias metadata audio " +
		"prediction web_search_options reasoning modalities stop prompt_cache_options documents structured_outputs guided_json " +
		// Of Responses.
		"text client_metadata"
	).split(" "),
);
/** How deep that goes. */
const DEPTH = 6;

/** Whether a request's field of that name is one. */
export const isRoutingField = (name: string): boolean => ROUTING.has(name.toLowerCase());

/** The first field, as `extra_body.fallbacks` where it stands in another; undefined where there is none. */
export function routingFieldIn(body: ParsedBody): string | undefined {
	for (const field of body.fields) {
		const { key, levels } = field;
		if (isRoutingField(key)) return key;
		if (levels === 0 || (KNOWN.has(key) && key !== "tools")) continue;
		// Of two fields of one name a parser has one only, and an upstream's may have the other.
		const repeated = repeatedIn(body.textOf(field), 0, DEPTH);
		if (repeated !== undefined) return key + repeated;
		if (key === "tools") {
			const tool = toolIn(body.valueOf(field));
			if (tool !== undefined) return tool;
			continue;
		}
		const value = body.valueOf(field);
		if (typeof value !== "object" || value === null) continue;
		const inner = fieldIn(value, DEPTH);
		if (inner !== undefined) return `${key}.${inner}`;
	}
	return undefined;
}

/** The first name that stands twice in an object of a JSON text, with the way to it: `[0].type`, `.extra.models`. @param depth how many levels are looked into */
function repeatedIn(text: string, start: number, depth: number): string | undefined {
	if (depth < 0) return undefined;
	if (text[start] === "[") {
		for (const [at, item] of itemsOf(text, start).entries()) {
			const inner = repeatedIn(text, item.start, depth - 1);
			if (inner !== undefined) return `[${at}]${inner}`;
		}
	}
	if (text[start] !== "{") return undefined;
	const fields = fieldsOf(text, start);
	const repeated = repeatedKey(fields);
	if (repeated !== undefined) return `.${repeated}`;
	for (const { key, start: from } of fields) {
		const inner = repeatedIn(text, from, depth - 1);
		if (inner !== undefined) return `.${key}${inner}`;
	}
	return undefined;
}

/** Tools that OpenRouter runs itself, without asking another model. Others do: `openrouter:advisor`, `openrouter:subagent`. */
const ALONE = ["openrouter:datetime", "openrouter:web_search", "openrouter:web_fetch"];

/** The first tool that the upstream runs itself and that may ask another model. */
function toolIn(tools: unknown): string | undefined {
	if (!Array.isArray(tools)) return undefined;
	for (const [at, tool] of tools.entries()) {
		if (typeof tool !== "object" || tool === null) continue;
		const { type } = tool as { type?: unknown };
		// What the client runs: its parameters are a schema, in which any name may stand.
		if (typeof type !== "string" || type === "function" || type === "custom") continue;
		if (type === "namespace") {
			const inner = toolIn((tool as { tools?: unknown }).tools);
			if (inner === undefined) continue;
			return `tools[${at}].${inner}`;
		}
		if (/^openrouter:/i.test(type) && !ALONE.includes(type)) return `tools[${at}].type`;
		const field = fieldIn(tool, DEPTH);
		if (field !== undefined) return `tools[${at}].${field}`;
	}
	return undefined;
}

function fieldIn(value: object, depth: number): string | undefined {
	for (const [key, inner] of Object.entries(value)) {
		const name = key.toLowerCase();
		// In here it would take the place of the call's own.
		if (!Array.isArray(value) && (ROUTING.has(name) || name === "model")) return key;
		if (typeof inner !== "object" || inner === null) continue;
		// What is nested deeper than anyone reads is not let through unread.
		const found = depth > 0 ? fieldIn(inner, depth - 1) : "…";
		if (found !== undefined) return `${key}.${found}`;
	}
	return undefined;
}

/** The end of a model's name that does the same: OpenRouter's routing variants, its web search, settings of the account's. */
const SUFFIX = /(?::(?:nitro|floor|exacto|online)|@preset\/.*)$/i;

/** It; undefined where the name has none. */
export function routingSuffix(model: string): string | undefined {
	return SUFFIX.exec(model)?.[0];
}
