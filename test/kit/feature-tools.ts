/** What can be asked of tools, and what becomes of it at each vendor that is translated. */
import type { Json } from "./exchange.ts";
import { type Feature, type Outcome, refused, sends, text, user } from "./feature.ts";
import { PIXEL } from "./scenarios.ts";

const calling = (functionCallingConfig: Json): Outcome => sends({ toolConfig: { functionCallingConfig } });
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

/** In the order of claude-and-gemini.md. */
export const TOOLS: readonly Feature[] = [
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
		name: "parallel tool calls off (Gemini: of several calls the first is kept)",
		ask: { tools, parallel_tool_calls: false },
		anthropic: sends({ tool_choice: { type: "auto", disable_parallel_tool_use: true } }),
		gemini: sends({}),
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
];
