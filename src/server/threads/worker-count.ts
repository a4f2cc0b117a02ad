/** How many threads answer calls. */
import { type Config, MOST_WORKERS } from "../../config/schema.ts";
import { allowedCpus } from "./cpus.ts";

/** Where the router runs. */
export interface Machine {
	readonly platform: string;
	/** That the process may use; may be a fraction. */
	readonly cpus: number;
}

/** Whether the system spreads the connections of a port over several listeners: elsewhere than on Linux one of them gets them all. */
export const spreadsConnections = (platform: string = process.platform): boolean => platform === "linux";

/**
 * What is set; `auto` leaves a CPU to the main thread and to whatever else runs, and is 1 where the system does not spread connections: there
 * each call over several workers takes more CPU, as the main thread passes its bytes on.
 */
export function workerCount(config: Config, machine?: Machine): number {
	const { workers } = config.server;
	const { platform, cpus } = machine ?? { platform: process.platform, cpus: allowedCpus() };
	if (workers === "auto") {
		if (!spreadsConnections(platform)) return 1;
		return Math.min(MOST_WORKERS, Math.max(1, Math.floor(cpus) - 1));
	}
	return workers;
}
