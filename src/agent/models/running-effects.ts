/** Effects under way: one a replica, begun as the supervisor says, and what comes of each told to who has to know. */
import type { Log } from "../../telemetry/log.ts";
import type { Docker } from "../docker/docker.ts";
import type { Inventory, InventoryItem } from "../docker/inventory.ts";
import type { Placer } from "../gpu/placer.ts";
import type { Problem } from "../problem.ts";
import { problemText } from "../problem.ts";
import type { VllmEndpoint } from "../vllm/vllm-probe.ts";
import type { AgentSettings } from "./agent-settings.ts";
import type { ContainerSpecs } from "./container-spec.ts";
import { type EffectResult, type EffectTools, performEffect } from "./effects.ts";
import type { Action, Activity } from "./supervisor.ts";
import { modelOfKey } from "./supervisor.ts";

/** What they are done with. */
export interface EffectDependencies {
	readonly docker: Docker;
	readonly settings: AgentSettings;
	readonly specs: ContainerSpecs;
	readonly placer: Placer;
	readonly inventory: Inventory;
	readonly vllm: (origin: string) => VllmEndpoint;
	readonly log: () => Log["logger"];
	/** One has ended. `why` it failed is final. */
	readonly onEnd: (action: Action, outcome: EffectResult) => void;
}

/** What is being done. */
export class RunningEffects {
	/** By key. */
	readonly inFlight = new Map<string, Activity>();
	/** Images known to be there. */
	readonly images = new Set<string>();
	/** Images that are being pulled, and how far that is in percent, where it says. */
	readonly pulls = new Map<string, number | undefined>();
	/** Last words of containers that are gone, by key. */
	readonly lastLogs = new Map<string, readonly string[]>();
	/** Those that have ended; what they did shows in the next list. */
	readonly #ended = new Set<string>();
	readonly #end = new AbortController();

	constructor(private readonly tools: EffectDependencies) {}

	/** Keys whose effects had ended before a list was begun; give them to `seen` once it is there. */
	endedKeys(): string[] {
		return [...this.#ended];
	}

	/** The list shows what these have done. */
	confirm(keys: readonly string[]): void {
		for (const key of keys) {
			this.#ended.delete(key);
			this.inFlight.delete(key);
			this.tools.placer.release(key);
		}
	}

	/** Pulls are given up; other effects end by themselves. */
	end(): void {
		this.#end.abort();
	}

	/** Begins one. */
	begin(action: Action, item: InventoryItem | undefined): void {
		const { key } = action;
		const { placer, log } = this.tools;
		this.inFlight.set(key, action.do);
		if (action.do === "start") placer.reserve(key);
		log().debug({ key, action: action.do }, "effect");
		const run = async () => this.#finished(action, await performEffect(action, item, this.#effects()));
		run().catch((err) => {
			log().error({ err, key, action: action.do }, "An effect failed by a fault of the agent's own.");
			this.#finished(action, { ended: "failed", problem: { reason: "the agent failed on it", fix: "see agent.log" } });
		});
	}

	#finished(action: Action, outcome: EffectResult): void {
		this.#ended.add(action.key);
		this.tools.onEnd(action, outcome);
	}

	/** Tells of a container that failed, with the reason that its log gave. */
	logFailure(key: string, why: Problem | undefined): void {
		const model = modelOfKey(key);
		const reason = why && problemText(why).replaceAll("{name}", model);
		this.tools.log().warn({ model, replica: key, reason }, "a container failed and was removed");
	}

	#effects(): EffectTools {
		const { docker, settings, specs, placer, inventory, vllm } = this.tools;
		return {
			docker,
			env: settings.variables,
			signal: this.#end.signal,
			runOf: (key, port) => {
				const placement = placer.placement(key);
				return placement && specs.run(key, placement, port);
			},
			graceOf: (key) => specs.stopGrace(key),
			vllmOf: (id) => {
				const origin = inventory.items.find((item) => item.id === id)?.origin;
				return origin ? vllm(origin) : undefined;
			},
			imageIsThere: (image, isThere) => void (isThere ? this.images.add(image) : this.images.delete(image)),
			pulling: (image, percent) =>
				void (percent === "over" ? this.pulls.delete(image) : this.pulls.set(image, percent)),
			onSlept: (id, what) => inventory.monitor(id)?.setHealth(what),
			onSick: (id, why) => inventory.monitor(id)?.markDead(why),
			keepLog: (key, lines) => void this.lastLogs.set(key, lines),
		};
	}
}
