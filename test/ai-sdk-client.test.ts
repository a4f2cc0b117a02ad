/** The AI SDK, unmodified but for its base URL: objects by schema, tools and streams, from models of several generations. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
	generateText,
	jsonSchema,
	type LanguageModel,
	type ModelMessage,
	Output,
	stepCountIs,
	streamText,
	tool,
} from "ai";
import { z } from "zod";
import { CLIENT_KEY } from "./kit/rig.ts";
import { THOUGHT } from "./kit/sample-replies.ts";
import { MODELS, type StrictVendors, startStrictVendors } from "./kit/strict-vendors.ts";

let vendors: StrictVendors;
beforeAll(async () => {
	vendors = await startStrictVendors();
});
afterAll(() => vendors.stop());

/** What the second one does unless it is told otherwise: it calls `/v1/responses`. */
const RESPONSES = "@ai-sdk/openai, its default";
/** It takes models that it does not know for such as don't think. Told that nothing is stored, it sends its history instead of references to it. */
const WHOLE_HISTORY = { forceReasoning: true, store: false };

/** Each of the SDK's packages for an API like OpenAI's. */
const PACKAGES: readonly [string, () => (model: string) => LanguageModel][] = [
	[
		"@ai-sdk/openai-compatible",
		() =>
			createOpenAICompatible({
				name: "router",
				baseURL: `${vendors.router.url}/v1`,
				apiKey: CLIENT_KEY,
				supportsStructuredOutputs: true,
				includeUsage: true,
			}),
	],
	["@ai-sdk/openai", () => createOpenAI({ baseURL: `${vendors.router.url}/v1`, apiKey: CLIENT_KEY }).chat],
	[RESPONSES, () => createOpenAI({ baseURL: `${vendors.router.url}/v1`, apiKey: CLIENT_KEY })],
];

const city = z.object({
	name: z.string(),
	people: z.number().int(),
	kind: z.enum(["city", "town"]),
	rivers: z.array(z.object({ name: z.string(), length: z.number().optional() })),
	mayor: z.string().nullable(),
});
const CITY = {
	name: "a name",
	people: 7,
	kind: "city",
	rivers: [{ name: "a name", length: 7 }],
	mayor: "a mayor",
} as const;
const prompt = "Describe a city with 7 people.";

describe.each(PACKAGES)("%s", (library, made) => {
	describe.each(MODELS)("%s", (name) => {
		const model = () => made()(name);
		// What the router sends, the vendor takes.
		afterEach(() => expect(vendors.refusals()).toEqual([]));

		test("gives an object by schema", async () => {
			const { output } = await generateText({ model: model(), output: Output.object({ schema: city }), prompt });
			expect(output).toEqual(CITY as never);
		});

		test("streams an object by schema, which grows", async () => {
			const { partialOutputStream, output } = streamText({
				model: model(),
				output: Output.object({ schema: city }),
				prompt,
			});
			const partial = await Array.fromAsync(partialOutputStream);
			expect(partial.at(-1)).toEqual(CITY as never);
			expect(await output).toEqual(CITY as never);
		});

		test("gives an array, a choice, and JSON without a schema", async () => {
			const array = Output.array({ element: z.object({ name: z.string() }) });
			expect((await generateText({ model: model(), output: array, prompt })).output).toEqual([{ name: "a name" }]);
			const choice = Output.choice({ options: ["yes", "no"] });
			expect((await generateText({ model: model(), output: choice, prompt })).output).toBe("yes");
			const json = await generateText({ model: model(), output: Output.json(), prompt: "JSON with 'a' and 'b'." });
			expect(json.output).toEqual({ a: "a a", b: "a b" });
		});

		test("gives an object with fields of any name", async () => {
			const schema = jsonSchema<{ tags: object }>({
				type: "object",
				properties: { tags: { type: "object", additionalProperties: { type: "string" } } },
				required: ["tags"],
			});
			const output = Output.object({ schema });
			const asked = { model: model(), output, prompt: "Tags 'a' and 'b'." };
			expect((await generateText(asked)).output).toEqual({ tags: { a: "a a", b: "a b" } });
		});

		test("runs a loop of tools, then answers", async () => {
			const asked: unknown[] = [];
			const weather = tool({
				description: "Weather of a city",
				inputSchema: z.object({ city: z.string(), days: z.number() }),
				execute: (input) => {
					asked.push(input);
					return { sky: "grey" };
				},
			});
			const { text, steps } = await generateText({
				model: model(),
				tools: { weather },
				stopWhen: stepCountIs(3),
				prompt: "The weather of 'Bern' for 3 days?",
			});
			expect(asked).toEqual([{ city: "Bern", days: 3 }]);
			expect(steps.length).toBe(2);
			expect(text).not.toBe("");
		});

		test("runs loops of tools while it thinks", async () => {
			const weather = tool({ inputSchema: z.object({ city: z.string() }), execute: ({ city }) => `Grey in ${city}.` });
			const openai = { reasoningEffort: "low", ...(library === RESPONSES ? WHOLE_HISTORY : {}) };
			const providerOptions = { router: { reasoningEffort: "low" }, openai };
			const messages: ModelMessage[] = [];
			for (const city of ["Bern", "Rome"]) {
				messages.push({ role: "user", content: `The weather of '${city}'?` });
				const asked = { model: model(), tools: { weather }, stopWhen: stepCountIs(3), messages, providerOptions };
				const { steps, text, response } = await generateText(asked);
				expect([steps.length, text === ""]).toEqual([2, false]);
				messages.push(...response.messages);
				// The other one reads no thoughts of chats.
				const thoughts = library === "@ai-sdk/openai" ? undefined : THOUGHT;
				expect(steps.map(({ reasoningText }) => reasoningText)).toEqual([thoughts, thoughts]);
			}
		});

		test("runs a loop of tools that ends with an object by schema", async () => {
			const weather = tool({
				inputSchema: z.object({ city: z.string() }),
				execute: () => ({ sky: "grey" }),
			});
			const { output, steps } = await generateText({
				model: model(),
				tools: { weather },
				output: Output.object({ schema: z.object({ city: z.string(), degrees: z.number() }) }),
				stopWhen: stepCountIs(4),
				prompt: "The weather of 'Bern', in degrees: 7?",
			});
			expect(steps.flatMap(({ toolCalls }) => toolCalls.map(({ toolName }) => toolName))).toEqual(["weather"]);
			expect(output).toEqual({ city: "Bern", degrees: 7 });
		});

		test("answers behind its own earlier words and several system messages", async () => {
			const { text, usage } = await generateText({
				model: model(),
				system: "Be brief.",
				messages: [
					{ role: "user", content: "hello" },
					{ role: "assistant", content: "Hello." },
					{ role: "user", content: [{ type: "text", text: "And now?" }] },
				],
			});
			expect(text).not.toBe("");
			expect(usage.totalTokens).toBeGreaterThan(0);
		});
	});
});

describe("of what a model says beside its text", () => {
	const [, [, openAi]] = PACKAGES as [unknown, (typeof PACKAGES)[number]];
	const [[, compatible]] = PACKAGES as [(typeof PACKAGES)[number]];
	const page = { type: "web_search_result_location", cited_text: "Rain.", url: "https://rain.example/", title: "Rain" };
	const cited = [{ type: "text", text: "It rains.", citations: [page] }];
	const thought = [
		{ type: "thinking", thinking: "Hm." },
		{ type: "text", text: "It rains." },
	];
	afterEach(() => vendors.claude.play([]));

	test("the SDK takes citations for sources", async () => {
		vendors.claude.play([cited, cited]);
		const source = { type: "source", sourceType: "url", url: "https://rain.example/", title: "Rain" };
		const { text, sources } = await generateText({ model: openAi()("claude-opus-4-6"), prompt });
		expect(text).toBe("It rains.");
		expect(sources).toEqual([expect.objectContaining(source)]);
		const live = streamText({ model: openAi()("claude-opus-4-6"), prompt });
		expect(await live.text).toBe("It rains.");
		expect(await live.sources).toEqual([expect.objectContaining(source)]);
	});

	test("the SDK takes thoughts for thoughts, once", async () => {
		vendors.claude.play([thought, thought]);
		const providerOptions = { router: { reasoningEffort: "low" } };
		const { text, reasoningText } = await generateText({
			model: compatible()("claude-opus-4-6"),
			prompt,
			providerOptions,
		});
		expect([text, reasoningText]).toEqual(["It rains.", "Hm."]);
		const live = streamText({ model: compatible()("claude-opus-4-6"), prompt, providerOptions });
		expect([await live.text, await live.reasoningText]).toEqual(["It rains.", "Hm."]);
	});
});

describe("the SDK's default, which refers to what it was answered", () => {
	afterEach(() => expect(vendors.refusals()).toEqual([]));
	test.each(MODELS)("%s: several turns with loops of tools, whole and streamed, thoughts included", async (name) => {
		const model = createOpenAI({ baseURL: `${vendors.router.url}/v1`, apiKey: CLIENT_KEY })(name);
		const weather = tool({ inputSchema: z.object({ city: z.string() }), execute: ({ city }) => `Grey in ${city}.` });
		const providerOptions = { openai: { reasoningEffort: "low", forceReasoning: true } };
		const messages: ModelMessage[] = [];
		for (const [at, city] of ["Bern", "Rome", "Oslo"].entries()) {
			messages.push({ role: "user", content: `The weather of '${city}'?` });
			const asked = { model, tools: { weather }, stopWhen: stepCountIs(3), messages, providerOptions };
			const result = at === 1 ? streamText(asked) : await generateText(asked);
			const [steps, text] = await Promise.all([result.steps, result.text]);
			expect([steps.length, text === ""]).toEqual([2, false]);
			expect(steps.map(({ reasoningText }) => reasoningText)).toEqual([THOUGHT, THOUGHT]);
			// Of each step: a history that lacks one is another conversation.
			for (const { response } of steps) messages.push(...response.messages);
		}
	});
});
