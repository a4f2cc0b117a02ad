/** What OpenAI's chat API can ask for, and what becomes of it at each vendor that is translated. The README's table is this one. */
import type { Json } from "./exchange.ts";
import { PIXEL } from "./scenarios.ts";

/** Part of what the vendor gets; or the field whose refusal it is. */
export type Outcome = { readonly sends: Json } | { readonly refused: string };

/** One feature. */
export interface Feature {
	readonly name: string;
	/** Fields added to a request; `messages` replace its own. */
	readonly ask: Json;
	readonly anthropic: Outcome;
	readonly gemini: Outcome;
	/** Model names other than the usual ones. */
	readonly models?: { readonly anthropic?: string; readonly gemini?: string };
}

const user = (content: unknown) => ({ role: "user", content });
const text = (value: string) => ({ type: "text", text: value });
const sends = (part: Json): Outcome => ({ sends: part });
const refused = (param: string): Outcome => ({ refused: param });
const config = (generationConfig: Json): Outcome => sends({ generationConfig });
const calling = (functionCallingConfig: Json): Outcome => sends({ toolConfig: { functionCallingConfig } });
const claudeSays = (...content: unknown[]): Outcome => sends({ messages: [{ role: "user", content }] });
const geminiSays = (...parts: unknown[]): Outcome => sends({ contents: [{ role: "user", parts }] });

const parameters = {
	type: "object",
	properties: { at: { type: "string" } },
	required: ["at"],
	additionalProperties: false,
};
const fn = (name: string, more: Json = {}) => ({
	type: "function",
	function: { name, description: "d", parameters, ...more },
});
const choose = (name: string) => ({ type: "function", function: { name } });
const tools = [fn("look"), fn("wait")];
const call = (id: string, args = '{"at":"home"}') => ({
	id,
	type: "function",
	function: { name: "look", arguments: args },
});
const PNG = PIXEL.slice("data:image/png;base64,".length);
const PDF = "JVBERi0xLjQ=";

const loop = [
	user("Where?"),
	{ role: "assistant", content: "Let me look.", tool_calls: [call("call_1"), call("call_2", "")] },
	{ role: "tool", tool_call_id: "call_1", content: "no" },
	{ role: "tool", tool_call_id: "call_2", content: '{"found":true}' },
];
const withImage = [
	user("Show me."),
	{ role: "assistant", content: null, tool_calls: [call("call_1")] },
	{ role: "tool", tool_call_id: "call_1", content: [text("this"), { type: "image_url", image_url: { url: PIXEL } }] },
];
const schema = { type: "object", properties: { a: { type: "string", minLength: 2 } }, required: ["a"] };
const jsonSchema = { type: "json_schema", json_schema: { name: "s", strict: true, schema } };

/** In the README's order. */
export const FEATURES: readonly Feature[] = [
	{
		name: "system and developer messages at the beginning",
		ask: { messages: [{ role: "system", content: "A." }, { role: "developer", content: "B." }, user("Hi")] },
		anthropic: sends({ system: [text("A."), text("B.")] }),
		gemini: sends({ systemInstruction: { parts: [{ text: "A." }, { text: "B." }] } }),
	},
	{
		name: "system messages later on (Claude: from Opus 4.8 and Sonnet 5.5 on, between a user's message and an answer)",
		ask: { messages: [user("Hi"), { role: "system", content: "B." }] },
		models: { anthropic: "claude-opus-5" },
		anthropic: sends({
			messages: [
				{ role: "user", content: [text("Hi")] },
				{ role: "system", content: [text("B.")] },
			],
		}),
		gemini: refused("messages[1].role"),
	},
	{
		name: "several turns",
		ask: { messages: [user("Hi"), { role: "assistant", content: "Ho" }, user("Hey")] },
		anthropic: sends({
			messages: [
				{ role: "user", content: [text("Hi")] },
				{ role: "assistant", content: [text("Ho")] },
				{ role: "user", content: [text("Hey")] },
			],
		}),
		gemini: sends({
			contents: [
				{ role: "user", parts: [{ text: "Hi" }] },
				{ role: "model", parts: [{ text: "Ho" }] },
				{ role: "user", parts: [{ text: "Hey" }] },
			],
		}),
	},
	{
		name: "names of participants",
		ask: { messages: [{ ...user("Hi"), name: "Ann" }] },
		anthropic: refused("messages[0].name"),
		gemini: refused("messages[0].name"),
	},
	{
		name: "images as data URLs",
		ask: { messages: [user([{ type: "image_url", image_url: { url: PIXEL, detail: "low" } }])] },
		anthropic: claudeSays({ type: "image", source: { type: "base64", media_type: "image/png", data: PNG } }),
		gemini: geminiSays({ inlineData: { mimeType: "image/png", data: PNG } }),
	},
	{
		name: "images by https address (Gemini: fetched by the router)",
		ask: { messages: [user([{ type: "image_url", image_url: { url: "https://a.example/cat.png" } }])] },
		anthropic: claudeSays({ type: "image", source: { type: "url", url: "https://a.example/cat.png" } }),
		gemini: geminiSays({ inlineData: { mimeType: "image/webp", data: "ZmV0Y2hlZA==" } }),
	},
	{
		name: "images by http address",
		ask: { messages: [user([{ type: "image_url", image_url: { url: "http://a.example/cat.png" } }])] },
		anthropic: refused("messages[0].content[0].image_url.url"),
		gemini: refused("messages[0].content[0].image_url.url"),
	},
	{
		name: "PDFs as data URLs",
		ask: {
			messages: [
				user([{ type: "file", file: { filename: "a.pdf", file_data: `data:application/pdf;base64,${PDF}` } }]),
			],
		},
		anthropic: claudeSays({
			type: "document",
			source: { type: "base64", media_type: "application/pdf", data: PDF },
			title: "a.pdf",
		}),
		gemini: geminiSays({ inlineData: { mimeType: "application/pdf", data: PDF } }),
	},
	{
		name: "PDFs by https address",
		ask: { messages: [user([{ type: "file", file: { file_data: "https://a.example/a.pdf" } }])] },
		anthropic: claudeSays({ type: "document", source: { type: "url", url: "https://a.example/a.pdf" } }),
		gemini: geminiSays({ inlineData: { mimeType: "image/webp", data: "ZmV0Y2hlZA==" } }),
	},
	{
		name: "plain text files",
		ask: { messages: [user([{ type: "file", file: { file_data: "data:text/plain;base64,R3LDvMOfZQ==" } }])] },
		anthropic: claudeSays({ type: "document", source: { type: "text", media_type: "text/plain", data: "Grüße" } }),
		gemini: geminiSays({ inlineData: { mimeType: "text/plain", data: "R3LDvMOfZQ==" } }),
	},
	{
		name: "files that the vendor keeps (`file_id`)",
		ask: { messages: [user([{ type: "file", file: { file_id: "files/abc-1" } }])] },
		anthropic: claudeSays({ type: "document", source: { type: "file", file_id: "files/abc-1" } }),
		gemini: geminiSays({ fileData: { fileUri: "https://g.example/v1beta/files/abc-1" } }),
	},
	{
		name: "audio",
		ask: { messages: [user([{ type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }])] },
		anthropic: refused("messages[0].content[0].type"),
		gemini: geminiSays({ inlineData: { mimeType: "audio/wav", data: "AAAA" } }),
	},
	{
		name: "prompt-cache markers (`cache_control`; Gemini caches by itself)",
		ask: { messages: [user([{ ...text("Hi"), cache_control: { type: "ephemeral", ttl: "1h" } }])] },
		anthropic: claudeSays({ ...text("Hi"), cache_control: { type: "ephemeral", ttl: "1h" } }),
		gemini: geminiSays({ text: "Hi" }),
	},
	{
		name: "tools",
		ask: { tools },
		anthropic: sends({
			tools: [
				{ name: "look", description: "d", input_schema: parameters },
				{ name: "wait", description: "d", input_schema: parameters },
			],
		}),
		gemini: sends({
			tools: [
				{
					functionDeclarations: [
						{ name: "look", description: "d", parametersJsonSchema: parameters },
						{ name: "wait", description: "d", parametersJsonSchema: parameters },
					],
				},
			],
		}),
	},
	{
		name: "strict tools",
		ask: { tools: [fn("look", { strict: true })] },
		anthropic: sends({ tools: [{ name: "look", description: "d", input_schema: parameters, strict: true }] }),
		gemini: calling({ mode: "VALIDATED" }),
	},
	{
		name: "custom tools (grammars)",
		ask: { tools: [{ type: "custom", custom: { name: "sql" } }] },
		anthropic: refused("tools[0].type"),
		gemini: refused("tools[0].type"),
	},
	{
		name: "tool choice `auto`",
		ask: { tools, tool_choice: "auto" },
		anthropic: sends({ tool_choice: { type: "auto" } }),
		gemini: calling({ mode: "AUTO" }),
	},
	{
		name: "tool choice `none`",
		ask: { tools, tool_choice: "none" },
		anthropic: sends({ tool_choice: { type: "none" } }),
		gemini: calling({ mode: "NONE" }),
	},
	{
		name: "tool choice `required`",
		ask: { tools, tool_choice: "required" },
		anthropic: sends({ tool_choice: { type: "any" } }),
		gemini: calling({ mode: "ANY" }),
	},
	{
		name: "tool choice by name",
		ask: { tools, tool_choice: choose("wait") },
		anthropic: sends({ tool_choice: { type: "tool", name: "wait" } }),
		gemini: calling({ mode: "ANY", allowedFunctionNames: ["wait"] }),
	},
	{
		name: "allowed tools (Claude: the others are not sent)",
		ask: { tools, tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [choose("wait")] } } },
		anthropic: sends({
			tools: [{ name: "wait", description: "d", input_schema: parameters }],
			tool_choice: { type: "auto" },
		}),
		gemini: calling({ mode: "VALIDATED", allowedFunctionNames: ["wait"] }),
	},
	{
		name: "parallel tool calls off",
		ask: { tools, parallel_tool_calls: false },
		anthropic: sends({ tool_choice: { type: "auto", disable_parallel_tool_use: true } }),
		gemini: refused("parallel_tool_calls"),
	},
	{
		name: "tool calls in the history, several results in a turn",
		ask: { messages: loop, tools },
		anthropic: sends({
			messages: [
				{ role: "user", content: [text("Where?")] },
				{
					role: "assistant",
					content: [
						text("Let me look."),
						{ type: "tool_use", id: "call_1", name: "look", input: { at: "home" } },
						{ type: "tool_use", id: "call_2", name: "look", input: {} },
					],
				},
				{
					role: "user",
					content: [
						{ type: "tool_result", tool_use_id: "call_1", content: [text("no")] },
						{ type: "tool_result", tool_use_id: "call_2", content: [text('{"found":true}')] },
					],
				},
			],
		}),
		gemini: sends({
			contents: [
				{ role: "user", parts: [{ text: "Where?" }] },
				{
					role: "model",
					parts: [
						{ text: "Let me look." },
						{
							functionCall: { id: "call_1", name: "look", args: { at: "home" } },
							thoughtSignature: "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=",
						},
						{ functionCall: { id: "call_2", name: "look", args: {} } },
					],
				},
				{
					role: "user",
					parts: [
						{ functionResponse: { id: "call_1", name: "look", response: { output: "no" } } },
						{ functionResponse: { id: "call_2", name: "look", response: { found: true } } },
					],
				},
			],
		}),
	},
	{
		name: "images in tool results",
		ask: { messages: withImage },
		anthropic: sends({
			messages: [
				{ role: "user", content: [text("Show me.")] },
				{ role: "assistant", content: [{ type: "tool_use", id: "call_1", name: "look", input: { at: "home" } }] },
				{
					role: "user",
					content: [
						{
							type: "tool_result",
							tool_use_id: "call_1",
							content: [
								text("this"),
								{ type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
							],
						},
					],
				},
			],
		}),
		gemini: sends({
			contents: [
				{ role: "user", parts: [{ text: "Show me." }] },
				{ role: "model", parts: [{ functionCall: { id: "call_1", name: "look", args: { at: "home" } } }] },
				{
					role: "user",
					parts: [
						{
							functionResponse: {
								id: "call_1",
								name: "look",
								response: { output: "this" },
								parts: [{ inlineData: { mimeType: "image/png", data: PNG } }],
							},
						},
					],
				},
			],
		}),
	},
	{
		name: "JSON schema (Claude: what only restricts values goes into descriptions)",
		ask: { response_format: jsonSchema },
		anthropic: sends({
			output_config: {
				format: {
					type: "json_schema",
					schema: {
						type: "object",
						properties: { a: { type: "string", description: "{minLength: 2}" } },
						required: ["a"],
						additionalProperties: false,
					},
				},
			},
		}),
		gemini: config({ responseMimeType: "application/json", responseJsonSchema: schema }),
	},
	{
		name: "JSON schema with free-form objects",
		ask: {
			response_format: {
				type: "json_schema",
				json_schema: { name: "s", schema: { type: "object", additionalProperties: true } },
			},
		},
		anthropic: refused("response_format.json_schema.schema.additionalProperties"),
		gemini: config({ responseJsonSchema: { type: "object", additionalProperties: true } }),
	},
	{
		name: "JSON mode",
		ask: { response_format: { type: "json_object" } },
		anthropic: refused("response_format"),
		gemini: config({ responseMimeType: "application/json" }),
	},
	{
		name: "`max_tokens`, `max_completion_tokens`",
		ask: { max_tokens: 10, max_completion_tokens: 20 },
		anthropic: sends({ max_tokens: 20 }),
		gemini: config({ maxOutputTokens: 20 }),
	},
	{
		name: "stop sequences",
		ask: { stop: ["A", "B"] },
		anthropic: sends({ stop_sequences: ["A", "B"] }),
		gemini: config({ stopSequences: ["A", "B"] }),
	},
	{
		name: "`temperature`, `top_p`, `top_k` (Claude: up to 4.6, temperature 0 to 1)",
		ask: { temperature: 0.2, top_p: 0.9, top_k: 5 },
		models: { anthropic: "claude-sonnet-4-5" },
		anthropic: sends({ temperature: 0.2, top_p: 0.9, top_k: 5 }),
		gemini: config({ temperature: 0.2, topP: 0.9, topK: 5 }),
	},
	{
		name: "`temperature` above 1",
		ask: { temperature: 1.5 },
		models: { anthropic: "claude-sonnet-4-5" },
		anthropic: refused("temperature"),
		gemini: config({ temperature: 1.5 }),
	},
	{
		name: "`reasoning_effort`",
		ask: { reasoning_effort: "medium" },
		anthropic: sends({ thinking: { type: "adaptive", display: "summarized" }, output_config: { effort: "medium" } }),
		gemini: config({ thinkingConfig: { thinkingLevel: "MEDIUM", includeThoughts: true } }),
	},
	{
		name: "`user`, `safety_identifier` (Gemini has no word for it)",
		ask: { user: "u-1", safety_identifier: "s-1" },
		anthropic: sends({ metadata: { user_id: "s-1" } }),
		gemini: sends({}),
	},
	{ name: "`n`", ask: { n: 2 }, anthropic: refused("n"), gemini: config({ candidateCount: 2 }) },
	{ name: "`seed`", ask: { seed: 7 }, anthropic: refused("seed"), gemini: config({ seed: 7 }) },
	{
		name: "`logprobs`, `top_logprobs`",
		ask: { logprobs: true, top_logprobs: 3 },
		anthropic: refused("logprobs"),
		gemini: config({ responseLogprobs: true, logprobs: 3 }),
	},
	{
		name: "`frequency_penalty`, `presence_penalty`",
		ask: { frequency_penalty: 0.5, presence_penalty: -0.5 },
		anthropic: refused("frequency_penalty"),
		gemini: config({ frequencyPenalty: 0.5, presencePenalty: -0.5 }),
	},
	{
		name: "`logit_bias`",
		ask: { logit_bias: { "1": 5 } },
		anthropic: refused("logit_bias"),
		gemini: refused("logit_bias"),
	},
	{
		name: "`service_tier` (Claude: `auto`, `default`)",
		ask: { service_tier: "default" },
		anthropic: sends({ service_tier: "standard_only" }),
		gemini: sends({ serviceTier: "standard" }),
	},
	{ name: "`verbosity`", ask: { verbosity: "low" }, anthropic: refused("verbosity"), gemini: refused("verbosity") },
	{
		name: "audio out (`modalities`)",
		ask: { modalities: ["text", "audio"] },
		anthropic: refused("modalities"),
		gemini: refused("modalities"),
	},
	{
		name: "web search (`web_search_options`)",
		ask: { web_search_options: {} },
		anthropic: refused("web_search_options"),
		gemini: refused("web_search_options"),
	},
	{ name: "stored completions (`store`)", ask: { store: true }, anthropic: refused("store"), gemini: refused("store") },
	{
		name: "`functions`, `function_call` (replaced by tools)",
		ask: { functions: [{ name: "f" }] },
		anthropic: refused("functions"),
		gemini: refused("functions"),
	},
	{
		name: "fields of the vendor's own, under its name",
		ask: {
			anthropic: { speed: "fast" },
			gemini: { cachedContent: "cachedContents/1", generationConfig: { mediaResolution: "LOW" } },
		},
		anthropic: sends({ speed: "fast" }),
		gemini: sends({ cachedContent: "cachedContents/1", generationConfig: { mediaResolution: "LOW" } }),
	},
	{ name: "any other field", ask: { brand_new: 1 }, anthropic: refused("brand_new"), gemini: refused("brand_new") },
];
