/**
 * The Docker CLI, `docker` or `podman`; no other file runs it.
 *
 * Argument arrays only, never a shell. Every call has a deadline, and its output is read to the end. Every failure is a
 * DockerError (docker-error.ts) that says what to do. No failure is remembered: the next call tries again.
 */
import type { Environment } from "../../config/interpolate.ts";
import { asWall, steadyTime } from "../../steady-time.ts";
import { CommandFailure, type CommandLine, type CommandResult, commandLines, runCommand } from "./command.ts";
import { DockerError } from "./docker-error.ts";
import { dockerError, type FailedCall } from "./docker-failures.ts";
import { type Container, type DockerEvent, parseContainers, parseEvent } from "./docker-output.ts";
import { engineOf } from "./engine-host.ts";
import { DEFAULT_NETWORK_ARGS, networkArgs, UNKNOWN_OPTION } from "./private-network.ts";

/** How much of a log, and for how long. */
export interface ContainerLogOptions {
	/** Goes on until the container ends or the signal fires. */
	readonly follow?: boolean;
	/** How many of the last lines; all of them without it. */
	readonly tail?: number;
	readonly signal?: AbortSignal;
}

/** A container engine, as far as the agent uses it. Every method rejects with a DockerError and with nothing else. */
export interface Docker {
	/** Every container, running or not, that carries `router.agent=<agent>`, or `router.instance=<instance>` where that is given. */
	containers(agent: string, instance?: string): Promise<Container[]>;
	hasImage(image: string): Promise<boolean>;
	/** Has no deadline but a silence of `pullSilenceMs`; `onProgress` gets every line the CLI prints. Aborted: rejects (`timeout`). */
	pull(image: string, onProgress: (line: string) => void, signal: AbortSignal): Promise<void>;
	/**
	 * Starts a container, detached; `args` follow `docker run --detach` (see `containerSpec`) and `env` holds
	 * the values of its `-e NAME`. Resolves with the container's id. One that was created but could not start, or has no limit of its memory where
	 * it was to have one, is removed. The agent's own network is made where it is missing.
	 */
	run(args: readonly string[], env: Environment): Promise<string>;
	/** SIGTERM, and SIGKILL after `graceS` seconds. A container that is stopped or does not exist counts as stopped. */
	stop(id: string, graceS: number): Promise<void>;
	/** Removes it, running or not. One that does not exist counts as removed. */
	remove(id: string): Promise<void>;
	/** Runs a program in a running container, as its user; rejects where it ends with another code than 0. */
	exec(id: string, argv: readonly string[]): Promise<void>;
	/** Lines of stdout and stderr as they come; ends with the container when followed, at once when not. Ends quietly when aborted. */
	logs(id: string, options?: ContainerLogOptions): AsyncIterable<string>;
	/** What happens from now on, by one `events` child. Throws a DockerError when the engine goes away; ends quietly when aborted. */
	events(agent: string, signal: AbortSignal): AsyncIterable<DockerEvent>;
	/** What the engine remembers of a container since `since` (ms since the epoch), oldest first. */
	pastEvents(id: string, since: number): Promise<DockerEvent[]>;
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
	/** A network of the agent's own: made where it is missing. */
	readonly network?: string | undefined;
}

/** Deadline of `run`, ms: creating a container from an image of 10 GB takes long on a slow disk. */
const RUN_TIMEOUT_MS = 120_000;
/** Another value for each container. */
const START_LABEL = "router.start";
/** Errors that come before any container does. */
const NO_ENGINE: readonly DockerError["kind"][] = ["missing", "not-running", "permission"];
const NO_CONTAINER = /no such (?:container|object)|no container with (?:name|ID)/i;
/** A limit that the engine leaves out: no error to it. Docker's words, and podman's without root on cgroups v1. */
const LIMIT_IGNORED = /does not support memory limit|resource limits are not supported and ignored/i;
const NO_IMAGE = /no such image|image not known|no such object|failed to find image/i;

/** The engine behind a CLI. Runs nothing until a method is called. */
export class DockerCli implements Docker {
	readonly #env: Environment;
	/** The network, while it is being made. */
	#making: Promise<void> | undefined;

	constructor(private readonly options: DockerOptions) {
		// The CLI's hints would end up in error messages.
		this.#env = { ...options.env, DOCKER_CLI_HINTS: "false" };
	}

	async containers(agent: string, instance?: string): Promise<Container[]> {
		const ids = new Set<string>();
		for (const label of [`router.agent=${agent}`, ...(instance === undefined ? [] : [`router.instance=${instance}`])]) {
			const listed = await this.#executeOk(["ps", "--all", "--no-trunc", "--quiet", "--filter", `label=${label}`]);
			for (const id of listed.match(/\S+/g) ?? []) ids.add(id);
		}
		if (ids.size === 0) return [];
		const { code, stdout, stderr } = await this.#execute(["inspect", "--type", "container", "--", ...ids]);
		// A container may have been removed since the list; the others are printed all the same.
		if (code !== 0 && !NO_CONTAINER.test(stderr)) throw this.#exitError("inspect", stderr);
		try {
			return parseContainers(stdout);
		} catch {
			const { command } = this.options;
			const message = `\`${command} inspect\` printed something else than JSON`;
			throw new DockerError("failed", message, `is \`${command}\` really ${command}?`);
		}
	}

	async hasImage(image: string): Promise<boolean> {
		const { code, stderr } = await this.#execute(["image", "inspect", "--format", "{{.Id}}", "--", image], image);
		if (code === 0) return true;
		if (NO_IMAGE.test(stderr)) return false;
		throw this.#exitError("image inspect", stderr, image);
	}

	async pull(image: string, onProgress: (line: string) => void, signal: AbortSignal): Promise<void> {
		const { pullSilenceMs: silenceMs } = this.options;
		const lines = this.#lines(["pull", "--", image], { stderrLines: 20, subject: image, signal, silenceMs });
		for await (const { line } of lines) onProgress(line);
	}

	async run(args: readonly string[], env: Environment): Promise<string> {
		const { network } = this.options;
		try {
			return await this.#start(args, env);
		} catch (error) {
			const isMissing = error instanceof DockerError && error.kind === "no-network";
			if (!isMissing || network === undefined || !args.includes(`--network=${network}`)) throw error;
			await this.#makeNetwork(network);
			return await this.#start(args, env);
		}
	}

	/** One at a time: engines before Docker 25 make two of one name for those who ask at once, and then know neither by it. */
	#makeNetwork(name: string): Promise<void> {
		this.#making ??= this.#createNetwork(name).finally(() => {
			this.#making = undefined;
		});
		return this.#making;
	}

	async #createNetwork(name: string): Promise<void> {
		const { command, env } = this.options;
		const engine = engineOf(command, env);
		const defaults = command === "docker" ? await this.#execute(DEFAULT_NETWORK_ARGS) : undefined;
		const tries = networkArgs(name, engine, defaults?.code === 0 ? defaults.stdout : "");
		for (const [at, argv] of tries.entries()) {
			const { code, stderr } = await this.#execute(argv, name);
			// Another start was faster.
			if (code === 0 || /already (?:exists|used)/i.test(stderr)) return;
			if (at === tries.length - 1 || !UNKNOWN_OPTION.test(stderr))
				throw this.#exitError("network create", stderr, name);
		}
	}

	async #start(args: readonly string[], env: Environment): Promise<string> {
		// By this it is found whatever the CLI prints. Of a `--cidfile` others could learn the path while the CLI starts, and write another's id into it.
		const label = `${START_LABEL}=${crypto.randomUUID()}`;
		const name = args.find((word) => word.startsWith("--name="))?.slice("--name=".length);
		const deadlineMs = Math.max(RUN_TIMEOUT_MS, this.options.deadlineMs);
		try {
			const argv = ["run", "--detach", `--label=${label}`, ...args];
			const { code, stdout, stderr } = await this.#execute(argv, name, deadlineMs, env);
			const isUnlimited = LIMIT_IGNORED.test(stderr) && args.some((word) => word.startsWith("--memory="));
			if (code !== 0 || isUnlimited) throw this.#exitError("run", stderr, name);
			return stdout.trim();
		} catch (error) {
			const isAnswered = !(error instanceof DockerError && NO_ENGINE.includes(error.kind));
			if (isAnswered) await this.#removeLabelled(label).catch(() => {});
			throw error;
		}
	}

	/** What was created and can't start, or without its limit: its name would be in the way of the next attempt. */
	async #removeLabelled(label: string): Promise<void> {
		const listed = await this.#executeOk(["ps", "--all", "--no-trunc", "--quiet", "--filter", `label=${label}`]);
		for (const id of listed.match(/\S+/g) ?? []) await this.#execute(["rm", "--force", "--volumes", "--", id]);
	}

	async stop(id: string, graceS: number): Promise<void> {
		const argv = ["stop", "-t", String(Math.ceil(graceS)), "--", id];
		const { code, stderr } = await this.#execute(argv, id, graceS * 1000 + this.options.deadlineMs);
		if (code !== 0 && !NO_CONTAINER.test(stderr)) throw this.#exitError("stop", stderr, id);
	}

	async remove(id: string): Promise<void> {
		const { code, stderr } = await this.#execute(["rm", "--force", "--volumes", "--", id], id);
		if (code === 0 || NO_CONTAINER.test(stderr) || /already in progress/i.test(stderr)) return;
		throw this.#exitError("rm", stderr, id);
	}

	async exec(id: string, argv: readonly string[]): Promise<void> {
		await this.#executeOk(["exec", id, ...argv], id);
	}

	async *logs(id: string, { follow, tail, signal }: ContainerLogOptions = {}): AsyncGenerator<string> {
		const argv = ["logs", ...(follow ? ["--follow"] : []), ...(tail === undefined ? [] : [`--tail=${tail}`])];
		// One line of stderr: those before it are the container's own.
		const lines = this.#lines([...argv, "--", id], { stderrLines: 1, subject: id, ...(signal && { signal }) });
		for await (const { line } of untilAborted(lines, signal)) yield line;
	}

	async *events(agent: string, signal: AbortSignal): AsyncGenerator<DockerEvent> {
		const filters = ["--filter", "type=container", "--filter", `label=router.agent=${agent}`];
		const lines = this.#lines(["events", ...filters, "--format", "{{json .}}"], { stderrLines: 1, signal });
		for await (const { from, line } of untilAborted(lines, signal)) {
			const event = from === "stdout" ? parseEvent(line) : undefined;
			if (event) yield event;
		}
		// The CLI ends by itself, with 0, when the daemon is shut down.
		if (!signal.aborted) throw this.#exitError("events", "cannot connect to the docker daemon");
	}

	async pastEvents(id: string, since: number): Promise<DockerEvent[]> {
		const { command, env } = this.options;
		// At podman's socket Docker's client gets nothing for times with a fraction.
		const isWhole = command === "docker" && engineOf(command, env) === "podman";
		const seconds = (ms: number) => (isWhole ? String(Math.ceil(ms / 1000)) : (ms / 1000).toFixed(3));
		// podman 4 reads no seconds behind `--until`, and Docker knows no `--stream`.
		const end = command === "podman" ? ["--stream=false"] : ["--until", seconds(asWall(steadyTime()))];
		const argv = [
			"events",
			"--since",
			seconds(Math.max(1000, isWhole ? since - 1000 : since)),
			...end,
			"--filter",
			`container=${id}`,
			"--format",
			"{{json .}}",
		];
		return (await this.#executeOk(argv, id)).split("\n").flatMap((line) => parseEvent(line) ?? []);
	}

	/** Runs one short command; resolves whatever its exit code. */
	async #execute(
		argv: readonly string[],
		subject?: string,
		deadlineMs = this.options.deadlineMs,
		more: Environment = {},
	): Promise<CommandResult> {
		try {
			return await runCommand([this.options.command, ...argv], { env: { ...this.#env, ...more }, deadlineMs });
		} catch (error) {
			throw this.#commandError(error, argv[0]!, subject);
		}
	}

	/** The same for a command that must exit with 0. */
	async #executeOk(argv: readonly string[], subject?: string, deadlineMs?: number, more?: Environment) {
		const { code, stdout, stderr } = await this.#execute(argv, subject, deadlineMs, more);
		if (code !== 0) throw this.#exitError(argv[0]!, stderr, subject);
		return stdout;
	}

	/** The lines of a long command; the last `stderrLines` of its stderr say why it failed. */
	async *#lines(argv: readonly string[], { stderrLines, subject, ...how }: LinesOptions): AsyncGenerator<CommandLine> {
		const stderr: string[] = [];
		try {
			for await (const line of commandLines([this.options.command, ...argv], { env: this.#env, ...how })) {
				if (line.from === "stderr" && stderr.push(line.line) > stderrLines) stderr.shift();
				yield line;
			}
		} catch (error) {
			const hasExited = error instanceof CommandFailure && error.kind === "exit";
			if (hasExited) throw this.#exitError(argv[0]!, stderr.join("\n"), subject);
			throw this.#commandError(error, argv[0]!, subject);
		}
	}

	#exitError(verb: string, stderr: string, subject?: string): DockerError {
		return this.#error({ verb, end: "exit", stderr }, subject);
	}

	#commandError(error: unknown, verb: string, subject?: string): unknown {
		if (!(error instanceof CommandFailure)) return error;
		return this.#error({ verb, end: error.kind === "missing" ? "missing" : "timeout", stderr: "" }, subject);
	}

	#error(failed: Pick<FailedCall, "verb" | "end" | "stderr">, subject: string | undefined): DockerError {
		const { command, env } = this.options;
		return dockerError({
			command,
			engine: engineOf(command, env),
			...(subject !== undefined && { subject }),
			...failed,
		});
	}
}

interface LinesOptions {
	readonly stderrLines: number;
	readonly subject?: string;
	readonly signal?: AbortSignal;
	readonly silenceMs?: number;
}

/** Ends where the signal fires, instead of throwing. */
async function* untilAborted<T>(source: AsyncGenerator<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
	try {
		yield* source;
	} catch (error) {
		if (!signal?.aborted) throw error;
	}
}
