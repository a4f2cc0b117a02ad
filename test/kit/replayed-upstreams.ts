/** Every upstream of the fixtures behind one router, for tests of what a client of any wire reads. */
import { DIALECTS, upstreamsAt } from "./dialects.ts";
import type { ExchangeResponse } from "./exchange.ts";
import { fixture } from "./fixtures.ts";
import { type Replay, startReplay } from "./replay.ts";
import { UNPRICED } from "./rig.ts";
import { type RunningRouter, startRouter } from "./router.ts";
import type { ScenarioName } from "./scenarios.ts";
import { VENDORS } from "./vendor-fixtures.ts";
import { vendorsAt } from "./vendor-rig.ts";

/** An upstream, and how it answers a scenario. */
export interface ReplayedUpstream {
	readonly name: string;
	readonly model: string;
	/** The model's name in its answers. */
	readonly answersAs: string;
	answer(name: ScenarioName, stream: boolean): ExchangeResponse;
}

/** All of them. */
export const REPLAYED: readonly ReplayedUpstream[] = [
	...DIALECTS.map((row) => ({
		name: row.name,
		model: row.model,
		answersAs: row.upstreamModel,
		answer: (name: ScenarioName, stream: boolean) => fixture(row, name, { stream, usage: stream }).response,
	})),
	...VENDORS.map((vendor) => ({
		name: vendor.name,
		model: vendor.model,
		answersAs: vendor.model,
		answer: (name: ScenarioName, stream: boolean) => vendor.answer(name, stream),
	})),
];

/** A router whose upstreams are all played by `replay`. */
export interface ReplayedRouter {
	readonly replay: Replay;
	readonly router: RunningRouter;
	stop(): Promise<void>;
}

/** Starts one. */
export async function startReplayedRouter(): Promise<ReplayedRouter> {
	const replay = startReplay();
	const { env, config } = upstreamsAt(replay.origin);
	const router = await startRouter({
		env: { ...vendorsAt(replay.origin), ...env },
		config: { ...config, ...UNPRICED },
	});
	return {
		replay,
		router,
		async stop() {
			await router.stop();
			await replay.stop();
		},
	};
}
