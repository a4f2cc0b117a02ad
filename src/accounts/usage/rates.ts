/** What each kind of token costs, and what a call's tokens come to. Pure. */
import type { Tokens } from "../../openai/usage.ts";

/** USD per million. Some vendors ask more of a call whose prompt is long: from `start` tokens on, for all of its tokens. */
export type Rate = number | { readonly base: number; readonly tiers: readonly { start: number; price: number }[] };

/** The kinds; what is absent costs what the plain token of its direction does. */
export interface Rates {
	readonly input: Rate;
	readonly output: Rate;
	readonly cached?: Rate | undefined;
	readonly cache_write?: Rate | undefined;
	/** Written to a cache that lasts an hour (Anthropic). */
	readonly cache_write_1h?: Rate | undefined;
	readonly input_image?: Rate | undefined;
	readonly input_audio?: Rate | undefined;
	readonly reasoning?: Rate | undefined;
	readonly output_image?: Rate | undefined;
	readonly output_audio?: Rate | undefined;
	/** USD a call. */
	readonly request?: number | undefined;
	/** USD an hour of the hardware it ran on. */
	readonly gpu_hour?: number | undefined;
	/** USD a picture, a minute of sound, and a million characters of speech, of operations that are passed on. */
	readonly image?: number | undefined;
	readonly minute?: number | undefined;
	readonly characters?: number | undefined;
}

/** What of a call is priced that are no tokens. */
export interface Units {
	readonly images?: number | undefined;
	readonly minutes?: number | undefined;
	readonly characters?: number | undefined;
}

const MILLION = 1_000_000;
const HOUR_MS = 3_600_000;

/**
 * USD. Of tokens that are of two kinds (cached and of a picture) the first in this order counts: cached, written, sound, picture.
 * Counts that make no sense (more cached than there were) are cut to what is left.
 * @param gpuMs this call's share of the time that its hardware worked, ms
 */
export function chargeFor(rates: Rates, tokens: Tokens, gpuMs = 0): number {
	const { input, output } = tokens;
	const long = tokens.cacheWriteLong ?? 0;
	const read = new Parts(input, input);
	read.take(tokens.cached, rates.cached);
	read.take(long, rates.cache_write_1h ?? rates.cache_write);
	read.take((tokens.cacheWrite ?? 0) - long, rates.cache_write);
	read.take(tokens.inputAudio, rates.input_audio);
	read.take(tokens.inputImage, rates.input_image);
	const written = new Parts(output, input);
	written.take(tokens.reasoning, rates.reasoning);
	written.take(tokens.outputAudio, rates.output_audio);
	written.take(tokens.outputImage, rates.output_image);
	const sum = read.total(rates.input) + written.total(rates.output);
	return sum / MILLION + (rates.request ?? 0) + ((rates.gpu_hour ?? 0) * gpuMs) / HOUR_MS;
}

/** USD for what is no tokens; undefined where none of it has a price. */
export function unitCharge({ image, minute, characters }: Rates, units: Units): number | undefined {
	if (image !== undefined && units.images !== undefined) return image * units.images;
	if (minute !== undefined && units.minutes !== undefined) return minute * units.minutes;
	if (characters !== undefined && units.characters !== undefined) return (characters * units.characters) / MILLION;
	return undefined;
}

/** What of a call is known before it is made. Tokens. */
export interface Expected {
	/** Of the prompt; `image` and `audio` are parts of it. */
	readonly prompt: { readonly tokens: number; readonly image: number; readonly audio: number };
	/** Of the answer, at most. */
	readonly answer: number;
	/** What the answer may be besides text. */
	readonly modalities: { readonly image: boolean; readonly audio: boolean };
	/** The client asks for its prompt to stay in a cache for an hour. */
	readonly cachesForHour: boolean;
}

/**
 * USD that a call may cost at most: whatever of its prompt may be written to a cache is, and its answer is of the dearest kind that it
 * may have. What has no price by the token (searches, hours of hardware) is not in it.
 */
export function mostCharge(rates: Rates, { prompt, answer, modalities, cachesForHour }: Expected): number {
	const { tokens, image, audio } = prompt;
	let text = dearer(rates.cache_write, tokens, at(rates.input, tokens));
	if (cachesForHour) text = dearer(rates.cache_write_1h, tokens, text);
	let written = dearer(rates.reasoning, tokens, at(rates.output, tokens));
	if (modalities.image) written = dearer(rates.output_image, tokens, written);
	if (modalities.audio) written = dearer(rates.output_audio, tokens, written);
	const read =
		Math.max(0, tokens - image - audio) * text +
		image * dearer(rates.input_image, tokens, text) +
		audio * dearer(rates.input_audio, tokens, text);
	return (read + answer * written) / MILLION + (rates.request ?? 0);
}

/** Tokens of one direction, each kind at its own rate and the rest at the plain one. No lists: each call is priced twice. */
class Parts {
	#sum = 0;

	constructor(
		private rest: number,
		private readonly prompt: number,
	) {}

	take(count: number | undefined, rate: Rate | undefined): void {
		if (!count || rate === undefined) return;
		const taken = Math.max(0, Math.min(count, this.rest));
		this.rest -= taken;
		this.#sum += taken * at(rate, this.prompt);
	}

	total(plain: Rate): number {
		return this.#sum + this.rest * at(plain, this.prompt);
	}
}

/** The rate, or another one that is more. */
const dearer = (one: Rate | undefined, prompt: number, other: number): number =>
	one === undefined ? other : Math.max(at(one, prompt), other);

function at(rate: Rate, prompt: number): number {
	if (typeof rate === "number") return rate;
	let price = rate.base;
	for (const tier of rate.tiers) if (prompt > tier.start) price = tier.price;
	return price;
}

/** The table's names for the kinds. */
const TABLE_NAMES: Readonly<
	Record<Exclude<keyof Rates, "request" | "gpu_hour" | "image" | "minute" | "characters">, string>
> = {
	input: "input_mtok",
	output: "output_mtok",
	cached: "cache_read_mtok",
	cache_write: "cache_write_mtok",
	cache_write_1h: "cache_write_1h_mtok",
	input_image: "input_image_mtok",
	input_audio: "input_audio_mtok",
	reasoning: "output_reasoning_mtok",
	output_image: "output_image_mtok",
	output_audio: "output_audio_mtok",
};

/** Rates of an entry of @pydantic/genai-prices; undefined where it has none for plain tokens, nor by the hour of sound that is read. */
export function ratesOfTable(model: string, prices: Readonly<Record<string, unknown>>): Rates | undefined {
	// OpenRouter's free models have no prices there.
	if (model.endsWith(":free") && Object.keys(prices).length === 0) return { input: 0, output: 0 };
	const hours = prices["input_audio_hours"];
	const minute = typeof hours === "number" ? hours / 60 : undefined;
	// What only transcribes has no tokens to price.
	if (prices["input_mtok"] === undefined) return minute === undefined ? undefined : { input: 0, output: 0, minute };
	// Embeddings have no answer to price.
	const rates: Record<string, Rate | number> = { output: 0 };
	for (const [kind, name] of Object.entries(TABLE_NAMES)) {
		const rate = prices[name];
		if (rate !== undefined) rates[kind] = rate as Rate;
	}
	if (minute !== undefined) rates["minute"] = minute;
	const perThousand = prices["requests_kcount"];
	if (typeof perThousand === "number") rates["request"] = perThousand / 1000;
	return rates as unknown as Rates;
}
