/** Who ended a container, by what the engine remembers of it. Pure. */
import type { Problem } from "../problem.ts";
import type { DockerEvent } from "./docker-output.ts";

/** How a container ended that did not end by itself. */
export interface EndedBy {
	/** `stopped`, `killed`: somebody asked the engine for it. `engine`: with the engine itself. `removed`: it is gone. */
	readonly by: "stopped" | "killed" | "engine" | "removed";
	/** Number of the signal that `kill` sent. */
	readonly signal?: number | undefined;
}

/** What is known besides the events. */
export interface EndCircumstances {
	readonly engine: "docker" | "podman";
	readonly exitCode: number;
	/** The engine was stopped or restarted at about that time. */
	readonly engineWasAway: boolean;
}

/** Exit codes of a container that was told to end, that was killed, and of one that a host's restart ended. */
const SIGNAL_CODES: readonly number[] = [0, 137, 143, 255];

/**
 * Who ended it; undefined where it ended by itself, or something outside of the engine killed it. `events`: all that the engine
 * remembers of the container, oldest first.
 */
export function endedBy(
	events: readonly DockerEvent[],
	{ engine, exitCode, engineWasAway }: EndCircumstances,
): EndedBy | undefined {
	const start = events.findLastIndex(({ action }) => action === "start");
	const since = events.slice(start + 1);
	// Docker's daemon remembers the last events since its own start; podman has no daemon.
	const isForgotten = engine === "docker" && !since.some(({ action }) => action === "die");
	// An exit code of vLLM's own is a crash that was only found later.
	if (isForgotten) return SIGNAL_CODES.includes(exitCode) ? { by: "engine" } : undefined;
	const signals = since.filter(({ action }) => action === "kill");
	const isStopped = since.some(({ action }) => action === "stop");
	if (signals.length === 0 && !isStopped) return undefined;
	// A daemon that is shut down, or that finds containers of one that was killed, stops them as a person would.
	if (engineWasAway) return { by: "engine" };
	if (isStopped) return { by: "stopped" };
	const signal = signals.at(-1)?.signal;
	return { by: "killed", ...(signal !== undefined && { signal }) };
}

const SIGNALS: Record<number, string> = { 1: "HUP", 2: "INT", 3: "QUIT", 6: "ABRT", 15: "TERM" };

/** What a person is told of it. The model is started again in any case. */
export function endedByProblem({ by, signal }: EndedBy, engine: "docker" | "podman"): Problem {
	const unload =
		"nothing: it is started again. To keep it down unload it: POST /models/{name}/unload on its agent, or take it out of the configuration";
	switch (by) {
		case "stopped":
			return { reason: `somebody stopped its container (\`${engine} stop\`)`, fix: unload };
		case "killed": {
			const flag = signal === undefined || signal === 9 ? "" : ` --signal ${SIGNALS[signal] ?? signal}`;
			return { reason: `somebody killed its container (\`${engine} kill${flag}\`)`, fix: unload };
		}
		case "removed":
			return { reason: `somebody removed its container (\`${engine} rm\`)`, fix: unload };
		case "engine":
			return {
				reason:
					engine === "docker"
						? "Docker's daemon was stopped or restarted, and its container with it"
						: "podman was stopped or restarted, and its container with it",
				fix:
					engine === "docker"
						? 'nothing: it is started again. `"live-restore": true` in /etc/docker/daemon.json lets containers outlive the next restart'
						: "nothing: it is started again",
			};
	}
}
