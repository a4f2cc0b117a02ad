/** What `/metrics` shows of models that vendors stop offering. */
import { Gauge, type Registry } from "./prometheus.ts";

/** When calls for a target of a name in `models:` begin to fail. */
export interface Retirement {
	/** The name in `models:`. */
	readonly model: string;
	/** The target's id. */
	readonly target: string;
	/** Unix time, s; 0: they fail already, and nobody says since when. */
	readonly at: number;
}

/** Where they are read. */
export interface RetirementMetrics {
	/** @param read asked at each scrape */
	watchRetirements(read: () => readonly Retirement[]): void;
}

/** Adds them to a registry. */
export function addRetirementMetrics(registry: Registry): RetirementMetrics {
	let read: (() => readonly Retirement[]) | undefined;
	new Gauge({
		name: "router_model_retirement_timestamp_seconds",
		help: "When a vendor stops answering for a target of a name in `models:`, Unix time; 0 where it already has. Of those without a day there is none.",
		labelNames: ["model", "target"],
		registers: [registry],
		aggregator: "first",
		collect() {
			this.reset();
			for (const { model, target, at } of read?.() ?? []) this.set({ model, target }, at);
		},
	});
	return {
		watchRetirements(watched) {
			read = watched;
		},
	};
}
