/** What calls cost: prices by target, and the hours of hardware that calls share. */
import type { Tokens } from "../../openai/usage.ts";
import type { Target } from "../../providers/provider.ts";
import type { Listed, PriceSource } from "./price-book.ts";
import { chargeFor, type Rates } from "./rates.ts";

/** Measures one attempt's share of the time that its hardware worked. */
export interface Meter {
	/** So far, ms. */
	ms(): number;
	/** The attempt is over; the first call counts. */
	stop(): void;
}

/** Prices calls. */
export interface Biller {
	/** What these tokens cost there, USD, and by which price; undefined where nobody knows. */
	price(
		target: Target,
		tokens: Tokens,
		gpuMs: number,
	): { readonly cost: number; readonly source: PriceSource; readonly price: Rates } | undefined;
	/** An attempt has begun; undefined where its hardware has no price by the hour. */
	meter(target: Target): Meter | undefined;
}

/** A biller by these prices. `clocks` outlive a reload of the prices. */
export function createBiller(listed: (target: Target) => Listed, clocks: Clocks): Biller {
	return {
		price(target, tokens, gpuMs) {
			const { rates, source } = listed(target);
			if (!rates || !source) return undefined;
			return { cost: chargeFor(rates, tokens, gpuMs), source, price: rates };
		},
		meter: (target) => (listed(target).rates?.gpu_hour === undefined ? undefined : clocks.start(target.id)),
	};
}

/**
 * A clock a target that runs while calls are under way there, the more slowly the more of them: what it shows between a call's
 * beginning and its end is that call's share, and all shares together are the time that the hardware worked.
 */
export class Clocks {
	readonly #clocks = new Map<string, { shown: number; at: number; running: number }>();

	constructor(private readonly time: () => number = () => performance.now()) {}

	start(target: string): Meter {
		const clock = this.#clocks.get(target) ?? { shown: 0, at: this.time(), running: 0 };
		this.#clocks.set(target, clock);
		const look = () => {
			const now = this.time();
			if (clock.running > 0) clock.shown += (now - clock.at) / clock.running;
			clock.at = now;
			return clock.shown;
		};
		const began = look();
		clock.running++;
		let taken: number | undefined;
		return {
			ms: () => taken ?? look() - began,
			stop: () => {
				if (taken !== undefined) return;
				taken = look() - began;
				clock.running--;
				if (clock.running === 0 && clock.shown > 0) this.#clocks.delete(target);
			},
		};
	}
}
