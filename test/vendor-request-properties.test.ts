/** Of all requests to Anthropic and Gemini: nothing is lost or made up, and what is refused is named. */
import { describe, expect, test } from "bun:test";
import { parseRequest } from "../src/dialects/openai-chat.ts";
import { RouterError } from "../src/errors.ts";
import type { RequestBody } from "../src/openai/request-fields.ts";
import { messagesRequest } from "../src/providers/anthropic/request.ts";
import { generateRequest } from "../src/providers/gemini/request.ts";
import { NO_INPUTS } from "../src/providers/provider.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { random } from "./kit/random.ts";
import { randomChat } from "./kit/random-chat.ts";

const CLAUDES = [
	"claude-opus-4-7",
	"claude-sonnet-4-5",
	"claude-opus-4-6",
	"claude-haiku-5-5",
	"claude-3-7-sonnet-20250219",
];
const GEMINIS = ["gemini-3-flash-preview", "gemini-2.5-flash", "gemini-flash-latest"];

/** Whether a path such as `messages[0].content[1].type` leads to something in the request. */
function leads(path: string, body: unknown): boolean {
	let at: unknown = body;
	for (const step of path.match(/[^.[\]]+/g) ?? []) {
		if (typeof at !== "object" || at === null || !(step in at)) return false;
		at = (at as Json)[step];
	}
	return true;
}

/** How often each mark stands in the text. */
const counts = (text: string, marks: readonly string[]) => marks.map((mark) => text.split(mark).length - 1);

describe.each([
	["Anthropic", CLAUDES, (body: RequestBody, model: string) => messagesRequest(body, model, false, NO_INPUTS).body],
	[
		"Gemini",
		GEMINIS,
		(body: RequestBody, model: string) => generateRequest(body, model, "https://g/v1beta", NO_INPUTS),
	],
] as const)("a request to %s", (_, models, encode) => {
	test("goes whole, in its order, or is refused with the name of a field that it has", () => {
		let refused = 0;
		const params = new Set<string>();
		const rounds = 1500;
		for (let seed = 0; seed < rounds; seed++) {
			const rng = random(seed);
			const { body, marks, toolMarks, fileMarks } = randomChat(rng);
			const parsed = parseRequest("chat", JSON.stringify(body)).body().value;
			let text: string;
			try {
				text = encode(parsed, rng.pick(models));
			} catch (error) {
				if (!(error instanceof RouterError)) throw error;
				expect(["unsupported_parameter", "invalid_value"]).toContain(error.errorCode);
				const { param, message } = error.body.error;
				expect([seed, param, leads(param!, body)]).toEqual([seed, param, true]);
				expect(message).toContain(`"${param}"`);
				params.add(param!.replace(/\d+/g, "#"));
				refused++;
				continue;
			}
			const sent = JSON.parse(text) as Loose;
			const conversation = JSON.stringify([
				sent["system"] ?? sent["systemInstruction"],
				sent["messages"] ?? sent["contents"],
			]);
			expect([seed, counts(conversation, marks)]).toEqual([seed, marks.map(() => 1)]);
			expect([seed, counts(conversation, fileMarks)]).toEqual([seed, fileMarks.map(() => 1)]);
			const order = marks.toSorted((a, b) => conversation.indexOf(a) - conversation.indexOf(b));
			expect([seed, order.join()]).toEqual([seed, marks.join()]);
			const isChosen = Array.isArray((body["tool_choice"] as Loose | undefined)?.["allowed_tools"]?.tools);
			if (!isChosen)
				expect([seed, counts(JSON.stringify(sent["tools"] ?? ""), toolMarks)]).toEqual([seed, toolMarks.map(() => 1)]);
			if (marks.some((mark) => text.includes(`"at": "${mark}"`))) expect(text).toContain("12345678901234567890");
			for (const value of [body["temperature"], body["max_completion_tokens"] ?? body["max_tokens"], body["seed"]]) {
				if (typeof value === "number" && value !== 1) expect([seed, text.includes(`:${value}`)]).toEqual([seed, true]);
			}
		}
		expect(refused).toBeGreaterThan(rounds / 10);
		expect(refused).toBeLessThan((rounds * 9) / 10);
		expect(params.size).toBeGreaterThan(8);
	});
});
