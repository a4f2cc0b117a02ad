/** What targets cost, and how much their models read: from the configuration, else from a table of vendors' list prices. */
import type * as GenaiPrices from "@pydantic/genai-prices";
import type { PriceConfig } from "../../config/access.ts";
import { nameMatcher } from "../../config/name-pattern.ts";
import type { Config } from "../../config/schema.ts";
import { routingSuffix } from "../../providers/model-routing.ts";
import { type Rates, ratesOfTable } from "./rates.ts";

/** USD per million tokens. */
export interface Price {
	readonly input: number;
	readonly output: number;
}

/** What is known of a model without asking anyone. */
export interface Listed {
	readonly price?: Price | undefined;
	/** Tokens of prompt and answer together. */
	readonly context?: number | undefined;
	/** What each kind of token costs; undefined where nobody knows. */
	readonly rates?: Rates | undefined;
	/** Who says so: `prices:`, the table of list prices, or that it runs on the house's own hardware. */
	readonly source?: PriceSource | undefined;
}

/** Where a price comes from. */
export type PriceSource = "prices" | "list" | "own";

/** Looks things up; each target once a day, since list prices change at midnight (UTC). */
export interface PriceBook {
	/**
	 * What nobody knows stays undefined.
	 * @param id `provider/model`, as `prices:` names it
	 * @param priceId the vendor's id in the list prices; undefined where those have none of it
	 */
	of(id: string, priceId: string | undefined, model: string, isOwn: boolean): Listed;
}

/** In the house a call costs no more than no call. */
const FREE: Price = { input: 0, output: 0 };
const OWN: Listed = { price: FREE, rates: FREE, source: "own" };
const DAY_MS = 86_400_000;
/** A look into the table takes up to 8 ms, so each is kept; clients choose the names behind `openrouter/`. */
const MOST_KEPT = 5_000;
const MILLION = 1_000_000;

/** The price book of one configuration. Nothing is loaded before a vendor's price is asked for. */
export function priceBook(settings: Config["prices"], wall: () => number = Date.now): PriceBook {
	const exact = new Map(Object.entries(settings).map(([name, price]) => [name, configured(price)]));
	// An upstream may take a name in any case: no spelling of it has another price.
	const patterns = Object.entries(settings)
		.sort(([a], [b]) => Number(a.includes("*")) - Number(b.includes("*")))
		.map(([name, price]) => ({ fits: nameMatcher([name.toLowerCase()]), price: configured(price) }));
	const priceOf = (id: string) => exact.get(id) ?? patterns.find(({ fits }) => fits(id.toLowerCase()))?.price;
	const kept = new Map<string, Listed>();
	let day = 0;
	return {
		of(id, priceId, model, isOwn) {
			const today = Math.floor(wall() / DAY_MS);
			if (today !== day) kept.clear();
			day = today;
			let listed = kept.get(id);
			if (!listed) {
				const suffix = routingSuffix(id);
				const own = priceOf(id) ?? (suffix === undefined ? undefined : priceOf(id.slice(0, -suffix.length)));
				listed = { ...(isOwn ? OWN : fromTable(priceId, model, wall())), ...own };
				if (kept.size >= MOST_KEPT) kept.clear();
				kept.set(id, listed);
			}
			return listed;
		},
	};
}

/** USD that a call of so many tokens costs; undefined where the price is not known. */
export function listPriceOf(price: Price | undefined, input: number, output: number): number | undefined {
	return price && (price.input * input + price.output * output) / MILLION;
}

/** What a setting of `prices:` says. */
function configured({ input = 0, output = 0, ...rest }: PriceConfig): Listed {
	return { price: { input, output }, rates: { input, output, ...rest }, source: "prices" };
}

function fromTable(priceId: string | undefined, model: string, now: number): Listed {
	if (priceId === undefined) return {};
	// 20 ms and 4 MB: most routers that are started never choose between vendors.
	const { calcPrice }: typeof GenaiPrices = require("@pydantic/genai-prices");
	try {
		// A thousand tokens: many vendors ask more for long prompts, and few calls are.
		const usage = { input_tokens: 1000, output_tokens: 1000 };
		const found = calcPrice(usage, model, { providerId: priceId, timestamp: new Date(now) });
		if (!found) return {};
		const { input_price, output_price } = found;
		const rates = ratesOfTable(model, found.model_price);
		return {
			price: { input: input_price * 1000, output: output_price * 1000 },
			context: found.model.context_window,
			...(rates && { rates, source: "list" }),
		};
	} catch {
		// A model that is priced by the picture or by the second has no price a token.
		return {};
	}
}
