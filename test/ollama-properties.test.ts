/** Of Ollama's API, whatever comes: a request is refused by name or becomes a call, and whatever an upstream then says becomes lines that say the same. */
import { expect, test } from "bun:test";
import type { Dialect } from "../src/dialects/dialect.ts";
import { ollamaChat, ollamaEmbed, ollamaEmbeddings, ollamaGenerate } from "../src/dialects/ollama/ollama-dialect.ts";
import { RouterError } from "../src/errors.ts";
import { replayEvents } from "../src/openai/answer-forms.ts";
import type { Operation } from "../src/openai/operations.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { type Random, random } from "./kit/random.ts";
import { valueText } from "./kit/random-json.ts";

const COMMON: Json = {
	model: "m",
	stream: true,
	format: { type: "object", properties: { a: { type: "string" } } },
	think: "low",
	keep_alive: "5m",
	options: { num_predict: 9, temperature: 1, top_k: 3, stop: ["x"], seed: 3, num_ctx: 9, repeat_penalty: 1.1 },
	logprobs: true,
	top_logprobs: 2,
};
const CHAT: Json = {
	...COMMON,
	messages: [
		{ role: "system", content: "Be brief." },
		{ role: "user", content: "hi", images: ["/9j/4AAQ"] },
		{ role: "assistant", thinking: "Hm.", tool_calls: [{ id: "a", function: { name: "f", arguments: { x: 1 } } }] },
		{ role: "tool", tool_name: "f", content: "done", images: ["/9j/4AAQ"] },
		{ role: "assistant", content: "So.", reasoning_details: [{ type: "reasoning.text" }] },
		{ role: "user", content: "And?" },
	],
	tools: [{ type: "function", function: { name: "f", description: "Does.", parameters: { type: "object" } } }],
};
const GENERATE: Json = { ...COMMON, prompt: "hi", system: "Be brief.", images: ["/9j/4AAQ"] };
const RAW: Json = { model: "m", prompt: "hi", raw: true, suffix: "}", options: COMMON["options"] };

/** The value with one place in it changed: left out, null, or something else. */
function bent(value: unknown, at: Random): unknown {
	if (typeof value !== "object" || value === null || at.below(6) === 0) {
		return at.below(3) === 0 ? null : JSON.parse(valueText(at, 2).replaceAll("\\ud800", ""));
	}
	if (Array.isArray(value)) {
		const place = at.below(value.length + 1);
		if (at.below(3) === 0) return value.filter((_, index) => index !== place);
		return value.map((item, index) => (index === place ? bent(item, at) : item));
	}
	const name = at.pick([...Object.keys(value), "name", "content"]);
	const inner = (value as Json)[name];
	return { ...value, [name]: at.below(8) === 0 ? undefined : bent(inner, at) };
}

test.each([
	["a chat", ollamaChat, "chat", CHAT],
	["a prompt", ollamaGenerate, "chat", GENERATE],
	["a raw prompt", ollamaGenerate, "chat", RAW],
	["an input", ollamaEmbed, "embeddings", { model: "m", input: ["a", "b"], dimensions: 3 }],
	["an input in the older form", ollamaEmbeddings, "embeddings", { model: "m", prompt: "a", options: {} }],
] as [string, Dialect, Operation, Json][])(
	"%s that is bent in any place is refused, or becomes a call that can be asked",
	(_, dialect, operation, fields) => {
		const at = random(16);
		const seen = { taken: 0, refused: 0 };
		for (let round = 0; round < 1500; round++) {
			const body = at.below(4) === 0 ? bent(bent(fields, at), at) : bent(fields, at);
			try {
				const parsed = dialect.parse(operation, Buffer.from(JSON.stringify(body)));
				const { facts } = parsed;
				JSON.parse(parsed.body().raw);
				facts.promptSizes();
				facts.promptContent();
				facts.canonical(new Set());
				facts.memory(Buffer.from("x"));
				facts.isReasoning("m");
				facts.routingField();
				parsed.leftOut?.();
				seen.taken++;
			} catch (thrown) {
				if (!(thrown instanceof RouterError)) throw new Error(`${JSON.stringify(body)}: ${thrown}`, { cause: thrown });
				expect(thrown.status).toBeWithin(400, 500);
				seen.refused++;
			}
		}
		expect(Math.min(seen.taken, seen.refused)).toBeGreaterThan(30);
	},
);

const TEXTS = ["a", "Grüße", "\n", '"', "\\", "\u2028", "\u0085", "🙂", "{}", "", "\u0000"];

/** An answer of OpenAI's, whatever it says. */
function someAnswer(at: Random): Loose {
	const text = () => Array.from({ length: at.below(5) }, () => at.pick(TEXTS)).join("");
	const calls = Array.from({ length: at.below(3) }, (_, index) => ({
		id: `call_${index}`,
		type: "function",
		function: { name: "f", arguments: JSON.stringify({ [text()]: text(), n: 12345678 }) },
	}));
	const thought = text();
	const message = {
		role: "assistant",
		content: text(),
		...(thought === "" ? {} : { reasoning_content: thought, reasoning: thought }),
		...(calls.length > 0 ? { tool_calls: calls } : {}),
	};
	return {
		...{ id: "c", object: "chat.completion", created: 1, model: "m" },
		choices: [{ index: 0, message, finish_reason: calls.length > 0 ? "tool_calls" : at.pick(["stop", "length"]) }],
		usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
	};
}

test("whatever is answered means the same in lines, as one object, and folded back", () => {
	const at = random(17);
	const parsed = ollamaChat.parse(
		"chat",
		Buffer.from(JSON.stringify({ model: "m", messages: [{ role: "user", content: "x" }] })),
	);
	const call = { id: "req_1", operation: "chat", startedAt: 1, ...parsed } as const;
	for (let round = 0; round < 1000; round++) {
		const answer = someAnswer(at);
		const { message, finish_reason } = answer["choices"][0] as Loose;
		const meant = {
			content: message["content"],
			thinking: message["reasoning"] ?? "",
			calls: (message["tool_calls"] ?? []).map(({ function: fn }: Loose) => JSON.parse(fn.arguments)),
			reason: finish_reason === "length" ? "length" : "stop",
		};
		const meaning = (lines: readonly Loose[]) => ({
			content: lines.map((line) => line["message"].content).join(""),
			thinking: lines.map((line) => line["message"].thinking ?? "").join(""),
			calls: lines.flatMap((line) => line["message"].tool_calls ?? []).map((each: Loose) => each["function"].arguments),
			reason: lines.at(-1)!["done_reason"],
		});
		const writer = ollamaChat.stream(call);
		const stream =
			writer.push(replayEvents("chat", JSON.stringify(answer), true)) +
			writer.end({ provider: "p", model: "m", attempts: 1 });
		expect(/[\u0085\u2028\u2029]/.test(stream)).toBe(false);
		const lines = stream
			.split("\n")
			.slice(0, -1)
			.map((line) => JSON.parse(line) as Loose);
		expect(meaning(lines)).toEqual(meant);
		expect(meaning([JSON.parse(String(ollamaChat.answer(JSON.stringify(answer), call, undefined))) as Loose])).toEqual(
			meant,
		);
		const folded = JSON.parse(ollamaChat.fold(call, Buffer.from(stream))!) as Loose;
		const again = folded["choices"][0] as Loose;
		const foldedCalls = (again["message"].tool_calls ?? []).map(({ function: fn }: Loose) => JSON.parse(fn.arguments));
		expect([again["finish_reason"], foldedCalls, again["message"].reasoning ?? ""]).toEqual([
			finish_reason,
			meant.calls,
			meant.thinking,
		]);
		expect(again["message"].content ?? "").toBe(message["content"]);
	}
});
