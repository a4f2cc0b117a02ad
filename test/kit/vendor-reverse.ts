/**
 * From a vendor's recorded request back to the OpenAI request a client would send for the same: written apart from the router's
 * translators, so that one checks the other.
 */
import type { Json, Loose } from "./exchange.ts";

/** What a client would send to get this Messages API request made. */
export function openAiOfAnthropic(body: Loose): Json {
	const messages: Json[] = [];
	const system = typeof body["system"] === "string" ? [{ type: "text", text: body["system"] }] : (body["system"] ?? []);
	if (system.length > 0) messages.push({ role: "system", content: system });
	for (const { role, content } of body["messages"]) messages.push(...messagesOfTurn(role, content));
	const { thinking, output_config, tool_choice } = body;
	const format = output_config?.format;
	const choice = tool_choice?.type;
	return {
		model: body["model"],
		messages,
		max_completion_tokens: body["max_tokens"],
		...(body["stream"] === undefined ? {} : { stream: body["stream"] }),
		...(body["stop_sequences"] ? { stop: body["stop_sequences"] } : {}),
		...(body["tools"] ? { tools: body["tools"].map(toolOf) } : {}),
		...(choice === undefined
			? {}
			: {
					tool_choice:
						choice === "any"
							? "required"
							: choice === "tool"
								? { type: "function", function: { name: tool_choice.name } }
								: choice,
				}),
		...(tool_choice?.disable_parallel_tool_use === undefined
			? {}
			: { parallel_tool_calls: !tool_choice.disable_parallel_tool_use }),
		...(format
			? { response_format: { type: "json_schema", json_schema: { name: "out", strict: true, schema: format.schema } } }
			: {}),
		...(output_config?.effort ? { reasoning_effort: output_config.effort } : {}),
		// A budget has no OpenAI word that means just this number.
		...(thinking?.type === "enabled" ? { anthropic: { thinking } } : {}),
	};
}

const toolOf = ({ name, description, input_schema, strict, cache_control }: Loose): Json => ({
	type: "function",
	function: {
		name,
		...(description === undefined ? {} : { description }),
		parameters: input_schema,
		...(strict ? { strict } : {}),
	},
	...(cache_control ? { cache_control } : {}),
});

function messagesOfTurn(role: string, content: string | Loose[]): Json[] {
	if (typeof content === "string") return [{ role, content }];
	if (role === "assistant") {
		const of = (type: string) => content.filter((block) => block["type"] === type);
		const thoughts = content.filter((block) => /thinking$/.test(block["type"]));
		return [
			{
				role,
				content:
					of("text")
						.map((block) => block["text"])
						.join("") || null,
				...(of("tool_use").length === 0
					? {}
					: {
							tool_calls: of("tool_use").map(({ id, name, input }) => ({
								id,
								type: "function",
								function: { name, arguments: JSON.stringify(input) },
							})),
						}),
				...(thoughts.length === 0
					? {}
					: {
							reasoning_details: thoughts.map(({ thinking, signature }, index) => ({
								type: "reasoning.text",
								text: thinking,
								signature,
								format: "anthropic-claude-v1",
								index,
							})),
						}),
			},
		];
	}
	const results = content.filter((block) => block["type"] === "tool_result");
	const rest = content.filter((block) => block["type"] !== "tool_result");
	return [
		...results.map(({ tool_use_id, content: parts }) => ({ role: "tool", tool_call_id: tool_use_id, content: parts })),
		...(rest.length > 0 ? [{ role, content: rest.map(partOf) }] : []),
	];
}

function partOf({ type, text, source, cache_control }: Loose): Json {
	const cache = cache_control ? { cache_control } : {};
	if (type === "text") return { type, text, ...cache };
	const url = source.type === "url" ? source.url : `data:${source.media_type};base64,${source.data}`;
	if (type === "image") return { type: "image_url", image_url: { url }, ...cache };
	return { type: "file", file: { file_data: url }, ...cache };
}

/** What a client would send to get this `generateContent` request made. */
export function openAiOfGemini(model: string, stream: boolean, body: Loose): Json {
	const messages: Json[] = [];
	const system = (body["systemInstruction"]?.parts ?? []).map(({ text }: Loose) => ({ type: "text", text }));
	if (system.length > 0) messages.push({ role: "system", content: system });
	const ids: Record<string, string> = {};
	for (const { role, parts } of body["contents"]) {
		if (role === "model") messages.push(saidOf(parts, ids));
		else messages.push(...userOf(parts, ids));
	}
	const { maxOutputTokens, responseMimeType, responseJsonSchema, thinkingConfig } = body["generationConfig"] ?? {};
	const calling = body["toolConfig"]?.functionCallingConfig;
	const named = (name: string) => ({ type: "function", function: { name } });
	const choice: Record<string, unknown> = { AUTO: "auto", NONE: "none", VALIDATED: "auto" };
	const allowed = calling?.allowedFunctionNames;
	const tools = (body["tools"]?.[0]?.functionDeclarations ?? []) as Loose[];
	const isStrict = calling?.mode === "VALIDATED";
	const vendor = {
		...(body["safetySettings"] ? { safetySettings: body["safetySettings"] } : {}),
		...(thinkingConfig ? { generationConfig: { thinkingConfig } } : {}),
	};
	return {
		model,
		messages,
		...(stream ? { stream } : {}),
		...(maxOutputTokens ? { max_tokens: maxOutputTokens } : {}),
		...(responseMimeType && responseJsonSchema
			? { response_format: { type: "json_schema", json_schema: { name: "out", schema: responseJsonSchema } } }
			: {}),
		...(tools.length === 0
			? {}
			: {
					tools: tools.map(({ name, description, ...rest }) => ({
						type: "function",
						function: {
							name,
							description,
							parameters: rest["parametersJsonSchema"] ?? lowered(rest["parameters"]),
							...(isStrict ? { strict: true } : {}),
						},
					})),
				}),
		...(calling
			? {
					tool_choice: allowed
						? { type: "allowed_tools", allowed_tools: { mode: "required", tools: allowed.map(named) } }
						: choice[calling.mode],
				}
			: {}),
		...(Object.keys(vendor).length > 0 ? { gemini: vendor } : {}),
	};
}

/** Google's own schema dialect writes types in capitals. */
export function lowered(schema: unknown): unknown {
	if (Array.isArray(schema)) return schema.map(lowered);
	if (typeof schema !== "object" || schema === null) return schema;
	return Object.fromEntries(
		Object.entries(schema).map(([key, value]) => [
			key,
			key === "type" && typeof value === "string" ? value.toLowerCase() : lowered(value),
		]),
	);
}

function saidOf(parts: Loose[], ids: Record<string, string>): Json {
	const calls = parts.filter((part) => part["functionCall"]);
	return {
		role: "assistant",
		content: parts.map(({ text }) => text ?? "").join("") || null,
		tool_calls: calls.map(({ functionCall: { id, name, args }, thoughtSignature }) => {
			const own = id ?? `call_${name}`;
			ids[name] = own;
			return {
				id: own,
				type: "function",
				function: { name, arguments: JSON.stringify(args) },
				...(thoughtSignature ? { extra_content: { google: { thought_signature: thoughtSignature } } } : {}),
			};
		}),
	};
}

function userOf(parts: Loose[], ids: Record<string, string>): Json[] {
	const results = parts.filter((part) => part["functionResponse"]);
	if (results.length > 0) {
		return results.map(({ functionResponse: { id, name, response } }) => ({
			role: "tool",
			tool_call_id: id ?? ids[name],
			content: JSON.stringify(response),
		}));
	}
	return [
		{
			role: "user",
			content: parts.map(({ text, inlineData }) => {
				if (text !== undefined) return { type: "text", text };
				const url = `data:${inlineData.mimeType};base64,${inlineData.data}`;
				return inlineData.mimeType.startsWith("image/")
					? { type: "image_url", image_url: { url } }
					: { type: "file", file: { file_data: url, filename: "file.pdf" } };
			}),
		},
	];
}
