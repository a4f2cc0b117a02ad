/** What a model is asked and what it says, before any upstream's dialect: `fixtures.ts` turns these into exchanges. */
import type { Json } from "./exchange.ts";

/** One call of a function. */
export interface ToolCall {
	readonly id: string;
	readonly name: string;
	/** JSON text, as models send it. */
	readonly arguments: string;
}

/** The answer's message. */
export interface Said {
	readonly content: string | null;
	readonly reasoning?: string;
	readonly toolCalls?: readonly ToolCall[];
	readonly refusal?: string;
	readonly finish: "stop" | "length" | "tool_calls" | "content_filter";
}

/** A question and its answer. */
export interface Scenario {
	/** Fields of the request besides `model` and `stream`. */
	readonly ask: Json & { messages: unknown[] };
	readonly said: Said;
}

/** A 1×1 PNG. */
export const PIXEL =
	"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const tool = (name: string, parameter: string) => ({
	type: "function",
	function: {
		name,
		description: `Tells the ${name}.`,
		parameters: {
			type: "object",
			properties: { [parameter]: { type: "string" } },
			required: [parameter],
			additionalProperties: false,
		},
	},
});

const user = (content: unknown) => ({ role: "user", content });

/** By name. */
export const SCENARIOS = {
	text: {
		ask: { messages: [{ role: "system", content: "Answer in one line." }, user("Grüße! 你好 🙂")], temperature: 0.2 },
		said: { content: "Grüße zurück, 你好 🙂 — in one line.", finish: "stop" },
	},
	"cut at the token limit": {
		ask: { messages: [user("Count to a hundred.")], max_completion_tokens: 4 },
		said: { content: "one two three", finish: "length" },
	},
	tools: {
		ask: { messages: [user("Weather in Bern?")], tools: [tool("weather", "city")], tool_choice: "auto" },
		said: {
			content: null,
			toolCalls: [{ id: "call_a", name: "weather", arguments: '{"city":"Bern"}' }],
			finish: "tool_calls",
		},
	},
	"parallel tools": {
		ask: {
			messages: [user("Weather and time in Bern?")],
			tools: [tool("weather", "city"), tool("time", "city")],
			parallel_tool_calls: true,
		},
		said: {
			content: null,
			toolCalls: [
				{ id: "call_a", name: "weather", arguments: '{"city":"Bern"}' },
				{ id: "call_b", name: "time", arguments: '{"city": "Bern, \\"old\\" town"}' },
			],
			finish: "tool_calls",
		},
	},
	"tool results": {
		ask: {
			messages: [
				user("Weather in Bern?"),
				{
					role: "assistant",
					content: null,
					tool_calls: [{ id: "call_a", type: "function", function: { name: "weather", arguments: '{"city":"Bern"}' } }],
				},
				{ role: "tool", tool_call_id: "call_a", content: '{"celsius": 12345678901234567890}' },
			],
			tools: [tool("weather", "city")],
		},
		said: { content: "Hot.", finish: "stop" },
	},
	"JSON schema": {
		ask: {
			messages: [user("A city of Switzerland.")],
			response_format: {
				type: "json_schema",
				json_schema: {
					name: "city",
					strict: true,
					schema: {
						type: "object",
						properties: { name: { type: "string" }, people: { type: "integer" } },
						required: ["name", "people"],
						additionalProperties: false,
					},
				},
			},
		},
		said: { content: '{"name":"Bern","people":134000}', finish: "stop" },
	},
	image: {
		ask: {
			messages: [
				user([
					{ type: "text", text: "What colour?" },
					{ type: "image_url", image_url: { url: PIXEL, detail: "low" } },
				]),
			],
		},
		said: { content: "Red.", finish: "stop" },
	},
	reasoning: {
		ask: { messages: [user("17 × 3?")], reasoning_effort: "low" },
		said: { content: "51", reasoning: "17 × 3 = 30 + 21 = 51.", finish: "stop" },
	},
	refusal: {
		ask: { messages: [user("Something forbidden.")] },
		said: { content: null, refusal: "I can't help with that.", finish: "stop" },
	},
} as const satisfies Record<string, Scenario>;

/** A row's name. */
export type ScenarioName = keyof typeof SCENARIOS;
/** All of them. */
export const SCENARIO_NAMES = Object.keys(SCENARIOS) as ScenarioName[];
/** A row, typed alike for all. */
export const scenario = (name: ScenarioName): Scenario => SCENARIOS[name];
