/** Ollama's official client, unmodified but for where it calls and with which key; and what each scenario is in its words. */
import { type ChatRequest, Ollama } from "ollama";
import type { Json } from "./exchange.ts";
import { CLIENT_KEY } from "./rig.ts";
import { PIXEL, type ScenarioName } from "./scenarios.ts";

/** A client of the router at `url`. */
export const ollamaClient = (url: string, key = CLIENT_KEY): Ollama =>
	new Ollama({ host: url, headers: { authorization: `Bearer ${key}` } });

const user = (content: string, more: Json = {}) => ({ role: "user", content, ...more });
const tool = (name: string, parameter: string) => ({
	type: "function",
	function: {
		name,
		description: `Tells the ${name}.`,
		parameters: { type: "object", properties: { [parameter]: { type: "string" } }, required: [parameter] },
	},
});

/** By name: the same questions as in `scenarios.ts`. */
const ASKS: Readonly<Record<ScenarioName, Json>> = {
	text: {
		messages: [{ role: "system", content: "Answer in one line." }, user("Grüße! 你好 🙂")],
		options: { temperature: 0.2, num_ctx: 8192 },
	},
	"cut at the token limit": { messages: [user("Count to a hundred.")], options: { num_predict: 4 } },
	tools: { messages: [user("Weather in Bern?")], tools: [tool("weather", "city")] },
	"parallel tools": {
		messages: [user("Weather and time in Bern?")],
		tools: [tool("weather", "city"), tool("time", "city")],
	},
	"tool results": {
		messages: [
			user("Weather in Bern?"),
			{
				role: "assistant",
				content: "",
				tool_calls: [{ function: { name: "weather", arguments: { city: "Bern" } } }],
			},
			{ role: "tool", tool_name: "weather", content: '{"celsius": 12345678901234567890}' },
		],
		tools: [tool("weather", "city")],
	},
	"JSON schema": {
		messages: [user("A city of Switzerland.")],
		format: {
			type: "object",
			properties: { name: { type: "string" }, people: { type: "integer" } },
			required: ["name", "people"],
			additionalProperties: false,
		},
	},
	image: { messages: [user("What colour?", { images: [PIXEL.slice(PIXEL.indexOf(",") + 1)] })] },
	reasoning: { messages: [user("17 × 3?")], think: "low" },
	refusal: { messages: [user("Something forbidden.")] },
};

/** A scenario as the client's request. */
export const askedChat = (model: string, name: ScenarioName): ChatRequest =>
	({ model, ...structuredClone(ASKS[name]) }) as unknown as ChatRequest;
