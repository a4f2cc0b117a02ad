/**
 * The Docker CLI, `docker` or `podman`: the one place that runs it.
 *
 * Argument arrays only, never a shell. Every call has a deadline, and what it prints is read to its end. Every failure is
 * a DockerError (docker-error.ts) that says what to do; none is ever latched: the next call tries again.
 */
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Environment } from "../../config/interpolate.ts";
import { CommandFailure, type CommandLine, type CommandResult, commandLines, runCommand } from "./command.ts";
import { DockerError } from "./docker-error.ts";
import { dockerError } from "./docker-failures.ts";
import { type Container, type DockerEvent, parseContainers, parseEvent } from "./docker-output.ts";

/** How much of a log, and for how long. */
export interface ContainerLogOptions {
	/** Goes on until the container ends or the signal fires. */
	readonly follow?: boolean;
	/** How many of the last lines; all of them without it. */
	readonly tail?: number;
	readonly signal?: AbortSignal;
}

/** All that the agent asks of an engine. Every method rejects with a DockerError and with nothing else. */
export interface Docker {
	/** Every container, running or not, that carries `router.agent=<agent>`. */
	containers(agent: string): Promise<Container[]>;
	hasImage(image: string): Promise<boolean>;
	/** Has no deadline but a silence of `pullSilenceMs`; `onProgress` gets every line the CLI prints. Aborted: rejects (`timeout`). */
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
	logs(id: string, options?: ContainerLogOptions): AsyncIterable<string>;
	/** What happens from now on, by one `events` child. Throws a DockerError when the engine goes away; ends quietly when aborted. */
	events(agent: string, signal: AbortSignal): AsyncIterable<DockerEvent>;
}

/** Which CLI, and how long it may take. */
export interface DockerOptions {
	readonly command: "docker" | "podman";
	/** Environment of the CLI: PATH, HOME, DOCKER_HOST and the like. */
	readonly env: Environment;
	/** Deadline of one short call. */
	readonly deadlineMs: number;
	/** Longest silence of a pull. */
	readonly pullSilenceMs: number;
}

/** A container is created from an image of 10 GB: 40 s on a slow disk. */
const RUN_TIMEOUT_MS = 120_000;
const NO_CONTAINER = /no such (?:container|object)|no container with (?:name|ID)/i;
const NO_IMAGE = /no such image|image not known|no such object|failed to find image/i;

/** The engine behind `command`. Runs nothing yet. */
export function createDocker({ command, env, deadlineMs, pullSilenceMs }: DockerOptions): Docker {
	// What the CLI advertises would stand in our error messages.
	const environment: Environment = { ...env, DOCKER_CLI_HINTS: "false" };

	/** Runs one short command; resolves whatever its exit code. */
	async function execute(
		words: readonly string[],
		subject?: string,
		ms = deadlineMs,
		more: Environment = {},
	): Promise<CommandResult> {
		try {
			return await runCommand([command, ...words], { env: { ...environment, ...more }, deadlineMs: ms });
		} catch (error) {
			throw failure(error, words[0]!, subject);
		}
	}

	/** The same for a command that must exit with 0. */
	async function executeOk(
		words: readonly string[],
		subject?: string,
		ms?: number,
		more?: Environment,
	): Promise<string> {
		const result = await execute(words, subject, ms, more);
		if (result.code !== 0) throw exitError(words[0]!, result.stderr, subject);
		return result.stdout;
	}

	function exitError(verb: string, stderr: string, subject?: string): DockerError {
		return dockerError({ command, verb, ...(subject !== undefined && { subject }), end: "exit", stderr });
	}

	function failure(error: unknown, verb: string, subject?: string): unknown {
		if (!(error instanceof CommandFailure)) return error;
		const end = error.kind === "missing" ? "missing" : "timeout";
		return dockerError({ command, verb, ...(subject !== undefined && { subject }), end, stderr: "" });
	}

	function parsed<T>(verb: string, read: () => T): T {
		try {
			return read();
		} catch {
			throw new DockerError(
				"failed",
				`\`${command} ${verb}\` printed something else than JSON`,
				`is \`${command}\` really ${command}?`,
			);
		}
	}

	/** The lines of a long command; the last `kept` of its stderr say why it failed. */
	async function* streamLines(
		words: readonly string[],
		{ kept, subject, ...how }: { kept: number; subject?: string; signal?: AbortSignal; silenceMs?: number },
	): AsyncGenerator<CommandLine> {
		const said: string[] = [];
		try {
			for await (const line of commandLines([command, ...words], { env: environment, ...how })) {
				if (line.from === "stderr" && said.push(line.line) > kept) said.shift();
				yield line;
			}
		} catch (error) {
			if (error instanceof CommandFailure && error.kind === "exit")
				throw exitError(words[0]!, said.join("\n"), subject);
			throw failure(error, words[0]!, subject);
		}
	}

	return {
		async containers(agent) {
			const ids = (
				await executeOk(["ps", "--all", "--no-trunc", "--quiet", "--filter", `label=router.agent=${agent}`])
			).match(/\S+/g);
			if (!ids) return [];
			const { code, stdout, stderr } = await execute(["inspect", "--type", "container", "--", ...ids]);
			// One that went between the two calls: the others are printed all the same.
			if (code !== 0 && !NO_CONTAINER.test(stderr)) throw exitError("inspect", stderr);
			return parsed("inspect", () => parseContainers(stdout));
		},

		async hasImage(image) {
			const { code, stderr } = await execute(["image", "inspect", "--format", "{{.Id}}", "--", image], image);
			if (code === 0) return true;
			if (NO_IMAGE.test(stderr)) return false;
			throw exitError("image inspect", stderr, image);
		},

		async pull(image, onProgress, signal) {
			const lines = streamLines(["pull", "--", image], { kept: 20, subject: image, signal, silenceMs: pullSilenceMs });
			for await (const { line } of lines) onProgress(line);
		},

		async run(args, values) {
			const cidfile = join(tmpdir(), `router-${crypto.randomUUID()}.cid`);
			const created = async () => (await readFile(cidfile, "utf8").catch(() => "")).trim();
			const name = args.find((word) => word.startsWith("--name="))?.slice("--name=".length);
			try {
				const stdout = await executeOk(
					["run", "--detach", `--cidfile=${cidfile}`, ...args],
					name,
					Math.max(RUN_TIMEOUT_MS, deadlineMs),
					values,
				);
				return (await created()) || stdout.trim();
			} catch (error) {
				// It exists and will never start: in the way of the next attempt, by its name.
				const id = await created();
				if (id) await execute(["rm", "--force", "--volumes", "--", id]).catch(() => {});
				throw error;
			} finally {
				await rm(cidfile, { force: true });
			}
		},

		async stop(id, graceS) {
			const { code, stderr } = await execute(
				["stop", "-t", String(Math.ceil(graceS)), "--", id],
				id,
				graceS * 1000 + deadlineMs,
			);
			if (code !== 0 && !NO_CONTAINER.test(stderr)) throw exitError("stop", stderr, id);
		},

		async remove(id) {
			const { code, stderr } = await execute(["rm", "--force", "--volumes", "--", id], id);
			if (code !== 0 && !NO_CONTAINER.test(stderr) && !/already in progress/i.test(stderr))
				throw exitError("rm", stderr, id);
		},

		async *logs(id, { follow: isFollowed, tail, signal } = {}) {
			const words = ["logs", ...(isFollowed ? ["--follow"] : []), ...(tail === undefined ? [] : [`--tail=${tail}`])];
			// One line: what stands before it on stderr is the container's.
			const lines = streamLines([...words, "--", id], { kept: 1, subject: id, ...(signal && { signal }) });
			for await (const { line } of untilAborted(lines, signal)) yield line;
		},

		async *events(agent, signal) {
			const filters = ["--filter", "type=container", "--filter", `label=router.agent=${agent}`];
			const lines = streamLines(["events", ...filters, "--format", "{{json .}}"], { kept: 1, signal });
			for await (const { from, line } of untilAborted(lines, signal)) {
				const event = from === "stdout" ? parseEvent(line) : undefined;
				if (event) yield event;
			}
			// The CLI ends by itself, with 0, when the daemon is shut down.
			if (!signal.aborted) throw exitError("events", "cannot connect to the docker daemon");
		},
	};
}

/** Ends where the signal fires, instead of throwing. */
async function* untilAborted<T>(source: AsyncGenerator<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
	try {
		yield* source;
	} catch (error) {
		if (!signal?.aborted) throw error;
	}
}
