/**
 * `/v1/chat/completions` of OpenAI's reasoning models (its `/v1/responses` are those of ./strict-responses.ts), as strict as they are about what they are asked, in their own words (public issue threads and
 * the API's reference). It answers what `reply` says.
 */
import type { Loose } from "./exchange.ts";
import { type OpenAiReply, openAiReply, responsesReply } from "./sample-replies.ts";
import { startStrictResponses } from "./strict-responses.ts";

/** The fake. */
export interface StrictOpenAi {
	readonly origin: string;
	/** Bodies that were answered, and what was wrong with those that were not. */
	readonly bodies: Loose[];
	readonly refusals: string[];
	stop(): Promise<void>;
}

/** The key that it takes. */
export const OPENAI_KEY = "sk-strict";

interface Refusal {
	readonly message: string;
	readonly param: string | null;
	readonly code: string | null;
}

const refusal = (message: string, param: string | null = null, code: string | null = null): Refusal => ({
	message,
	param,
	code,
});

/** Fields of the API's reference. */
const FIELDS = new Set(
	`messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata modalities n
	parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_retention prompt_cache_options reasoning_effort response_format
	safety_identifier seed service_tier stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity
	web_search_options`.split(/\s+/),
);

/** Starts it. @param models ids of its list */
export function startStrictOpenAi(models: readonly string[]): StrictOpenAi {
	const bodies: Loose[] = [];
	const refusals: string[] = [];
	const refuse = (status: number, { message, param, code }: Refusal) => {
		refusals.push(message);
		return Response.json({ error: { message, type: "invalid_request_error", param, code } }, { status });
	};
	const responses = startStrictResponses(responsesReply);
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const { pathname } = new URL(request.url);
			if (request.headers.get("authorization") !== `Bearer ${OPENAI_KEY}`)
				return refuse(401, refusal("Incorrect API key provided.", null, "invalid_api_key"));
			if (pathname === "/v1/models") {
				return Response.json({
					object: "list",
					data: models.map((id) => ({ id, object: "model", owned_by: "openai" })),
				});
			}
			if (pathname === "/v1/responses") {
				const { method, headers } = request;
				const answered = await fetch(responses.origin + pathname, { method, headers, body: await request.text() });
				if (answered.status >= 400) refusals.push(((await answered.clone().json()) as Loose)["error"].message);
				return answered;
			}
			if (pathname !== "/v1/chat/completions")
				return refuse(404, refusal(`Invalid URL (${request.method} ${pathname})`));
			const body = (await request.json()) as Loose;
			const problem = problemWith(body, models);
			if (problem) return refuse(problem.code === "model_not_found" ? 404 : 400, problem);
			bodies.push(body);
			return answer(body, openAiReply(body), bodies.length);
		},
	});
	return {
		origin: `http://127.0.0.1:${server.port}`,
		bodies,
		refusals,
		async stop() {
			await server.stop(true);
			await responses.stop();
		},
	};
}

function problemWith(body: Loose, models: readonly string[]): Refusal | undefined {
	if (!models.includes(body["model"]))
		return refusal(`The model \`${body["model"]}\` does not exist`, null, "model_not_found");
	return problemWithFields(body) ?? problemWithTools(body) ?? problemWithMessages(body["messages"]);
}

const isDefault = (value: unknown) => value === undefined || value === null || value === 1;

function problemWithFields(body: Loose): Refusal | undefined {
	const unknown = Object.keys(body).find((name) => !FIELDS.has(name));
	if (unknown) return refusal(`Unknown parameter: '${unknown}'.`, unknown, "unknown_parameter");
	const effort = body["reasoning_effort"];
	if (!["none", "low", "medium", "high", "xhigh", "max"].includes(effort ?? "low")) {
		const message = `Unsupported value: 'reasoning_effort' does not support '${effort}' with this model. Supported values are: 'none', 'low', 'medium', 'high', 'xhigh', and 'max'.`;
		return refusal(message, "reasoning_effort", "unsupported_value");
	}
	if (body["max_tokens"] !== undefined) {
		const message =
			"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
		return refusal(message, "max_tokens", "unsupported_parameter");
	}
	for (const name of ["stop", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty"]) {
		if (body[name] !== undefined && body[name] !== null && body[name] !== 0)
			return refusal(
				`Unsupported parameter: '${name}' is not supported with this model.`,
				name,
				"unsupported_parameter",
			);
	}
	for (const name of ["temperature", "top_p"]) {
		if (effort !== "none" && !isDefault(body[name])) {
			const message = `Unsupported value: '${name}' does not support ${body[name]} with this model. Only the default (1) value is supported.`;
			return refusal(message, name, "unsupported_value");
		}
	}
	if (body["stream_options"] && body["stream"] !== true)
		return refusal("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options");
	if (body["max_completion_tokens"] > 128_000) {
		const message = `max_tokens is too large: ${body["max_completion_tokens"]}. This model supports at most 128000 completion tokens, whereas you provided ${body["max_completion_tokens"]}.`;
		return refusal(message, "max_tokens", "invalid_value");
	}
	if (String(body["user"] ?? "").length > 64 || String(body["prompt_cache_key"] ?? "").length > 64)
		return refusal("Invalid 'user': string too long. Expected a string with maximum length 64.", "user");
	const { type, json_schema } = body["response_format"] ?? {};
	if (type === "json_schema" && json_schema.strict) {
		const loose = looseness(json_schema.schema);
		if (loose) return refusal(`Invalid schema for response_format '${json_schema.name}': ${loose}`, "response_format");
	}
	return undefined;
}

function problemWithTools({ model, tools, tool_choice, parallel_tool_calls, ...body }: Loose): Refusal | undefined {
	if (tools === undefined || tools === null) {
		const [name] = Object.entries({ tool_choice, parallel_tool_calls }).find(([, value]) => value !== undefined) ?? [];
		return name === undefined
			? undefined
			: refusal(`Invalid value for '${name}': '${name}' is only allowed when 'tools' are specified.`, name);
	}
	if (tools.length === 0)
		return refusal("Invalid 'tools': empty array. Expected an array with minimum length 1.", "tools");
	if (tools.length > 128) return refusal("Invalid 'tools': array too long.", "tools");
	if (body["reasoning_effort"] !== "none") {
		// Also where the request names no effort: these models think unless they are told not to.
		const message = `Function tools with reasoning_effort are not supported for ${model} in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.`;
		return refusal(message, "reasoning_effort");
	}
	for (const [index, tool] of tools.entries()) {
		if (tool.type === "custom") continue;
		if (tool.type !== "function")
			return refusal(
				`Invalid value: '${tool.type}'. Supported values are: 'function' and 'custom'.`,
				`tools[${index}].type`,
			);
		const { name, parameters, strict } = tool.function;
		if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name))
			return refusal(`Invalid 'tools[${index}].function.name': string does not match pattern.`);
		const kind = parameters?.type;
		const fault =
			parameters && kind !== "object"
				? `schema must be a JSON Schema of 'type: "object"', got 'type: "${kind ?? "None"}"'.`
				: ["oneOf", "anyOf", "allOf", "enum", "not"].some((word) => word in (parameters ?? {}))
					? "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
					: strict
						? looseness(parameters)
						: undefined;
		if (fault) {
			const at = `tools[${index}].function.parameters`;
			return refusal(`Invalid schema for function '${name}': ${fault}`, at, "invalid_function_parameters");
		}
	}
	return undefined;
}

/** What strict schemas may not leave open. */
function looseness(schema: unknown): string | undefined {
	if (Array.isArray(schema)) return schema.map(looseness).find(Boolean);
	if (typeof schema !== "object" || schema === null) return undefined;
	const node = schema as Loose;
	if (node["type"] === "object") {
		if (node["additionalProperties"] !== false)
			return "In context=(), 'additionalProperties' is required to be supplied and to be false.";
		const missing = Object.keys(node["properties"] ?? {}).find((key) => !node["required"]?.includes(key));
		if (missing)
			return `In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing '${missing}'.`;
	}
	const { properties, $defs, items, anyOf } = node;
	return [...Object.values(properties ?? {}), ...Object.values($defs ?? {}), items, anyOf].map(looseness).find(Boolean);
}

const ROLES = ["system", "developer", "user", "assistant", "tool", "function"];

function problemWithMessages(messages: readonly Loose[]): Refusal | undefined {
	let waiting: string[] = [];
	for (const [index, { role, content, tool_calls, tool_call_id }] of messages.entries()) {
		const at = `messages[${index}]`;
		if (!ROLES.includes(role)) return refusal(`Invalid value: '${role}'.`, `${at}.role`, "invalid_value");
		if (role === "tool") {
			if (!waiting.includes(tool_call_id)) {
				const message =
					"Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.";
				return refusal(message, `${at}.role`);
			}
			waiting = waiting.filter((id) => id !== tool_call_id);
		} else if (waiting.length > 0) {
			const message = `An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: ${waiting.join(", ")}`;
			return refusal(message, at);
		}
		if (content === null || content === undefined) {
			if (role !== "assistant" || !tool_calls) {
				const message = `Invalid value for 'content': expected a string, got null.`;
				return refusal(message, `${at}.content`);
			}
		} else if (Array.isArray(content)) {
			if (content.length === 0)
				return refusal(
					`Invalid '${at}.content': empty array. Expected an array with minimum length 1.`,
					`${at}.content`,
				);
			const kinds = role === "user" ? ["text", "image_url", "input_audio", "file"] : ["text", "refusal"];
			const other = content.find(({ type }: Loose) => !kinds.includes(type));
			if (other) return refusal(`Invalid value: '${other["type"]}'.`, `${at}.content`, "invalid_value");
		}
		if (tool_calls !== undefined && tool_calls !== null) {
			if (tool_calls.length === 0)
				return refusal(`Invalid '${at}.tool_calls': empty array. Expected an array with minimum length 1.`);
			if (tool_calls.some((call: Loose) => typeof call["function"]?.arguments !== "string"))
				return refusal(`Invalid type for '${at}.tool_calls[0].function.arguments': expected a string.`);
			if (tool_calls.some(({ id }: Loose) => String(id).length > 64))
				return refusal(`Invalid '${at}.tool_calls[0].id': string too long. Expected a string with maximum length 64.`);
			waiting = tool_calls.map(({ id }: Loose) => id);
		}
	}
	return undefined;
}

function answer({ model, stream, stream_options }: Loose, { text, call }: OpenAiReply, step: number): Response {
	const head = {
		id: `chatcmpl-${step}`,
		created: 1_795_000_000,
		model: `${model}-2026-09-01`,
		service_tier: "default",
	};
	const usage = {
		prompt_tokens: 10,
		completion_tokens: 7,
		total_tokens: 17,
		prompt_tokens_details: { cached_tokens: 4, audio_tokens: 0 },
		completion_tokens_details: { reasoning_tokens: 2, audio_tokens: 0 },
	};
	const args = JSON.stringify(call?.args ?? {});
	const tool = call && { id: `call_${step}`, type: "function", function: { name: call.name, arguments: args } };
	const finish_reason = call ? "tool_calls" : "stop";
	if (!stream) {
		const message = { role: "assistant", content: text ?? null, refusal: null, ...(tool && { tool_calls: [tool] }) };
		const choices = [{ index: 0, message, logprobs: null, finish_reason }];
		return Response.json({ ...head, object: "chat.completion", choices, usage });
	}
	const deltas: [Loose, string | null][] = [
		[{ role: "assistant", content: tool ? null : "", refusal: null }, null],
		...halves(text ?? "").map((half): [Loose, null] => [{ content: half }, null]),
		...(tool
			? [
					[{ tool_calls: [{ index: 0, ...tool, function: { ...tool.function, arguments: "" } }] }, null] as [
						Loose,
						null,
					],
					...halves(args).map((half): [Loose, null] => [
						{ tool_calls: [{ index: 0, function: { arguments: half } }] },
						null,
					]),
				]
			: []),
		[{}, finish_reason],
	];
	const wantsUsage = stream_options?.include_usage === true;
	const chunk = (choices: Loose[], more: Loose = wantsUsage ? { usage: null } : {}) =>
		`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices, ...more })}\n\n`;
	const events = [
		...deltas.map(([delta, reason]) => chunk([{ index: 0, delta, logprobs: null, finish_reason: reason }])),
		...(wantsUsage ? [chunk([], { usage })] : []),
		"data: [DONE]\n\n",
	];
	return new Response(events.join(""), { headers: { "content-type": "text/event-stream" } });
}

const halves = (text: string) => [text.slice(0, text.length / 2), text.slice(text.length / 2)].filter(Boolean);
