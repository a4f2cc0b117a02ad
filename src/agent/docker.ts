/**
 * The Docker CLI, `docker` or `podman`: the one place that runs it.
 *
 * Argument arrays only, never a shell. Every call has a deadline, and what it prints is read to its end. Every failure is
 * a DockerError (docker-error.ts) that says what to do; none is ever latched: the next call tries again.
 */
import type { Environment } from "../config/interpolate.ts";

/** What the agent knows of the engine. */
export interface DockerInfo {
	/** Of the engine (docker) or of podman itself. */
	readonly version: string;
	/** Where images and layers lie: what runs full when an image is pulled. */
	readonly rootDir: string;
	/** Whether the engine can hand NVIDIA GPUs to a container. */
	readonly hasNvidia: boolean;
	/** Free bytes below `rootDir`; absent where the directory is not this machine's to look at. */
	readonly freeBytes?: number;
}

/** The states of an engine's container; podman's own words are mapped to them. */
export type ContainerState = "created" | "running" | "paused" | "restarting" | "removing" | "exited" | "dead";

/** A container with our label, as `inspect` shows it. */
export interface Container {
	/** The full id, 64 hex digits. */
	readonly id: string;
	/** Without the leading slash. */
	readonly name: string;
	readonly labels: Readonly<Record<string, string>>;
	readonly state: ContainerState;
	/** Of the last run; 0 while it has never ended. */
	readonly exitCode: number;
	readonly oomKilled: boolean;
	/** ms since the epoch; 0 where it was never started. */
	readonly startedAt: number;
	/** Host port of vLLM's 8000; absent while the container does not run, as the engine then forgets it. */
	readonly port?: number;
	/** As it was named in `run`. */
	readonly image: string;
}

/** One thing that happened to a container of ours. */
export interface DockerEvent {
	readonly id: string;
	/** `create`, `start`, `die`, `oom`, `kill`, `stop`, `destroy`, … as the engine calls it (podman's `died` and `remove` are mapped). */
	readonly action: string;
}

export interface LogOptions {
	/** Goes on until the container ends or the signal fires. */
	readonly follow?: boolean;
	/** How many of the last lines; all of them without it. */
	readonly tail?: number;
	readonly signal?: AbortSignal;
}

/** All that the agent asks of an engine. Every method rejects with a DockerError and with nothing else. */
export interface Docker {
	info(): Promise<DockerInfo>;
	/** Every container, running or not, that carries `router.agent=<agent>`. */
	containers(agent: string): Promise<Container[]>;
	hasImage(image: string): Promise<boolean>;
	/** Has no deadline but a silence of `pullSilenceMs`; `onProgress` gets every line the CLI prints. Aborted: rejects. */
	pull(image: string, onProgress: (line: string) => void, signal: AbortSignal): Promise<void>;
	/**
	 * Starts a container, detached; `args` are the words after `docker run --detach` (see `containerSpec`) and `env` holds
	 * the values of its `-e NAME`. Resolves with the container's id. One that was created but could not start is removed.
	 */
	run(args: readonly string[], env: Environment): Promise<string>;
	/** SIGTERM, and SIGKILL after `graceS` seconds. A container that is gone or stopped counts as stopped. */
	stop(id: string, graceS: number): Promise<void>;
	/** Removes it, running or not. One that is gone counts as removed. */
	remove(id: string): Promise<void>;
	/** Lines of stdout and stderr as they come; ends with the container when followed, at once when not. Ends quietly when aborted. */
	logs(id: string, options?: LogOptions): AsyncIterable<string>;
	/** What happens from now on, by one `events` child. Throws a DockerError when the engine goes away; ends quietly when aborted. */
	events(agent: string, signal: AbortSignal): AsyncIterable<DockerEvent>;
}

export interface DockerOptions {
	readonly command: "docker" | "podman";
	/** Environment of the CLI: PATH, HOME, DOCKER_HOST and the like. */
	readonly env: Environment;
	/** Deadline of one short call. */
	readonly deadlineMs: number;
	/** Longest silence of a pull. */
	readonly pullSilenceMs: number;
}
