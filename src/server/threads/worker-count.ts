/** How many threads answer calls. */
import { type Config, MOST_WORKERS } from "../../config/schema.ts";
import { StartError } from "../../errors.ts";
import { allowedCpus } from "./cpus.ts";

/** Where the router runs. */
export interface Machine {
	readonly platform: string;
	/** That the process may use; may be a fraction. */
	readonly cpus: number;
}

/**
 * What is set; `auto` leaves a CPU to the main thread and to whatever else runs, and is 1 where connections are not spread.
 * @throws {StartError} where more than one is wanted and the system does not spread connections over them
 */
export function workerCount(config: Config, machine?: Machine): number {
	const { workers } = config.server;
	const { platform, cpus } = machine ?? { platform: process.platform, cpus: allowedCpus() };
	if (workers === "auto") {
		if (platform !== "linux") return 1;
		return Math.min(MOST_WORKERS, Math.max(1, Math.floor(cpus) - 1));
	}
	if (workers > 1 && platform !== "linux") {
		throw new StartError(
			`server.workers is ${workers}: only Linux spreads connections over several. Set it to auto or 1.`,
		);
	}
	return workers;
}
