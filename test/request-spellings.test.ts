/**
 * Requests of every wire, written in other ways that JSON allows: with escapes, blanks, and names that stand twice. What is read of the bytes is what is read
 * of the plain text; of two fields of one name the last counts, as for JSON.parse, or the request is refused.
 */
import { describe, expect, test } from "bun:test";
import { anthropicMessages } from "../src/dialects/anthropic-messages/messages-dialect.ts";
import type { Dialect } from "../src/dialects/dialect.ts";
import { askedMethod } from "../src/dialects/gemini/asked-method.ts";
import { geminiFor } from "../src/dialects/gemini/gemini-dialect.ts";
import { ollamaChat } from "../src/dialects/ollama/ollama-dialect.ts";
import { openAiChat } from "../src/dialects/openai-chat.ts";
import { openAiResponses } from "../src/dialects/openai-responses/index.ts";
import { RouterError } from "../src/errors.ts";
import type { Json } from "./kit/exchange.ts";
import { type Random, random } from "./kit/random.ts";
import { settingsOf } from "./kit/request-settings.ts";

const parameters = { type: "object", properties: { q: { type: "string" } } };
const picture = "data:image/png;base64,AAAA";
const cached = { cache_control: { type: "ephemeral", ttl: "1h" } };

/** Requests by their wire. */
const REQUESTS: readonly (readonly [name: string, dialect: Dialect, bodies: readonly Json[]])[] = [
	[
		"chat",
		openAiChat,
		[
			{ model: "m", messages: [{ role: "user", content: "hi" }], max_tokens: 5, stream: true, user: "u" },
			{ model: "m", messages: [{ role: "user", content: [{ type: "text", text: "hi", ...cached }] }], n: 2 },
			{
				...{ model: "m", stream_options: { include_usage: true }, reasoning_effort: "low", temperature: 0 },
				messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: picture } }] }],
				tools: [{ type: "function", function: { name: "f", parameters } }, { type: "openrouter:advisor" }],
			},
			{ model: "m", messages: [{ role: "user", content: "hi" }], extra_body: { inner: { fallbacks: ["a"] } } },
			{ model: "m", messages: [{ role: "user", content: "hi" }], models: ["a", "b"], web_search_options: {} },
		],
	],
	[
		"messages",
		anthropicMessages,
		[
			{ model: "m", max_tokens: 5, messages: [{ role: "user", content: "hi" }], metadata: { user_id: "u" } },
			{ model: "m", max_tokens: 9, messages: [{ role: "user", content: [{ type: "text", text: "hi", ...cached }] }] },
			{
				...{ model: "m", max_tokens: 2048, thinking: { type: "enabled", budget_tokens: 1024 }, stream: true },
				messages: [{ role: "user", content: "hi" }],
				tools: [
					{ name: "f", input_schema: parameters },
					{ type: "web_search_20250305", name: "web_search" },
				],
			},
		],
	],
	[
		"responses",
		openAiResponses,
		[
			{ model: "m", input: "hi", max_output_tokens: 5, stream: true, safety_identifier: "u" },
			{ model: "m", input: [{ role: "user", content: [{ type: "input_text", text: "hi" }] }], ...cached },
			{
				...{ model: "m", reasoning: { effort: "high" }, store: false },
				input: [
					{ role: "developer", content: "Be brief." },
					{ role: "user", content: [{ type: "input_image", image_url: picture, detail: "low" }] },
					{ type: "function_call", call_id: "a", name: "f", arguments: "{}", status: "completed" },
					{ type: "function_call_output", call_id: "a", output: "1" },
				],
				tools: [
					{ type: "function", name: "f", parameters },
					{ type: "mcp", server_label: "s" },
				],
			},
			{ model: "m", input: "hi", plugins: [{ id: "web" }], metadata: { models: "a" } },
		],
	],
	[
		"gemini",
		geminiFor(askedMethod("http://localhost/v1beta/models/m:generateContent")),
		[
			{ contents: [{ role: "user", parts: [{ text: "hi" }] }], generationConfig: { maxOutputTokens: 5 } },
			{
				contents: [{ role: "user", parts: [{ inlineData: { mimeType: "image/png", data: "AAAA" } }] }],
				generationConfig: { thinkingConfig: { thinkingBudget: 0 }, candidateCount: 2, temperature: 0 },
				tools: [{ functionDeclarations: [{ name: "f", parameters }] }, { googleSearch: {} }],
			},
		],
	],
	[
		"ollama",
		ollamaChat,
		[
			{ model: "m", messages: [{ role: "user", content: "hi" }], options: { num_predict: 5, temperature: 0 } },
			{ model: "m", messages: [{ role: "user", content: "hi", images: ["AAAA"] }], think: true, stream: false },
		],
	],
];

/** How a value is written in another way. */
class Speller {
	constructor(
		private readonly at: Random,
		private readonly repeats: boolean,
	) {}

	value(value: unknown): string {
		const space = this.at.pick(["", "", " ", "\n\t"]);
		return space + this.#bare(value) + space;
	}

	#bare(value: unknown): string {
		if (typeof value === "string") return this.#text(value);
		if (Array.isArray(value)) return `[${value.map((item) => this.value(item)).join(",")}]`;
		if (typeof value !== "object" || value === null) return JSON.stringify(value);
		const fields = Object.entries(value).flatMap(([name, inner]) => {
			const field = `${this.#text(name)}:${this.value(inner)}`;
			const other = this.at.pick([null, "x", 1, true, [], {}, "1h", { models: ["b"] }]);
			return this.repeats && this.at.below(12) === 0 ? [`${this.#text(name)}:${this.value(other)}`, field] : [field];
		});
		return `{${fields.join(",")}}`;
	}

	/** Some of its letters as code points. */
	#text(text: string): string {
		if (this.at.below(3) > 0) return JSON.stringify(text);
		const letters = [...text].map((letter) => {
			const code = letter.charCodeAt(0).toString(16).padStart(4, "0");
			return this.at.below(4) === 0
				? `\\u${this.at.below(2) === 0 ? code : code.toUpperCase()}`
				: JSON.stringify(letter).slice(1, -1);
		});
		return `"${letters.join("")}"`;
	}
}

/** What is read of a request; the code of its refusal. */
function told(dialect: Dialect, json: string) {
	try {
		const { facts, stream } = dialect.parse("chat", Buffer.from(json));
		const { images, hasTools, hasSchema } = facts.promptContent();
		return {
			settings: settingsOf({ facts, stream }),
			looks: [facts.usesLiveData(), facts.isReasoning("gpt-4o"), images, hasTools, hasSchema],
			hour: facts.cachesForHour(),
			routing: facts.routingField(),
			media: facts.promptSizes().media,
			canonical: facts.canonical(new Set()).toString(),
		};
	} catch (thrown) {
		if (thrown instanceof RouterError) return thrown.errorCode;
		throw thrown;
	}
}

describe.each(REQUESTS)("%s", (_, dialect, bodies) => {
	test("escapes and blanks change nothing of what is read", () => {
		const at = random(3);
		for (const body of bodies) {
			const plain = told(dialect, JSON.stringify(body));
			expect(typeof plain).toBe("object");
			for (let round = 0; round < 60; round++) {
				const json = new Speller(at, false).value(body);
				expect([json, told(dialect, json)]).toEqual([json, plain]);
			}
		}
	});

	test("a name that stands twice hides nothing: the last one counts, or it is refused", () => {
		const at = random(5);
		let taken = 0;
		let refused = 0;
		for (const body of bodies) {
			const plain = told(dialect, JSON.stringify(body));
			if (typeof plain === "string") throw new Error(plain);
			for (let round = 0; round < 200; round++) {
				const json = new Speller(at, true).value(body);
				const read = told(dialect, json);
				if (typeof read === "string") {
					expect([json, read]).toEqual([json, "duplicate_key"]);
					refused++;
					continue;
				}
				taken++;
				const { settings, looks } = read;
				expect([json, settings, looks]).toEqual([json, plain.settings, plain.looks]);
				// What may ask for more, or for others, is taken to do so.
				if (plain.hour) expect([json, read.hour]).toEqual([json, true]);
				if (plain.routing !== undefined) expect([json, typeof read.routing]).toEqual([json, "string"]);
			}
		}
		expect(taken).toBeGreaterThan(20);
		expect(refused).toBeGreaterThan(20);
	});
});

test.each(['"1h"', '"\\u0031h"', '"1\\u0068"', '"\\u0031\\u0068"'])(
	"a prompt that is kept for an hour, %s, is found in every wire that has one",
	(hour) => {
		const at = (dialect: Dialect, body: Json) => {
			const json = JSON.stringify({ ...body, cache_control: { type: "ephemeral", ttl: "1h" } }).replace(
				'"1h"',
				() => hour,
			);
			return dialect.parse("chat", Buffer.from(json)).facts.cachesForHour();
		};
		const messages = [{ role: "user", content: "hi" }];
		expect(at(openAiChat, { model: "m", messages })).toBe(true);
		expect(at(anthropicMessages, { model: "m", max_tokens: 5, messages })).toBe(true);
		expect(at(openAiResponses, { model: "m", input: "hi" })).toBe(true);
	},
);
