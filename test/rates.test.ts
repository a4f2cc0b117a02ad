/** What calls cost: every kind of token, list prices, settings, and the hours of hardware. */
import { describe, expect, test } from "bun:test";
import { calcPrice } from "@pydantic/genai-prices";
import { PriceBook, type PricedTarget } from "../src/accounts/usage/price-book.ts";
import { chargeFor, type Rates } from "../src/accounts/usage/rates.ts";
import type { Tokens } from "../src/openai/usage.ts";
import { decimal, withCost } from "../src/openai/usage-edits.ts";
import { VENDORS } from "../src/vendors.ts";
import { random } from "./kit/random.ts";
import { ROUTING_KINDS } from "./kit/routing-kinds.ts";

/** A target as the price book sees it. */
const pricedTarget = (id: string, priceId: string | undefined, model: string, isOwn: boolean): PricedTarget => ({
	id,
	model,
	provider: { name: id.slice(0, id.indexOf("/")), priceId },
	kind: isOwn ? "local" : "cloud",
});

const rates: Rates = {
	input: 2,
	output: 10,
	cached: 0.2,
	cache_write: 2.5,
	cache_write_1h: 4,
	reasoning: 12,
	input_image: 3,
	input_audio: 30,
	output_image: 40,
	output_audio: 60,
	request: 0.001,
};
const usd = (tokens: Tokens, of: Rates = rates, gpuMs?: number) => chargeFor(of, tokens, gpuMs) * 1e6;

describe("each kind of token has its price", () => {
	test.each([
		["plain", { input: 100, output: 10 }, 200 + 100],
		["cached", { input: 100, output: 0, cached: 60 }, 40 * 2 + 60 * 0.2],
		["written to the cache", { input: 100, output: 0, cacheWrite: 50 }, 50 * 2 + 50 * 2.5],
		["written for an hour", { input: 100, output: 0, cacheWrite: 50, cacheWriteLong: 20 }, 50 * 2 + 30 * 2.5 + 20 * 4],
		["read and written", { input: 100, output: 0, cached: 30, cacheWrite: 50 }, 20 * 2 + 30 * 0.2 + 50 * 2.5],
		["pictures", { input: 100, output: 0, inputImage: 80 }, 20 * 2 + 80 * 3],
		["sound", { input: 100, output: 50, inputAudio: 80, outputAudio: 40 }, 20 * 2 + 80 * 30 + 10 * 10 + 40 * 60],
		["thought", { input: 0, output: 100, reasoning: 70 }, 30 * 10 + 70 * 12],
		["pictures drawn", { input: 0, output: 100, outputImage: 90 }, 10 * 10 + 90 * 40],
	] as [string, Tokens, number][])("%s", (_, tokens, millionths) => {
		expect(usd(tokens) - 1000).toBeCloseTo(millionths, 9);
	});

	test("and a kind without one costs what the plain ones do", () => {
		const plain = { input: 2, output: 10 };
		const tokens = {
			input: 100,
			output: 100,
			cached: 50,
			reasoning: 70,
			inputImage: 20,
			outputAudio: 5,
			cacheWrite: 9,
		};
		expect(usd(tokens, plain)).toBeCloseTo(200 + 1000, 9);
	});

	test("counts that make no sense cost no more than the prompt could", () => {
		expect(usd({ input: 10, output: 0, cached: 50, inputAudio: 50 }, { ...rates, request: 0 })).toBeCloseTo(
			10 * 0.2,
			9,
		);
	});

	test("long prompts cost more where the vendor says so, all of their tokens", () => {
		const tiered = { base: 1, tiers: [{ start: 200, price: 2 }] };
		const of = { input: tiered, output: { base: 5, tiers: [{ start: 200, price: 9 }] } };
		expect(usd({ input: 200, output: 10 }, of)).toBeCloseTo(200 + 50, 9);
		expect(usd({ input: 201, output: 10 }, of)).toBeCloseTo(402 + 90, 9);
	});
});

test("the table of list prices is read as its own authors read it: every vendor, all kinds, 3,000 random calls", () => {
	const { below, pick } = random(3);
	const book = new PriceBook({});
	const models = [
		[
			"openai",
			"openai",
			["gpt-5", "gpt-4o-mini", "gpt-4o-audio-preview", "o3", "gpt-5.5", "text-embedding-3-small", "gpt-image-1"],
		],
		[
			"anthropic",
			"anthropic",
			["claude-sonnet-4-5", "claude-opus-4-6", "claude-haiku-4-5-20251001", "claude-3-5-sonnet-20240620"],
		],
		[
			"gemini",
			"google",
			["gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-image-preview", "gemini-3-flash-preview"],
		],
		["openrouter", "openrouter", ["openai/gpt-5", "anthropic/claude-haiku-4.5", "anthropic/claude-sonnet-4.5"]],
		["xai", "x-ai", ["grok-4-fast", "grok-3-mini", "grok-code-fast-1"]],
	] as const;
	let priced = 0;
	for (let call = 0; call < 3_000; call++) {
		const [type, providerId, names] = pick(models);
		const model = pick(names);
		const [input, output] = [below(400_000), below(20_000)];
		const cached = below(3) === 0 ? below(input + 1) : 0;
		const cacheWrite = below(4) === 0 ? below(input - cached + 1) : 0;
		const outputAudio = below(5) === 0 ? below(output + 1) : 0;
		const tokens = { input, output, cached, cacheWrite, outputAudio };
		const { rates: found } = book.of(pricedTarget(`${type}/${model}`, VENDORS[type].priceId, model, false));
		const theirs = () =>
			calcPrice(
				{
					input_tokens: input,
					output_tokens: output,
					...(found?.cached !== undefined && { cache_read_tokens: cached }),
					...(found?.cache_write !== undefined && { cache_write_tokens: cacheWrite }),
					...(found?.output_audio !== undefined && { output_audio_tokens: outputAudio }),
				},
				model,
				{ providerId },
			);
		if (!found) continue;
		priced++;
		expect(chargeFor(found, tokens)).toBeCloseTo(theirs()!.total_price, 9);
	}
	expect(priced).toBeGreaterThan(2_500);
});

describe("the price of a target", () => {
	const settings = {
		"openai/gpt-5": { input: 1, output: 2 },
		"mybox/*": { input: 0.1, output: 0.2, cached: 0.05 },
		"local/*": { gpu_hour: 2 },
	};
	const book = new PriceBook(settings);

	test("is the setting's, by name or pattern, before the table's", () => {
		expect(book.of(pricedTarget("openai/gpt-5", "openai", "gpt-5", false))).toMatchObject({
			rates: { input: 1, output: 2 },
			source: "prices",
		});
		expect(book.of(pricedTarget("mybox/any", undefined, "any", false)).rates).toEqual(settings["mybox/*"]);
	});

	test("is kept, also after clients have named more models than are kept", () => {
		const many = new PriceBook({});
		const of = (model: string) => many.of(pricedTarget(`openrouter/${model}`, undefined, model, false));
		for (let at = 0; at < 6_000; at++) of(`random-${at}`);
		expect(of("m")).toBe(of("m"));
	});

	test("is the table's where nothing is set", () => {
		expect(book.of(pricedTarget("openai/gpt-5-mini", "openai", "gpt-5-mini", false))).toMatchObject({ source: "list" });
	});

	test("is nothing for local models, unless an hour of them has one", () => {
		expect(book.of(pricedTarget("vllm/m", undefined, "m", true))).toMatchObject({
			rates: { input: 0, output: 0 },
			source: "own",
		});
		expect(book.of(pricedTarget("local/m", undefined, "m", true))).toMatchObject({
			rates: { gpu_hour: 2 },
			source: "prices",
		});
	});

	test.each([
		["openai", "gpt-99"],
		["venice", "any"],
		["openai-compatible", "any"],
	] as const)("of %s/%s nobody knows: that is not zero", (type, model) => {
		const { rates: found, source } = book.of(pricedTarget(`${type}/${model}`, VENDORS[type].priceId, model, false));
		expect([found, source]).toEqual([undefined, undefined]);
	});

	test("is looked up anew when the day is over, since vendors change prices at midnight", () => {
		let now = Date.parse("2026-12-31T23:00:00Z");
		const days = new PriceBook({}, () => now);
		const of = () => days.of(pricedTarget("gemini/gemini-3.6-flash", "google", "gemini-3.6-flash", false)).rates;
		const before = of();
		now += 3_600_000;
		expect(before).toBeDefined();
		expect(of()).not.toEqual(before);
	});
});

describe.each(ROUTING_KINDS)("hours of hardware, as %s counts them,", (_, kind) => {
	test("are shared by the calls that run at once, and idle time is nobody's", () => {
		let now = 0;
		const clocks = kind.clocks(() => now);
		const first = clocks.start("local/m");
		now = 1_000;
		const second = clocks.start("local/m");
		now = 3_000;
		first.stop();
		now = 4_000;
		second.stop();
		now = 9_000;
		const third = clocks.start("local/m");
		now = 9_500;
		expect([first.ms(), second.ms(), third.ms()]).toEqual([2_000, 2_000, 500]);
		expect(chargeFor({ input: 0, output: 0, gpu_hour: 3.6 }, { input: 1, output: 1 }, 2_000)).toBeCloseTo(0.002, 12);
	});

	test("add up to the time that it worked, whatever overlaps: 2,000 random calls", () => {
		const { below } = random(5);
		let now = 0;
		let worked = 0;
		const clocks = kind.clocks(() => now);
		const running: { ms(): number; stop(): void }[] = [];
		const over: number[] = [];
		for (let step = 0; step < 4_000; step++) {
			const ms = below(50);
			now += ms;
			if (running.length > 0) worked += ms;
			if (running.length === 0 || below(2) === 0) running.push(clocks.start("m"));
			else {
				const [ended] = running.splice(below(running.length), 1);
				ended!.stop();
				over.push(ended!.ms());
			}
		}
		const shares = [...over, ...running.map((each) => each.ms())].reduce((sum, share) => sum + share, 0);
		expect(shares).toBeCloseTo(worked, 6);
	});
});

describe("usage.cost", () => {
	test.each([
		['{"id":1,"usage":{"prompt_tokens":5}}', '{"id":1,"usage":{"prompt_tokens":5,"cost":0.25}}'],
		['{"usage":{}}', '{"usage":{"cost":0.25}}'],
		['{ "usage" : { "a" : {"b":[1]} } , "x":1}', '{ "usage" : { "a" : {"b":[1]},"cost":0.25 } , "x":1}'],
		['{"usage":{"cost":9}}', '{"usage":{"cost":9}}'],
		['{"usage":null}', '{"usage":null}'],
		['{"choices":[{"usage":{}}]}', '{"choices":[{"usage":{}}]}'],
		['{"x":{"usage":{"a":1}}}', '{"x":{"usage":{"a":1}}}'],
		['{"x":{"usage":{"a":1}},"y":2}', '{"x":{"usage":{"a":1}},"y":2}'],
		['{"usage":{"a":{"b":1},"c":[{}]},"tier":"x"}', '{"usage":{"a":{"b":1},"c":[{}],"cost":0.25},"tier":"x"}'],
		['{"usage":{"a":"}"},"z":null}\n', '{"usage":{"a":"}","cost":0.25},"z":null}\n'],
		['{"text":"\\"usage\\":{}}","n":1}', '{"text":"\\"usage\\":{}}","n":1}'],
		['{"a\\"usage":{"b":1}}', '{"a\\"usage":{"b":1}}'],
		['{"usage":{"a":1},"text":",\\"usage\\":{}}"}', '{"usage":{"a":1,"cost":0.25},"text":",\\"usage\\":{}}"}'],
		['{"usage":{"a":1},"b":{"usage":{"c":1}}}', '{"usage":{"a":1,"cost":0.25},"b":{"usage":{"c":1}}}'],
		['{"usage":{"a":1,"b":{"c":2,"d":3}},"x":"y"}', '{"usage":{"a":1,"b":{"c":2,"d":3},"cost":0.25},"x":"y"}'],
		['{"usage":{"a":1,"b":{"cost":2}}}', '{"usage":{"a":1,"b":{"cost":2},"cost":0.25}}'],
		['{"usage":{"a":1,"cost":null}}', '{"usage":{"a":1,"cost":null}}'],
		['{"usage":{"a":1},"cost":2}', '{"usage":{"a":1,"cost":0.25},"cost":2}'],
		['{"usage":{"a":1},"usage":{"b":2}}', '{"usage":{"a":1},"usage":{"b":2,"cost":0.25}}'],
		['{"usage":{"a":1.5,"b":-1,"c":"d"}}\n', '{"usage":{"a":1.5,"b":-1,"c":"d","cost":0.25}}\n'],
		['{"b":{"usage":{"a":1}}}', '{"b":{"usage":{"a":1}}}'],
	])("stands in the usage of %s", (json, told) => {
		expect(withCost(json, 0.25)).toBe(told);
	});

	test.each([
		[0, "0"],
		[1.5, "1.5"],
		[1e-7, "0.0000001"],
		[0.1 + 0.2, "0.30000000000000004"],
		[123456, "123456"],
	])("%d is written %s", (cost, text) => {
		expect(decimal(cost)).toBe(text);
	});
});
