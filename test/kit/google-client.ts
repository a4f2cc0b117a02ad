/** Google's official client, unmodified but for where it calls and with which key; and what each scenario is in its words. */
import { type GenerateContentParameters, GoogleGenAI } from "@google/genai";
import type { Json } from "./exchange.ts";
import { CLIENT_KEY } from "./rig.ts";
import { PIXEL, type ScenarioName } from "./scenarios.ts";

/** A client of the router at `url`. */
export const googleClient = (url: string, apiKey = CLIENT_KEY): GoogleGenAI =>
	new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } });

const user = (...parts: readonly Json[]) => ({ role: "user", parts });
const tool = (name: string, parameter: string) => ({
	name,
	description: `Tells the ${name}.`,
	parametersJsonSchema: {
		type: "object",
		properties: { [parameter]: { type: "string" } },
		required: [parameter],
		additionalProperties: false,
	},
});
const tools = (...functions: readonly Json[]) => [{ functionDeclarations: functions }];

/** By name: the same questions as in `scenarios.ts`. */
const ASKS: Readonly<Record<ScenarioName, Json>> = {
	text: { contents: "Grüße! 你好 🙂", config: { systemInstruction: "Answer in one line.", temperature: 0.2 } },
	"cut at the token limit": { contents: "Count to a hundred.", config: { maxOutputTokens: 4 } },
	tools: { contents: "Weather in Bern?", config: { tools: tools(tool("weather", "city")) } },
	"parallel tools": {
		contents: "Weather and time in Bern?",
		config: { tools: tools(tool("weather", "city"), tool("time", "city")) },
	},
	"tool results": {
		contents: [
			user({ text: "Weather in Bern?" }),
			{ role: "model", parts: [{ functionCall: { id: "call_a", name: "weather", args: { city: "Bern" } } }] },
			user({ functionResponse: { id: "call_a", name: "weather", response: { celsius: 31 } } }),
		],
		config: { tools: tools(tool("weather", "city")) },
	},
	"JSON schema": {
		contents: "A city of Switzerland.",
		config: {
			responseMimeType: "application/json",
			responseSchema: {
				type: "OBJECT",
				properties: { name: { type: "STRING" }, people: { type: "INTEGER" } },
				required: ["name", "people"],
			},
		},
	},
	image: {
		contents: [
			user(
				{ text: "What colour?" },
				{ inlineData: { mimeType: "image/png", data: PIXEL.slice(PIXEL.indexOf(",") + 1) } },
			),
		],
	},
	reasoning: { contents: "17 × 3?", config: { thinkingConfig: { includeThoughts: true, thinkingLevel: "LOW" } } },
	refusal: { contents: "Something forbidden." },
};

/** A scenario as the client's parameters. */
export const askedContents = (model: string, name: ScenarioName): GenerateContentParameters =>
	({ model, ...ASKS[name] }) as unknown as GenerateContentParameters;
