/** What `/metrics` shows of how targets are chosen, and of the configuration they come from. */

import { boundedLabels } from "./labels.ts";
import { Counter, Gauge, Histogram, type Registry } from "./prometheus.ts";

/** Seconds: a plan takes µs, ten times as many for a hundred targets, and more where a long prompt is hashed. */
const PLAN_BUCKETS = [0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01];
/** Targets that have ever been out of use; clients choose some of their names. */
const MOST_TARGETS = 200;
const LONGEST_NAME = 100;
const STATES = { closed: 0, probing: 1, open: 2 } as const;

/** Targets' breakers, asked at each scrape. */
export interface TargetStates {
	/** Those that are not closed, or once were not. */
	breakers(): Iterable<readonly [target: string, state: keyof typeof STATES]>;
	/** How often any breaker has opened so far. */
	readonly openings: number;
}

/** What writes to them. */
export interface RoutingMetrics {
	/** A plan was made, in so many ms. */
	planned(ms: number): void;
	watchTargets(states: TargetStates): void;
	/** The engine at this target died. */
	engineDied(target: string): void;
	/** A call was refused since an engine died of it twice. */
	refusedPoisonous(): void;
	/** The configuration was loaded anew, or refused. */
	reloaded(result: "loaded" | "refused"): void;
	/** A call had an agent's host woken, or tried to. */
	hostWoken(agent: string, result: "woken" | "failed"): void;
}

/** Adds them to a registry. */
export function addRoutingMetrics(registry: Registry): RoutingMetrics {
	const registers = [registry];
	const plans = new Histogram({
		name: "router_plan_seconds",
		help: "What it took to put the targets of a call in order, where there were several.",
		buckets: PLAN_BUCKETS,
		registers,
	});
	const reloads = new Counter({
		name: "router_config_reloads_total",
		help: "Times the configuration was loaded anew, or refused for its mistakes.",
		labelNames: ["result"],
		registers,
	});
	const deaths = new Counter({
		name: "router_engine_deaths_total",
		help: "Times an engine died under its calls, by target.",
		labelNames: ["target"],
		registers,
	});
	const refusals = new Counter({
		name: "router_poisonous_requests_total",
		help: "Calls refused because an engine died of them twice.",
		registers,
	});
	let states: TargetStates | undefined;
	const label = boundedLabels(MOST_TARGETS);
	new Gauge({
		name: "router_breaker_state",
		help: "Of targets that have failed too often: 2 out of use, 1 being tried, 0 in use again.",
		labelNames: ["target"],
		registers,
		aggregator: "max",
		collect() {
			this.reset();
			for (const [target, state] of states?.breakers() ?? []) {
				this.set({ target: label(target.slice(0, LONGEST_NAME)) }, STATES[state]);
			}
		},
	});
	new Counter({
		name: "router_breaker_opened_total",
		help: "Times a target was taken out of use because it had failed too often.",
		registers,
		collect() {
			this.reset();
			this.inc(states?.openings ?? 0);
		},
	});
	return {
		engineDied: (target) => deaths.inc({ target: label(target.slice(0, LONGEST_NAME)) }),
		refusedPoisonous: () => refusals.inc(),
		planned: (ms) => plans.observe(Math.max(0, ms) / 1000),
		watchTargets(watched) {
			states = watched;
		},
		reloaded: (result) => reloads.inc({ result }),
		hostWoken: hostWakes(registers),
	};
}

function hostWakes(registers: Registry[]): RoutingMetrics["hostWoken"] {
	const wakes = new Counter({
		name: "router_host_wakes_total",
		help: "Sleeping hosts of agents that a call had woken, by agent and whether they came.",
		labelNames: ["agent", "result"],
		registers,
	});
	return (agent, result) => wakes.inc({ agent, result });
}
