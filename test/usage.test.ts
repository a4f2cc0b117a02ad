/** What upstreams count and price is checked where it is read: whatever they send, counts are whole, within bounds, and honest. */
import { describe, expect, test } from "bun:test";
import { costOf, isPlainUsage, MAX_TOKENS, readUsage, tokensOf } from "../src/openai/usage.ts";
import { withCounts } from "../src/openai/usage-edits.ts";
import { messageTokens as claudeTokens } from "../src/providers/anthropic/response.ts";
import { generatedTokens as geminiTokens } from "../src/providers/gemini/response.ts";

/** No counts, as JSON has them: `1e400` is read as Infinity, and the last as no number that a double holds. */
const ODD = JSON.parse(
	'[null, -1, -0.5, 1e400, -1e400, 10000000000000000000, 1000000001, "", "abc", "-3", "0x10", "1e99", true, false, [], [7], {}, "5 tokens"]',
) as unknown[];

const KINDS = [
	"cached",
	"reasoning",
	"cacheWrite",
	"cacheWriteLong",
	"inputImage",
	"inputAudio",
	"outputImage",
	"outputAudio",
];

describe("a count that is none", () => {
	test.each(ODD.map((odd) => [odd]))("%p stands for no tokens, and is said to be uncounted", (odd) => {
		expect(tokensOf({ prompt_tokens: odd, completion_tokens: 3 })).toEqual({ input: 0, output: 3, uncounted: "input" });
		expect(tokensOf({ prompt_tokens: 3, completion_tokens: odd })).toEqual({
			input: 3,
			output: 0,
			uncounted: "output",
		});
		expect(tokensOf({ prompt_tokens: odd, completion_tokens: odd })).toEqual({
			input: 0,
			output: 0,
			uncounted: "both",
		});
		expect(claudeTokens({ input_tokens: odd, output_tokens: odd })).toEqual({ input: 0, output: 0, uncounted: "both" });
		expect(geminiTokens({ promptTokenCount: odd, candidatesTokenCount: odd })).toEqual({
			input: 0,
			output: 0,
			uncounted: "both",
		});
	});

	test.each(ODD.filter((odd) => odd !== null && odd !== false && odd !== "").map((odd) => [odd]))(
		"%p as a part is left out, and marked",
		(odd) => {
			const usage = { prompt_tokens: 9, completion_tokens: 5 };
			expect(tokensOf({ ...usage, prompt_tokens_details: { cached_tokens: odd } })).toEqual({
				input: 9,
				output: 5,
				uncounted: "input",
			});
			expect(tokensOf({ ...usage, completion_tokens_details: { reasoning_tokens: odd } })).toEqual({
				input: 9,
				output: 5,
				uncounted: "output",
			});
		},
	);

	test("a fraction is rounded up, and marked", () => {
		expect(tokensOf({ prompt_tokens: 10.5, completion_tokens: 5.5 })).toEqual({
			input: 11,
			output: 6,
			uncounted: "both",
		});
		expect(tokensOf({ prompt_tokens: 1, completion_tokens: "5.5" })).toEqual({
			input: 1,
			output: 6,
			uncounted: "output",
		});
	});

	test("usage that is no object is none; an empty one counts nothing", () => {
		for (const none of [undefined, null, 5, "12", [], [{ prompt_tokens: 1 }], true])
			expect(tokensOf(none)).toBeUndefined();
		expect(tokensOf({})).toEqual({ input: 0, output: 0, uncounted: "both" });
		expect(tokensOf({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 })?.uncounted).toBe("both");
	});

	test("whatever comes, each count is a whole number that the ledger can keep", () => {
		const values = [...ODD, 0, 1, 5.5, "12", "7.5", MAX_TOKENS, -0];
		let state = 1;
		const pick = () => {
			state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
			return values[state % values.length];
		};
		for (let round = 0; round < 20_000; round++) {
			const details = () => pick() ?? { cached_tokens: pick(), reasoning_tokens: pick(), image_tokens: pick() };
			const usage = {
				prompt_tokens: pick(),
				completion_tokens: pick(),
				total_tokens: pick(),
				input_tokens: pick(),
				prompt_tokens_details: details(),
				completion_tokens_details: details(),
				prompt_cache_hit_tokens: pick(),
			};
			const { uncounted, ...counts } = tokensOf(usage, { cache_n: pick(), prompt_n: pick(), predicted_n: pick() })!;
			for (const count of Object.values(counts)) {
				if (
					count === undefined ||
					!Number.isSafeInteger(count) ||
					Object.is(count, -0) ||
					count < 0 ||
					count > MAX_TOKENS
				)
					throw new Error(JSON.stringify(usage));
			}
			if (counts.input > 0 && (counts.cached ?? 0) > counts.input) throw new Error(JSON.stringify(usage));
			const told = withCounts(JSON.stringify({ usage }), { ...counts }, uncounted !== undefined);
			if (!isPlainUsage(JSON.parse(told).usage)) throw new Error(told);
		}
	});
});

describe("counts in other words", () => {
	const all = { input: 100, output: 7 };
	test.each([
		["texts", { prompt_tokens: "100", completion_tokens: "7" }, all],
		["the Responses API's names", { input_tokens: 100, output_tokens: 7 }, all],
		[
			"its details",
			{
				input_tokens: 100,
				output_tokens: 7,
				input_tokens_details: { cached_tokens: 60 },
				output_tokens_details: { reasoning_tokens: 3 },
			},
			{ ...all, cached: 60, reasoning: 3 },
		],
		[
			"Anthropic's, whose caches are not part of the input",
			{ input_tokens: 30, cache_read_input_tokens: 70, output_tokens: 7 },
			{ ...all, cached: 70 },
		],
		[
			"LiteLLM's, whose caches are",
			{ prompt_tokens: 100, cache_read_input_tokens: 70, completion_tokens: 7 },
			{ ...all, cached: 70 },
		],
		["a total in the place of the answer's", { prompt_tokens: 100, total_tokens: 107 }, all],
		[
			"Moonshot's and Together's cached tokens",
			{ prompt_tokens: 100, completion_tokens: 7, cached_tokens: 64 },
			{ ...all, cached: 64 },
		],
		[
			"DeepSeek's hits and misses",
			{ completion_tokens: 7, prompt_cache_hit_tokens: 64, prompt_cache_miss_tokens: 36 },
			{ ...all, cached: 64 },
		],
		[
			"llama.cpp's, beside usage",
			{ prompt_tokens: 100, completion_tokens: 7 },
			{ ...all, cached: 92 },
			{ prompt_n: 8, cache_n: 92, predicted_n: 7 },
		],
		["llama.cpp's, without usage", undefined, { ...all, cached: 92 }, { prompt_n: 8, cache_n: 92, predicted_n: 7 }],
		[
			"of two places the one that has some",
			{ prompt_tokens: 100, completion_tokens: 7, cached_tokens: 64, prompt_tokens_details: { cached_tokens: 0 } },
			{ ...all, cached: 64 },
		],
		[
			"a part larger than the whole",
			{ prompt_tokens: 100, completion_tokens: 7, cached_tokens: 900 },
			{ ...all, cached: 100 },
		],
		[
			"another router's guess",
			{ prompt_tokens: 100, completion_tokens: 7, estimated: true },
			{ ...all, uncounted: "both" },
		],
	] as [string, unknown, object, unknown?][])("%s", (...row) => {
		const [, usage, tokens, timings] = row;
		expect(tokensOf(usage, timings)).toEqual(tokens as never);
	});

	test("every kind is read where OpenAI and OpenRouter have it", () => {
		const usage = {
			prompt_tokens: 10,
			completion_tokens: 5,
			prompt_tokens_details: {
				cached_tokens: 2,
				cache_write_tokens: 3,
				cache_write_1h_tokens: 1,
				audio_tokens: 1,
				image_tokens: 4,
			},
			completion_tokens_details: { reasoning_tokens: 1, audio_tokens: 2, image_tokens: 3 },
		};
		const tokens = tokensOf(usage)!;
		expect(Object.keys(tokens).sort()).toEqual(["input", "output", ...KINDS].sort());
		expect(tokens).toMatchObject({
			cached: 2,
			cacheWrite: 3,
			cacheWriteLong: 1,
			inputAudio: 1,
			inputImage: 4,
			reasoning: 1,
			outputAudio: 2,
			outputImage: 3,
		});
	});

	test("Gemini leaves counts of 0 out: the total tells whether there were none", () => {
		expect(geminiTokens({ promptTokenCount: 8, totalTokenCount: 8 })).toEqual({ input: 8, output: 0 });
		expect(geminiTokens({ promptTokenCount: 8 })).toEqual({ input: 8, output: 0, uncounted: "output" });
		expect(geminiTokens({ promptTokenCount: "8", thoughtsTokenCount: 4 })).toEqual({
			input: 8,
			output: 4,
			reasoning: 4,
		});
		expect(
			geminiTokens({
				promptTokenCount: 8,
				candidatesTokenCount: 1,
				promptTokensDetails: [5, { modality: "IMAGE", tokenCount: "3" }],
			}),
		).toEqual({ input: 8, output: 1, inputImage: 3 });
	});
});

describe("what an upstream says a call costs", () => {
	test.each([
		[{ cost: 0 }, 0],
		[{ cost: 0.25 }, 0.25],
		[{ cost: "0.25" }, 0.25],
		[{ cost: "1e-7" }, 1e-7],
		[{ cost_in_usd_ticks: 25_000_000 }, 0.0025],
		[{ cost_in_usd_ticks: "25000000" }, 0.0025],
		[{ cost: -1, cost_in_usd_ticks: 25_000_000 }, 0.0025],
	])("%j is a price", (usage, usd) => {
		expect(costOf(usage)).toBeCloseTo(usd, 12);
	});

	test.each([...ODD.filter((odd) => typeof odd !== "number" || odd < 0 || odd > 1e9), Number.NaN].map((odd) => [odd]))(
		"%p is none",
		(odd) => {
			expect(costOf({ cost: odd })).toBeUndefined();
			expect(
				costOf({ cost_in_usd_ticks: typeof odd === "number" && odd > 0 ? Number.POSITIVE_INFINITY : odd }),
			).toBeUndefined();
		},
	);
});

describe("reasoning that an upstream leaves out of its completion (xAI, recorded)", () => {
	const usage = (total: number) => ({
		prompt_tokens: 213,
		completion_tokens: 2,
		completion_tokens_details: { reasoning_tokens: 198 },
		total_tokens: total,
	});

	test("is counted, whole, where the total says so", () => {
		expect(readUsage(usage(413))).toEqual({
			tokens: { input: 213, output: 200, reasoning: 198 },
			cost: undefined,
			completion: 200,
			isPlain: true,
		});
	});

	test("is not counted twice by an upstream that includes it", () => {
		const { tokens, completion } = readUsage({ ...usage(413), completion_tokens: 200 });
		expect([tokens, completion]).toEqual([{ input: 213, output: 200, reasoning: 198 }, undefined]);
	});
});
