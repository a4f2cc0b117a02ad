/**
 * A real Docker Engine of the tests' own: its files in one temporary directory, its own network, no rule in the
 * machine's firewall, so that it neither meets nor disturbs another one. `--gpus` works without a GPU.
 */
import {
	chmodSync,
	closeSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	openSync,
	readFileSync,
	rmSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Namespace } from "./namespace.ts";
import { SIM_IMAGE, simRoot } from "./vllm-sim-binary.ts";

const DAEMON_MS = 30_000;
/** CAP_SYS_ADMIN and CAP_NET_ADMIN: mounts and bridges. */
const CAPABILITIES = (1n << 21n) | (1n << 12n);

/**
 * Why no engine can be had here; `undefined` when one can. Tests that need it are declared by `needing("docker")`.
 * `ROUTER_TEST_DOCKER` is what ../parts/run.ts saw when it tried to start a container.
 */
export function dockerProblem(): string | undefined {
	if (process.platform !== "linux") return "Docker Engine runs on Linux only";
	if (process.getuid?.() !== 0) return "dockerd needs root";
	if (!capable()) return "root may neither mount nor make a bridge here (a container may with --privileged)";
	const missing = ["dockerd", "docker", "ip", "tar"].filter((program) => !Bun.which(program));
	if (missing.length > 0) return `${missing.join(", ")} is not installed`;
	return process.env["ROUTER_TEST_DOCKER"] || undefined;
}

/** Whether this process may mount and make bridges, as root usually may. */
export function capable(): boolean {
	const mask = /^CapEff:\s*(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
	return (BigInt(`0x${mask}`) & CAPABILITIES) === CAPABILITIES;
}

/** How to start one. */
export interface EngineOptions {
	/** `300m`: images and containers lie on a disk of that size, which `fill` can fill. The sim's image takes 110 MB. */
	readonly disk?: string;
	/** `false`: as without NVIDIA's container toolkit, `--gpus` fails. */
	readonly nvidia?: boolean;
	/** A registry (./registry.ts) that stands for Docker Hub. */
	readonly mirror?: string;
	/** A network namespace (./namespace.ts) that it runs in, where it sets up the firewall and the forwarding as on a host of its own. */
	readonly namespace?: Pick<Namespace, "enter">;
	/** Containers outlive the daemon's restart, as with `"live-restore": true` in daemon.json. */
	readonly liveRestore?: boolean;
}

/** A running engine. */
export interface DockerEngine {
	/** For the client: `DOCKER_HOST`, and a `DOCKER_CONFIG` of its own. */
	readonly env: Readonly<Record<"DOCKER_HOST" | "DOCKER_CONFIG", string>>;
	/** All its files. */
	readonly directory: string;
	/** Of the daemon; changes with every `up`. */
	readonly pid: number;
	/** Address of this machine as containers see it. */
	readonly gateway: string;
	/** Runs the client. Rejects with what it said when it fails. */
	docker(...args: readonly string[]): Promise<string>;
	/**
	 * Makes the sim's image. `env`: SIM_… switches to bake in. As in the real image the entry point is `vllm serve`,
	 * and without `--gpus` it finds no device (`SIM_DEVICE: "cpu"` or `"any"` lifts that).
	 */
	importSim(tag?: string, env?: Readonly<Record<string, string>>): Promise<void>;
	/** Ends the daemon; containers end with it unless they are to outlive it or the signal is SIGKILL. */
	down(signal?: NodeJS.Signals): Promise<void>;
	/** Starts it again on the same files. */
	up(): Promise<void>;
	/** `down`, then `up`. */
	restart(signal?: NodeJS.Signals): Promise<void>;
	/** Fills its disk to the last byte; needs `disk`. `free` makes room again. */
	fill(): void;
	free(): void;
	/** What the daemon logged. */
	log(): string;
	/** Ends it with all its containers, mounts, and its bridge. Rejects when something is left. */
	stop(): Promise<void>;
	[Symbol.asyncDispose](): Promise<void>;
}

/** Starts one; about a second. Throws `dockerProblem()` where none can be had. */
export async function startDockerEngine(options: EngineOptions = {}): Promise<DockerEngine> {
	const problem = dockerProblem();
	if (problem) throw new Error(problem);
	// Not in TMPDIR: paths of sockets end at 107 bytes.
	const dir = mkdtempSync("/tmp/router-docker-");
	const id = crypto.randomUUID().slice(0, 8);
	const [bridge, cgroup] = [`rd${id}`, `router-docker-${id}`];
	const at = (name: string) => join(dir, name);
	const janitor = Bun.spawn(["sh", join(import.meta.dir, "docker-janitor.sh")], {
		stdin: "pipe",
		stdout: "ignore",
		stderr: "pipe",
		env: { PATH: path(), DIR: dir, BRIDGE: bridge, CGROUP: cgroup },
		// Ctrl-C is for the tests.
		detached: true,
	});
	let stopped: Promise<void> | undefined;
	const stop = () => {
		stopped ??= (async () => {
			janitor.stdin.end();
			const [words, code] = await Promise.all([new Response(janitor.stderr).text(), janitor.exited]);
			if (code !== 0) throw new Error(`the Docker Engine did not go away: ${words}`);
		})();
		return stopped;
	};
	try {
		const env = { DOCKER_HOST: `unix://${at("docker.sock")}`, DOCKER_CONFIG: at("config") };
		for (const name of ["data", "bin", "config"]) mkdirSync(at(name));
		const hook = at("bin/nvidia-container-runtime-hook");
		if (options.nvidia !== false) {
			writeFileSync(hook, "#!/bin/sh\nexit 0\n");
			chmodSync(hook, 0o755);
		}
		if (options.disk) await sh("mount", "-t", "tmpfs", "-o", `size=${options.disk}`, "tmpfs", at("data"));
		const gateway = options.namespace ? "172.17.0.1" : await createBridge(bridge);
		const pool = freePool();
		const docker = (...args: readonly string[]) => run(["docker", ...args], env);
		let daemon: Bun.Subprocess | undefined;
		const up = async () => {
			// Appended to: the daemon before may still have a word to say.
			const log = openSync(at("dockerd.log"), "a");
			daemon = Bun.spawn(
				[
					...(options.namespace?.enter ?? []),
					"dockerd",
					...["--host", env.DOCKER_HOST, "--data-root", at("data"), "--exec-root", at("exec")],
					...["--pidfile", at("docker.pid"), "--config-file", at("config/daemon.json"), "--containerd", ""],
					...["--cgroup-parent", cgroup],
					// Ports are published by docker-proxy alone: another daemon's start would delete our rules, and ours its.
					...(options.namespace
						? []
						: ["--bridge", bridge, "--iptables=false", "--ip-masq=false", "--ip-forward=false"]),
					// For networks besides: engines that start at once would else choose the same addresses.
					...["--default-address-pool", `base=${pool},size=28`],
					...(options.mirror ? ["--registry-mirror", options.mirror] : []),
					...(options.liveRestore ? ["--live-restore"] : []),
				],
				{
					env: { PATH: `${at("bin")}:${path()}`, HOME: dir },
					stdin: "ignore",
					stdout: "ignore",
					stderr: log,
					detached: true,
				},
			);
			closeSync(log);
			await ready(daemon, docker, at("dockerd.log"));
		};
		writeFileSync(at("config/daemon.json"), "{}");
		const down = async (signal: NodeJS.Signals = "SIGTERM") => {
			daemon?.kill(signal);
			await daemon?.exited;
			if (signal !== "SIGKILL") return;
			// A daemon that was killed leaves its containerd dying, and the next would take that for a living one.
			const containerd = at("exec/containerd/containerd.pid");
			if (existsSync(containerd)) await sh("sh", "-c", 'kill -KILL "$(cat "$0")" || true', containerd);
			for (const file of [containerd, at("docker.pid")]) rmSync(file, { force: true });
		};
		let base: Promise<string> | undefined;
		await up();
		return {
			env,
			directory: dir,
			get pid() {
				return daemon!.pid;
			},
			gateway,
			docker,
			importSim: async (tag = "vllm-sim:test", baked = {}) => {
				base ??= importRoot(env);
				const image = await base;
				const changes = Object.entries(baked).flatMap(([name, value]) => ["--change", `ENV ${name}=${value}`]);
				if (changes.length === 0) await docker("tag", image, tag);
				else {
					const container = (await docker("create", image)).trim();
					await docker("commit", ...changes, container, tag);
					await docker("rm", container);
				}
			},
			down,
			up,
			restart: async (signal) => {
				await down(signal);
				await up();
			},
			fill: () => fill(at("data"), options),
			free: () => rmSync(at("data/ballast"), { force: true }),
			log: () => readFileSync(at("dockerd.log"), "utf8"),
			stop,
			[Symbol.asyncDispose]: stop,
		};
	} catch (error) {
		await stop();
		throw error;
	}
}

async function ready(
	daemon: Bun.Subprocess,
	docker: (...args: string[]) => Promise<string>,
	log: string,
): Promise<void> {
	const deadline = performance.now() + DAEMON_MS;
	for (;;) {
		const answered = await docker("version", "--format", "{{.Server.Version}}").then(
			() => true,
			() => false,
		);
		if (answered) return;
		if (daemon.exitCode !== null || performance.now() > deadline) {
			const words = existsSync(log) ? readFileSync(log, "utf8").split("\n").slice(-15).join("\n") : "";
			throw new Error(`dockerd did not come up:\n${words}`);
		}
		await Bun.sleep(50);
	}
}

/** A bridge with a network that nothing here uses yet; its name is the lock. */
async function createBridge(name: string): Promise<string> {
	await sh("ip", "link", "add", name, "type", "bridge");
	const taken = (await sh("ip", "-4", "route", "show", "table", "all")) + (await sh("ip", "-4", "-o", "addr"));
	for (;;) {
		const [a, b] = crypto.getRandomValues(new Uint8Array(2));
		const net = `10.${64 + (a! % 64)}.${b}`;
		if (taken.includes(` ${net}.`)) continue;
		await sh("ip", "addr", "add", `${net}.1/24`, "dev", name);
		await sh("ip", "link", "set", name, "up");
		return `${net}.1`;
	}
}

/** Addresses for networks that an engine makes besides its own; beside those of bridges above. */
function freePool(): string {
	const [a, b] = crypto.getRandomValues(new Uint8Array(2));
	return `10.${128 + (a! % 64)}.${b}.0/24`;
}

async function importRoot(env: Record<string, string>): Promise<string> {
	const tar = Bun.spawn(["tar", "-C", await simRoot(), "-c", "."], { stdout: "pipe" });
	const changes = [
		`ENTRYPOINT ${JSON.stringify(SIM_IMAGE.Entrypoint)}`,
		...SIM_IMAGE.Env.map((pair) => `ENV ${pair}`),
		`WORKDIR ${SIM_IMAGE.WorkingDir}`,
		...Object.keys(SIM_IMAGE.ExposedPorts).map((port) => `EXPOSE ${port}`),
	];
	const flags = changes.flatMap((change) => ["--change", change]);
	return (await run(["docker", "import", ...flags, "-"], env, tar.stdout)).trim();
}

function fill(data: string, { disk }: EngineOptions): void {
	if (!disk) throw new Error("fill: the engine has no disk of its own, and would fill the machine's; give it `disk`");
	const ballast = openSync(join(data, "ballast"), "w");
	const piece = new Uint8Array(1 << 16);
	try {
		// Bun's own writers don't say that a disk is full.
		while (writeSync(ballast, piece) > 0);
	} catch (error) {
		if ((error as { code?: string }).code !== "ENOSPC") throw error;
	} finally {
		closeSync(ballast);
	}
}

const path = () => process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin";
const sh = (...command: string[]) => run(command, {});

async function run(command: readonly string[], env: Record<string, string>, stdin?: ReadableStream): Promise<string> {
	const child = Bun.spawn([...command], {
		env: { PATH: path(), ...env },
		stdin: stdin ?? "ignore",
		stdout: "pipe",
		stderr: "pipe",
	});
	const [text, errors, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${errors.trim()}`);
	return text;
}
