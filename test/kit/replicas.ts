/** What tests of the replicas over all agents are made of: a setting, a report, and a log. */
import type { Config } from "../../src/config/schema.ts";
import type { ModelReport, ModelState, PlacementReport } from "../../src/protocol/agent.ts";
import type { ReplicaScalerOptions } from "../../src/server/agents/replica-scaler.ts";

/** `agents.replicas`. */
export type Bounds = Config["agents"]["replicas"];

/** A model's setting; without `over` none is to be there, and one takes 4 calls. */
export const bound = (over: Partial<Bounds[string]> = {}): Bounds[string] => ({
	min: 0,
	calls: 4,
	ttl: 60_000,
	...over,
});

/** An agent's report of the on-demand model `qwen`. */
export const qwen = (
	state: ModelState,
	placement: PlacementReport | undefined = { fits: "now", download: 0 },
): ModelReport => ({
	...{ name: "qwen", state, load: "on-demand" },
	...(placement && { placement }),
});

/** A log whose sentences and fields come into a list. */
export const logInto = (lines: [string, unknown][]) => {
	const write = (fields: unknown, text: string) => void lines.push([text, fields]);
	return { logger: { info: write, warn: write } } as unknown as ReplicaScalerOptions["log"];
};
