/** Answers to conversations whose assistant has a name, which goes in front of its earlier words: no client is answered by "Bot: ". */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type OpenAI from "openai";
import type { Loose } from "./kit/exchange.ts";
import { openAiClient } from "./kit/openai-client.ts";
import { type StrictVendors, startStrictVendors } from "./kit/strict-vendors.ts";

let vendors: StrictVendors;
let client: OpenAI;
beforeAll(async () => {
	vendors = await startStrictVendors();
	client = openAiClient(vendors.router.url);
});
afterAll(() => vendors.stop());

const messages = [
	{ role: "user", content: "Hi", name: "Ann" },
	{ role: "assistant", content: "Ho", name: "Bot" },
	{ role: "user", content: "Hey", name: "Bob" },
];
const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }];

const VENDORS = {
	"claude-opus-4-7": (texts: string[], calls: boolean) =>
		vendors.claude.play([
			[
				...texts.map((text) => ({ type: "text", text })),
				...(calls ? [{ type: "tool_use", id: "toolu_1", name: "look", input: {} }] : []),
			],
		]),
	"gemini-3-flash": (texts: string[], calls: boolean) =>
		vendors.gemini.play([
			[
				...texts.map((text) => ({ text })),
				...(calls ? [{ functionCall: { id: "c1", name: "look", args: {} }, sign: true }] : []),
			],
		]),
} as const;

describe.each(Object.entries(VENDORS))("%s", (model, play) => {
	test.each([
		["with its name", ["Bot: Fine."], false, "Fine."],
		["with its name and nothing else", ["Bot: "], false, ""],
		["with half of it", ["Bo"], false, "Bo"],
		["with half of it, and a call", ["Bot:"], true, "Bot:"],
		["with another's", ["Ann: Fine."], false, "Ann: Fine."],
		["without one", ["Fine. ", "Bot: no."], false, "Fine. Bot: no."],
	])("that begins %s", async (_, texts, calls, content) => {
		const request = { model, messages, ...(calls ? { tools } : {}) } as never;
		play(texts, calls);
		const whole = (await client.chat.completions.create(request)) as unknown as Loose;
		play(texts, calls);
		const streamed = (await client.chat.completions.stream(request).finalChatCompletion()) as unknown as Loose;
		for (const { choices } of [whole, streamed]) {
			expect([choices[0].message.content ?? "", choices[0].message.tool_calls?.length ?? 0]).toEqual([
				content,
				calls ? 1 : 0,
			]);
		}
		const body = JSON.stringify([...vendors.claude.bodies, ...vendors.gemini.bodies].at(-1));
		for (const said of ["Ann: Hi", "Bot: Ho", "Bob: Hey"]) expect(body).toContain(said);
		expect(vendors.refusals()).toEqual([]);
	});
});
