/** What targets cost, and how much their models read: from the configuration, else from a table of vendors' list prices. */
import type { PriceConfig } from "../../config/access.ts";
import { type NameMatcher, nameMatcher } from "../../config/name-pattern.ts";
import type { Config } from "../../config/schema.ts";
import { routingSuffix } from "../../openai/model-routing.ts";
import { listPrices } from "./list-prices.ts";
import { type Rate, type Rates, ratesOfTable } from "./rates.ts";

/** USD per million tokens. */
export interface Price {
	readonly input: number;
	readonly output: number;
	/** Of input that the vendor's prompt cache has; absent where that has no price of its own. */
	readonly cached?: number | undefined;
}

/** What is known of a model without asking its upstream. */
export interface ModelPrice {
	readonly price?: Price | undefined;
	/** Tokens of prompt and answer together. */
	readonly context?: number | undefined;
	/** What each kind of token costs; undefined where nobody knows. */
	readonly rates?: Rates | undefined;
	/** Where the price comes from. */
	readonly source?: PriceSource | undefined;
}

/** `prices:` of the configuration, the table of list prices, or that the model runs on hardware of the owner's own. */
export type PriceSource = "prices" | "list" | "own";

/** A target whose price is asked. */
export interface PricedTarget {
	/** `provider/model`, as `prices:` names it. */
	readonly id: string;
	/** What it has its hardware in common with, as an id; its own id where it is absent. */
	readonly deployment?: string | undefined;
	/** Of the time in which calls of this router run on its hardware, the part that is theirs, 0 to 1: the rest is other routers'. Absent: all of it. */
	readonly timeShare?: number | undefined;
	/** What `prices:` calls it instead: `local/model` for a model of several agents. */
	readonly name?: string | undefined;
	/** What the upstream calls the model. */
	readonly model: string;
	/** `priceId`: the vendor's id in the table of list prices; absent where the table has none of it. */
	readonly provider: { readonly name: string; readonly priceId?: string | undefined };
	/** `cloud` where it is absent: all others run on hardware of the owner's own. */
	readonly kind?: string | undefined;
}

/** Without a setting, a call to the owner's own hardware costs no more than no call. */
const FREE: Price = { input: 0, output: 0 };
const OWN: ModelPrice = { price: FREE, rates: FREE, source: "own" };
const DAY_MS = 86_400_000;
/** A look into the table keeps the event loop for ms, so each is remembered; clients choose the names behind `openrouter/`. */
const MOST_KNOWN = 5_000;
const MILLION = 1_000_000;

/** The prices of one configuration. Each target is looked up once a day, since list prices change at midnight (UTC); the table is loaded when the first vendor's price is asked. */
export class PriceBook {
	readonly #exact: ReadonlyMap<string, ModelPrice>;
	readonly #patterns: readonly { readonly fits: NameMatcher; readonly price: ModelPrice }[];
	readonly #known = new Map<string, ModelPrice>();
	/** Some hardware has a price by the hour. */
	readonly hasHourlyRates: boolean;
	#day = 0;

	/** @param wall Unix time, ms */
	constructor(
		settings: Config["prices"],
		private readonly wall: () => number = Date.now,
	) {
		this.hasHourlyRates = Object.values(settings).some(({ gpu_hour }) => gpu_hour !== undefined);
		const names = Object.entries(settings).map(([name, price]) => ({ name, price: configured(price) }));
		this.#exact = new Map(names.map(({ name, price }) => [name, price]));
		// An upstream may take a name in any case: no spelling of it has another price.
		this.#patterns = names
			.sort((a, b) => Number(a.name.includes("*")) - Number(b.name.includes("*")))
			.map(({ name, price }) => ({ fits: nameMatcher([name.toLowerCase()]), price }));
	}

	/** What is known of a target's model. What nobody knows is undefined. */
	of({ id, name = id, model, provider, kind = "cloud" }: PricedTarget): ModelPrice {
		const now = this.wall();
		const today = Math.floor(now / DAY_MS);
		if (today !== this.#day) this.#known.clear();
		this.#day = today;
		let found = this.#known.get(name);
		if (!found) {
			const isOwn = kind !== "cloud" || provider.name === "dummy";
			found = { ...(isOwn ? OWN : fromTable(provider.priceId, model, now)), ...this.#setting(name) };
			if (this.#known.size >= MOST_KNOWN) this.#known.clear();
			this.#known.set(name, found);
		}
		return found;
	}

	/** What `prices:` says of a name, or of the name without what chooses a variant of the same model behind it. */
	#setting(name: string): ModelPrice | undefined {
		const suffix = routingSuffix(name);
		return this.#settingOf(name) ?? (suffix === undefined ? undefined : this.#settingOf(name.slice(0, -suffix.length)));
	}

	#settingOf(name: string): ModelPrice | undefined {
		return this.#exact.get(name) ?? this.#patterns.find(({ fits }) => fits(name.toLowerCase()))?.price;
	}
}

/** USD that a call of so many tokens costs; undefined where the price is not known. */
export function listPriceOf(price: Price | undefined, input: number, output: number): number | undefined {
	return price && (price.input * input + price.output * output) / MILLION;
}

/** As of a call whose prompt is not long. */
const cachedPrice = (rate: Rate | undefined): { cached?: number } =>
	rate === undefined ? {} : { cached: typeof rate === "number" ? rate : rate.base };

/** Whether the table of list prices says that a vendor gives a model up. @param priceId the vendor's id there */
export function isDeprecatedInTable(priceId: string | undefined, model: string): boolean {
	if (priceId === undefined) return false;
	const { calcPrice } = listPrices();
	try {
		return calcPrice({ input_tokens: 1 }, model, { providerId: priceId })?.model.deprecated === true;
	} catch {
		return false;
	}
}

/** What a setting of `prices:` says. */
function configured({ input = 0, output = 0, ...rest }: PriceConfig): ModelPrice {
	const price = { input, output, ...cachedPrice(rest.cached) };
	return { price, rates: { input, output, ...rest }, source: "prices" };
}

/** What the table of list prices says. @param priceId the vendor's id there */
function fromTable(priceId: string | undefined, model: string, now: number): ModelPrice {
	if (priceId === undefined) return {};
	const { calcPrice } = listPrices();
	try {
		// A thousand tokens: many vendors ask more for long prompts, and few calls are.
		const usage = { input_tokens: 1000, output_tokens: 1000 };
		const found = calcPrice(usage, model, { providerId: priceId, timestamp: new Date(now) });
		if (!found) return {};
		const { input_price, output_price } = found;
		const rates = ratesOfTable(model, found.model_price);
		return {
			price: { input: input_price * 1000, output: output_price * 1000, ...cachedPrice(rates?.cached) },
			context: found.model.context_window,
			...(rates && { rates, source: "list" }),
		};
	} catch {
		// A model that is priced by the picture or by the second has no price a token.
		return {};
	}
}
