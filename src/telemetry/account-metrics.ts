/** What `/metrics` shows of limits and of money. */
import { Counter, type Registry } from "prom-client";

/** The hands that write to it. */
export interface AccountMetrics {
	/** A limit or a budget kept a call out: whose it is, and of what. */
	refused(by: string, counts: string): void;
}

/** What calls have cost together, USD, and how many of them have no price that anybody knows. */
export interface CallCosts {
	readonly cost: number;
	readonly unpriced: number;
}

/** Adds them to a registry. @returns what `Metrics` shows, and what hears of calls */
export function addAccountMetrics(
	registry: Registry,
): AccountMetrics & { settled(model: string, provider: string, costs: CallCosts): void } {
	const registers = [registry];
	const labelNames = ["model", "provider"] as const;
	const limited = new Counter({
		name: "router_limited_calls_total",
		help: "Calls kept out by a limit (of requests, tokens, concurrency) or a budget (by its period).",
		labelNames: ["by", "counts"],
		registers,
	});
	const cost = new Counter({
		name: "router_cost_usd_total",
		help: "What calls have cost, USD; calls whose price nobody knows are not in it.",
		labelNames,
		registers,
	});
	const unpriced = new Counter({
		name: "router_unpriced_calls_total",
		help: "Calls that were answered and whose price nobody knows.",
		labelNames,
		registers,
	});
	return {
		refused: (by, counts) => limited.inc({ by, counts }),
		settled(model, provider, costs) {
			if (costs.unpriced > 0) unpriced.inc({ model, provider }, costs.unpriced);
			if (costs.cost > 0) cost.inc({ model, provider }, costs.cost);
		},
	};
}
