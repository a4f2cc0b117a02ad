/**
 * A host with Podman, of the tests' own, for root's containers or for those of a user who may nothing else: its files in one temporary directory, in a mount
 * namespace of its own (./podman-host.sh), so that neither the machine's users nor its containers are touched. Needs root, also for the user's.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { capable } from "./docker.ts";
import type { Namespace } from "./namespace.ts";
import { isBalanced } from "./router.ts";
import { until } from "./until.ts";
import { SIM_IMAGE, simRoot } from "./vllm-sim-binary.ts";

const SOURCE = resolve(import.meta.dir, "../..");
/** The ids of a user's containers: as many as an image may use. */
const IDS = 65_536;
/** What root's Podman makes networks with; not on PATH. */
export const NETAVARK = "/usr/lib/podman/netavark";
const PROGRAMS = ["podman", "newuidmap", "slirp4netns", "pasta", NETAVARK, "iptables", "ip", "setpriv", "tar"];

/** Whose containers. */
export type PodmanUser = "root" | "user";

/**
 * Why no such host can be had here; `undefined` where one can. `ROUTER_TEST_PODMAN` is what ../parts/run.ts saw when it tried to start a user's container.
 */
export function podmanProblem(): string | undefined {
	if (process.platform !== "linux") return "Podman runs on Linux only";
	if (process.getuid?.() !== 0) return "another user's Podman needs root";
	if (!capable()) return "root may not mount here (a container may with --privileged)";
	const missing = PROGRAMS.filter((program) => !Bun.which(program));
	if (missing.length > 0) return `${missing.join(", ")} is not installed`;
	return process.env["ROUTER_TEST_PODMAN"] || undefined;
}

/** The host. */
export interface PodmanHost {
	/** Of Podman, and of an agent that runs it. */
	readonly env: Readonly<Record<string, string>>;
	/** The user's number, 0 for root. */
	readonly uid: number;
	/** A directory of the user's. */
	readonly home: string;
	/** Path of the socket of `serve`. */
	readonly socket: string;
	/** Put before a command: it then runs on that host, as that user. */
	readonly enter: readonly string[];
	/** The router's command, where the user may read it. */
	readonly router: readonly string[];
	/** Serves Podman's API at `socket` until the host ends. */
	serve(): Promise<void>;
	/** Runs Podman. Rejects with what it said when it fails. */
	podman(...args: readonly string[]): Promise<string>;
	/** Makes the sim's image. `env`: SIM_… switches to bake in. */
	importSim(tag?: string, env?: Readonly<Record<string, string>>): Promise<void>;
	/** Ends it with all its containers. Rejects when something is left. */
	stop(): Promise<void>;
	[Symbol.asyncDispose](): Promise<void>;
}

/** How to make one. */
export interface PodmanOptions {
	readonly user: PodmanUser;
	/** The network that it is in, where it may set up the firewall. */
	readonly namespace: Namespace;
}

/** Makes one. Throws `podmanProblem()` where none can be had. */
export async function startPodmanHost({ user, namespace }: PodmanOptions): Promise<PodmanHost> {
	const problem = podmanProblem();
	if (problem) throw new Error(problem);
	// Not in TMPDIR: paths of sockets end at 107 bytes, and its user may enter /tmp.
	const dir = mkdtempSync("/tmp/router-podman-");
	chmodSync(dir, 0o755);
	const uid = user === "root" ? 0 : freeIds();
	const at = (name: string) => join(dir, name);
	for (const name of ["home", "run", "etc", "source"]) mkdirSync(at(name));
	for (const name of ["home", "run"]) chownSync(at(name), uid, uid);
	chmodSync(at("run"), 0o700);
	writeFileSync(at("bun"), "");
	writeUsers(at("etc"), uid);
	const env = {
		PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin",
		HOME: at("home"),
		XDG_RUNTIME_DIR: at("run"),
		...settings(dir),
	};
	const host = Bun.spawn(["unshare", "--mount", "sh", join(import.meta.dir, "podman-host.sh")], {
		stdin: "pipe",
		stdout: "pipe",
		stderr: "pipe",
		env: {
			...env,
			...{ DIR: dir, ID: String(uid), LAST: String(uid + IDS), SOURCE, BUN: process.execPath },
			NETWORK: `/run/netns/${namespace.name}`,
		},
		// Ctrl-C is for the tests.
		detached: true,
	});
	const words = new Response(host.stderr).text();
	let stopped: Promise<void> | undefined;
	const stop = () => {
		stopped ??= (async () => {
			host.stdin.end();
			if ((await host.exited) !== 0) throw new Error(`Podman's host did not go away: ${await words}`);
		})();
		return stopped;
	};
	const ready = await host.stdout.getReader().read();
	if (ready.done) throw new Error(`Podman's host did not come up: ${await words}`);
	const enter = [
		...["nsenter", `--mount=/proc/${host.pid}/ns/mnt`, `--net=/run/netns/${namespace.name}`, "--"],
		...(uid === 0 ? [] : ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--"]),
	];
	const podman = (...args: readonly string[]) => run([...enter, "podman", ...args], env);
	return {
		env,
		uid,
		home: at("home"),
		socket: at("run/podman.sock"),
		enter,
		router: routerCommand(dir),
		podman,
		async serve() {
			Bun.spawn([...enter, "podman", "system", "service", "--time=0", `unix://${at("run/podman.sock")}`], {
				...{ env, cwd: "/", stdin: "ignore", stdout: "ignore", stderr: "ignore" },
			});
			await until(() => existsSync(at("run/podman.sock")), "Podman's socket");
		},
		importSim: async (tag = "vllm-sim:test", baked = {}) => {
			const tar = Bun.spawn(["tar", "-C", await simRoot(), "-c", "."], { stdout: "pipe" });
			const variables = [...SIM_IMAGE.Env, ...Object.entries(baked).map(([name, value]) => `${name}=${value}`)];
			const changes = [
				`ENTRYPOINT ${JSON.stringify(SIM_IMAGE.Entrypoint)}`,
				...variables.map((pair) => `ENV ${pair}`),
				`WORKDIR ${SIM_IMAGE.WorkingDir}`,
				...Object.keys(SIM_IMAGE.ExposedPorts).map((port) => `EXPOSE ${port}`),
			];
			const flags = changes.flatMap((change) => ["--change", change]);
			await run([...enter, "podman", "import", ...flags, "-", tag], env, tar.stdout);
		},
		stop,
		[Symbol.asyncDispose]: stop,
	};
}

/** Ids that nobody on this machine has: neither its users nor another host of the tests. */
function freeIds(): number {
	const [random] = crypto.getRandomValues(new Uint16Array(1));
	return 1_000_000_000 + (random! % 8192) * 2 * IDS;
}

/** The machine's users and groups, and one more, who has ids for containers. Looked up by programs of the host alone. */
function writeUsers(directory: string, uid: number): void {
	const append = (name: string, line: string) => {
		writeFileSync(join(directory, name), `${readFileSync(`/etc/${name}`, "utf8").trimEnd()}\n${line}\n`);
	};
	if (uid === 0) {
		for (const name of ["passwd", "group"]) append(name, "");
		for (const name of ["subuid", "subgid"]) writeFileSync(join(directory, name), "");
		return;
	}
	append("passwd", `podman:x:${uid}:${uid}::${join(directory, "../home")}:/bin/sh`);
	append("group", `podman:x:${uid}:`);
	for (const name of ["subuid", "subgid"]) writeFileSync(join(directory, name), `podman:${uid + 1}:${IDS}\n`);
}

/** Podman's own files: neither systemd nor the machine's settings are asked. */
function settings(dir: string): Record<string, string> {
	const at = (name: string) => join(dir, name);
	const engine = {
		cgroup_manager: "cgroupfs",
		events_logger: "file",
		tmp_dir: at("run/libpod"),
		static_dir: at("home/libpod"),
		volume_path: at("home/volumes"),
	};
	const network = { network_config_dir: at("home/networks") };
	const storage = { driver: "overlay", graphroot: at("home/storage"), runroot: at("run/storage") };
	const toml = (sections: Record<string, Record<string, string>>) =>
		Object.entries(sections)
			.flatMap(([name, values]) => [
				`[${name}]`,
				...Object.entries(values).map(([key, value]) => `${key} = "${value}"`),
				"",
			])
			.join("\n");
	// Its own are more than root may ask for where it lacks CAP_SYS_RESOURCE.
	const containers = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n\n';
	writeFileSync(at("containers.conf"), containers + toml({ engine, network }));
	writeFileSync(at("storage.conf"), toml({ storage }));
	return { CONTAINERS_CONF: at("containers.conf"), CONTAINERS_STORAGE_CONF: at("storage.conf") };
}

/** As `command` of ./router.ts has it, where the host sees it. */
function routerCommand(dir: string): string[] {
	if (process.env["ROUTER_TEST"] === "binary") return [join(dir, "source/dist/router")];
	return [join(dir, "bun"), join(dir, "source", isBalanced ? "test/kit/balanced-router.ts" : "src/main.ts")];
}

async function run(
	command: readonly string[],
	env: Readonly<Record<string, string>>,
	stdin?: ReadableStream,
): Promise<string> {
	const child = Bun.spawn([...command], { env, cwd: "/", stdin: stdin ?? "ignore", stdout: "pipe", stderr: "pipe" });
	const [text, errors, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	if (code !== 0)
		throw new Error(`${command.slice(command.indexOf("podman")).join(" ")} ended with ${code}: ${errors.trim()}`);
	return text;
}
