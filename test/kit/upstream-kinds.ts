/** One upstream of each kind, behind two routers, each with a replay that plays what it answers. */
import { dialect } from "./dialects.ts";
import type { ExchangeResponse } from "./exchange.ts";
import { fixture } from "./fixtures.ts";
import { type Rig, startRig } from "./rig.ts";
import type { ScenarioName } from "./scenarios.ts";
import { VENDORS } from "./vendor-fixtures.ts";
import { startVendorRig, type VendorRig } from "./vendor-rig.ts";

/** A kind of upstream. */
export interface UpstreamKind {
	readonly name: string;
	/** As clients name it. */
	readonly model: string;
	/** The router in front of it, and what plays it. */
	readonly rig: () => Pick<Rig | VendorRig, "router" | "replay" | "post">;
	/** How it answers a scenario. */
	answer(name: ScenarioName, stream: boolean): ExchangeResponse;
}

/** Two routers, and a kind for each of these upstreams that speak OpenAI, and for Claude and Gemini. */
export function upstreamKinds(compatible: readonly string[]) {
	let started: [Rig, VendorRig] | undefined;
	const running = () => {
		if (!started) throw new Error("the routers are not started");
		return started;
	};
	const kinds: UpstreamKind[] = [
		...compatible.map(
			(name): UpstreamKind => ({
				name,
				model: dialect(name).model,
				rig: () => running()[0],
				answer: (scenario, stream) => fixture(dialect(name), scenario, { stream, usage: true }).response,
			}),
		),
		...VENDORS.map(
			(vendor): UpstreamKind => ({
				name: vendor.name,
				model: vendor.model,
				rig: () => running()[1],
				answer: (scenario, stream) => vendor.answer(scenario, stream),
			}),
		),
	];
	return {
		kinds,
		/** In front of those that speak OpenAI. */
		get rig() {
			return running()[0];
		},
		/** In front of Claude and Gemini. */
		get vendorRig() {
			return running()[1];
		},
		async start() {
			started = await Promise.all([startRig(), startVendorRig()]);
		},
		async stop() {
			await Promise.all(running().map((each) => each.stop()));
		},
	};
}
