/** What a request can say of the answer's form and making, and what becomes of it at each vendor that is translated. */
import { expect } from "bun:test";
import { config, type Feature, refused, sends } from "./feature.ts";

const schema = { type: "object", properties: { a: { type: "string", minLength: 2 } }, required: ["a"] };
const jsonSchema = { type: "json_schema", json_schema: { name: "s", strict: true, schema } };

/** In the order of claude-and-gemini.md. */
export const SETTINGS: readonly Feature[] = [
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
		anthropic: sends({
			tools: [
				{
					name: "json_answer",
					description: "Takes your answer: its input is what the user gets.",
					input_schema: { type: "object", additionalProperties: true },
				},
			],
			tool_choice: { type: "tool", name: "json_answer", disable_parallel_tool_use: true },
		}),
		gemini: config({ responseJsonSchema: { type: "object", additionalProperties: true } }),
	},
	{
		name: "JSON mode",
		ask: { response_format: { type: "json_object" } },
		anthropic: sends({ system: [{ type: "text", text: expect.stringContaining("one JSON object") }] }),
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
	{
		name: "`n` (Gemini: before 3)",
		ask: { n: 2 },
		models: { gemini: "gemini-2.5-flash" },
		anthropic: refused("n"),
		gemini: config({ candidateCount: 2 }),
	},
	{ name: "`seed`", ask: { seed: 7 }, anthropic: refused("seed"), gemini: config({ seed: 7 }) },
	{
		name: "`logprobs`, `top_logprobs`",
		ask: { logprobs: true, top_logprobs: 3 },
		anthropic: refused("logprobs"),
		gemini: config({ responseLogprobs: true, logprobs: 3 }),
	},
	{
		name: "`frequency_penalty`, `presence_penalty` (Gemini: before 2.5)",
		ask: { frequency_penalty: 0.5, presence_penalty: -0.5 },
		models: { gemini: "gemini-2.0-flash" },
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
