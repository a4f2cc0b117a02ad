/** Anthropic's official client, unmodified but for where it calls and with which key; and what each scenario is in its words. */
import Anthropic from "@anthropic-ai/sdk";
import type { Json } from "./exchange.ts";
import { CLIENT_KEY } from "./rig.ts";
import { PIXEL, type ScenarioName } from "./scenarios.ts";

/** A client of the router at `url`. It does not retry, so that a test sees the first answer. */
export const anthropicClient = (url: string): Anthropic =>
	new Anthropic({ baseURL: url, apiKey: CLIENT_KEY, maxRetries: 0 });

/** What the client asks with. */
export type AskedParams = Anthropic.MessageCreateParamsNonStreaming;

const user = (content: unknown) => ({ role: "user", content });
const tool = (name: string, parameter: string) => ({
	name,
	description: `Tells the ${name}.`,
	input_schema: {
		type: "object",
		properties: { [parameter]: { type: "string" } },
		required: [parameter],
		additionalProperties: false,
	},
});

/** By name: the same questions as in `scenarios.ts`. */
const ASKS: Readonly<Record<ScenarioName, Json>> = {
	text: { system: "Answer in one line.", messages: [user("Grüße! 你好 🙂")] },
	"cut at the token limit": { max_tokens: 4, messages: [user("Count to a hundred.")] },
	tools: { messages: [user("Weather in Bern?")], tools: [tool("weather", "city")], tool_choice: { type: "auto" } },
	"parallel tools": {
		messages: [user("Weather and time in Bern?")],
		tools: [tool("weather", "city"), tool("time", "city")],
	},
	"tool results": {
		messages: [
			user("Weather in Bern?"),
			{ role: "assistant", content: [{ type: "tool_use", id: "call_a", name: "weather", input: { city: "Bern" } }] },
			user([{ type: "tool_result", tool_use_id: "call_a", content: '{"celsius": 12345678901234567890}' }]),
		],
		tools: [tool("weather", "city")],
	},
	"JSON schema": {
		messages: [user("A city of Switzerland.")],
		output_config: {
			format: {
				type: "json_schema",
				schema: {
					type: "object",
					properties: { name: { type: "string" }, people: { type: "integer" } },
					required: ["name", "people"],
					additionalProperties: false,
				},
			},
		},
	},
	image: {
		messages: [
			user([
				{ type: "text", text: "What colour?" },
				{
					type: "image",
					source: { type: "base64", media_type: "image/png", data: PIXEL.slice(PIXEL.indexOf(",") + 1) },
				},
			]),
		],
	},
	reasoning: { messages: [user("17 × 3?")], output_config: { effort: "low" } },
	refusal: { messages: [user("Something forbidden.")] },
};

/** A scenario as the client's parameters. */
export const askedParams = (model: string, name: ScenarioName): AskedParams =>
	({ model, max_tokens: 1024, ...ASKS[name] }) as unknown as AskedParams;
