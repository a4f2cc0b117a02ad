/** From a model of the book to what its containers are made of, on the hardware that this host turned out to have. */

import type { Hardware } from "../gpu/hardware.ts";
import { canSleep, stopGraceS } from "../vllm/vllm-args.ts";
import type { AgentSettings } from "./agent-settings.ts";
import { containerImage, containerSpec, type Placement, type SpecSettings, specHash } from "./container-spec.ts";
import type { RunCommand } from "./effects.ts";
import type { ModelRegistry, RegisteredModel } from "./model-registry.ts";

/** The model of a replica's key. */
export const modelOfKey = (key: string): string => key.slice(0, key.lastIndexOf("#"));

/** What each replica's container is made of. */
export class ContainerSpecs {
	constructor(
		private readonly registry: ModelRegistry,
		private readonly settings: AgentSettings,
		private readonly hardware: Hardware,
	) {}

	image(entry: RegisteredModel): string {
		return containerImage(entry.spec, this.#of(entry));
	}

	hash(entry: RegisteredModel): string {
		return specHash(entry.spec, this.#of(entry));
	}

	/** Whether its containers are started so that they can sleep. */
	canSleep(entry: RegisteredModel): boolean {
		return canSleep(entry.spec, this.#of(entry));
	}

	/** Seconds between SIGTERM and SIGKILL. */
	stopGrace(key: string): number {
		const entry = this.registry.get(modelOfKey(key));
		return entry ? stopGraceS(entry.spec, this.#of(entry)) : 10;
	}

	/** The words of `docker run`; undefined for a model that was forgotten meanwhile. */
	run(key: string, placement: Placement, port: number): RunCommand | undefined {
		const entry = this.registry.get(modelOfKey(key));
		if (!entry) return undefined;
		const { args } = containerSpec(entry.spec, { ...placement, port }, this.#of(entry));
		return { args, env: this.settings.variables, image: this.image(entry) };
	}

	#of(entry: RegisteredModel): SpecSettings {
		const { accelerator, driver } = this.hardware.known ?? { accelerator: "cpu" as const };
		const { sleep, ...settings } = this.settings;
		// What is never evicted needs no development mode.
		return { ...settings, accelerator, ...(driver && { driver }), sleep: sleep && entry.load === "on-demand" };
	}
}
