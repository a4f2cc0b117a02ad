/** The router under test: as a child process (from source, or the compiled binary) on a free loopback port. */
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Json } from "./exchange.ts";
import { lines } from "./lines.ts";

const ROOT = resolve(import.meta.dir, "../..");
/** A child that has not said where it listens by then is reported with all it printed. */
const START_MS = 20_000;

/** How to start it. */
export interface RouterOptions {
	/** Added to a nearly empty environment: no variable of the developer's shell reaches the router. */
	readonly env?: Record<string, string>;
	/** `router.yaml`, as an object; without it there is no file. It has one worker unless it says otherwise. */
	readonly config?: Json;
	/** Further flags: `["--agent"]`. */
	readonly args?: readonly string[];
	/** `binary` is `dist/router`. Default `source`, or `binary` when `ROUTER_TEST=binary`. */
	readonly source?: "source" | "binary";
	/** A command in place of the router's, which takes its flags. It reads lines from its stdin. */
	readonly command?: readonly string[];
	/** The user that the command runs as, whose its directory is then. */
	readonly uid?: number;
	/** The descriptor of a socket that is opened for it, as systemd does. */
	readonly socket?: number;
}

/** A program of the shell that starts the command behind it with that socket. */
const WITH_SOCKET = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh"];

/** The variable by which a router has one worker whatever the machine has, where its configuration does not say how many. */
export const oneWorker = (config: Json = {}): Record<string, string> =>
	(config["server"] as Json | undefined)?.["workers"] === undefined ? { ROUTER_WORKERS: "1" } : {};

/** Whether the main thread of a router with several workers is to pass connections on, as elsewhere than on Linux. */
export const isBalanced = process.env["ROUTER_TEST_PORT"] === "balanced";

/** A running router. */
export interface RunningRouter {
	/** `http://127.0.0.1:<port>`, no slash at the end. */
	readonly url: string;
	readonly pid: number;
	/** Its working directory; `logs/` and `data/` lie in it. Removed by `stop`. */
	readonly directory: string;
	/** Writes a line to the stdin of a {@link RouterOptions.command}. */
	tell(line: string): void;
	/** Standard output and standard error so far. */
	output(): string;
	/** Resident memory in bytes (Linux). */
	rss(): Promise<number>;
	/** The sum of a metric's samples whose labels contain every given pair; 0 when there is none. */
	metric(name: string, labels?: Record<string, string>): Promise<number>;
	/** Resolves once the output matches (log lines come in batches); rejects after 10 s. */
	printed(pattern: RegExp): Promise<void>;
	/** Resolves when no call is in flight; rejects after 10 s. */
	idle(): Promise<void>;
	/** Ends that one process, at once. */
	stop(): Promise<void>;
}

/** The command line that starts it. Throws when the binary was asked for and is not built. */
export function command(source: "source" | "binary"): string[] {
	const program = isBalanced ? join(import.meta.dir, "balanced-router.ts") : join(ROOT, "src/main.ts");
	if (source === "source") return [process.execPath, program];
	const binary = join(ROOT, "dist/router");
	if (!existsSync(binary)) throw new Error("dist/router is not there: run `make build` first");
	return [binary];
}

/**
 * Starts a router and waits until it is ready. Rejects with what it printed when
 * it ends first or does not come up.
 */
export async function startRouter(options: RouterOptions = {}): Promise<RunningRouter> {
	const directory = mkdtempSync(join(tmpdir(), "router-test-"));
	if (options.uid !== undefined) chownSync(directory, options.uid, options.uid);
	const args = [...(options.args ?? [])];
	if (options.config) {
		const file = join(directory, "router.yaml");
		writeFileSync(file, JSON.stringify(options.config)); // JSON is YAML
		// In front: what follows a `--` is not the router's.
		args.unshift("--config", file);
	}
	const source = options.source ?? (process.env["ROUTER_TEST"] === "binary" ? "binary" : "source");
	const { socket } = options;
	const program = [...(socket === undefined ? [] : WITH_SOCKET), ...(options.command ?? command(source)), ...args];
	const child = Bun.spawn(program, {
		cwd: directory,
		env: {
			PATH: process.env["PATH"] ?? "",
			HOME: directory,
			HOST: "127.0.0.1",
			PORT: "0",
			DATA_DIR: join(directory, "data"),
			LOG_DIR: join(directory, "logs"),
			...oneWorker(options.config),
			...(isBalanced && { ROUTER_TEST_PORT: "balanced" }),
			...options.env,
		},
		stdio: [options.command ? "pipe" : "ignore", "pipe", "pipe", ...(socket === undefined ? [] : [socket])],
	});
	let output = "";
	const listening = new Promise<string>((found, failed) => {
		const read = (line: string) => {
			output += `${line}\n`;
			const url = /listening on (https?:\/\/\S+)/.exec(line)?.[1];
			if (url) found(url.replace(/[/,.]+$/, ""));
		};
		const printed = Promise.all([lines(child.stdout, read), lines(child.stderr, read)]);
		printed.catch(failed);
		// Its end may be seen before its last words; a process that it has started may hold the pipes open for longer.
		child.exited
			.then((code) =>
				Promise.race([printed, Bun.sleep(1_000)]).then(() =>
					failed(new Error(`the router ended with ${code} before it listened:\n${output}`)),
				),
			)
			.catch(failed);
		setTimeout(() => failed(new Error(`the router did not say where it listens:\n${output}`)), START_MS).unref();
	});
	let isWanted = true;
	const stop = async () => {
		isWanted = false;
		child.kill("SIGKILL");
		await child.exited;
		rmSync(directory, { recursive: true, force: true });
	};
	try {
		const url = await listening;
		await ready(url);
		void child.exited.then((code) => {
			// A router that a test ends by a signal of its own says nothing new; one that dies says why the tests behind it fail.
			if (isWanted && code !== 0) console.error(`the router under test ended with ${code}:\n${output.slice(-4000)}`);
		});
		return {
			url,
			pid: child.pid,
			directory,
			tell(line) {
				child.stdin?.write(`${line}\n`);
				child.stdin?.flush();
			},
			output: () => output,
			printed: (pattern) => eventually(() => pattern.test(output), `the output never matched ${pattern}`),
			rss: () => residentBytes(child.pid),
			metric: (name, labels) => metric(url, name, labels),
			idle: () =>
				eventually(async () => (await metric(url, "router_in_flight_requests")) === 0, "calls are still in flight"),
			stop,
		};
	} catch (error) {
		await stop();
		throw error;
	}
}

async function ready(url: string): Promise<void> {
	await eventually(async () => {
		const answer = await fetch(`${url}/health/ready`);
		await answer.body?.cancel();
		return answer.ok;
	}, "the router listens but never gets ready");
}

/** Looks again and again, for 10 s at most: the bound says when to give up, not how fast it has to be. */
async function eventually(holds: () => boolean | Promise<boolean>, otherwise: string): Promise<void> {
	for (let look = 0; look < 400; look++) {
		if (await holds()) return;
		await Bun.sleep(25);
	}
	throw new Error(otherwise);
}

async function residentBytes(pid: number): Promise<number> {
	const status = await Bun.file(`/proc/${pid}/status`).text();
	return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

async function metric(url: string, name: string, labels: Record<string, string> = {}): Promise<number> {
	const text = await (await fetch(`${url}/metrics`)).text();
	const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
	return text
		.split("\n")
		.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
		.filter((line) => wanted.every((pair) => line.includes(pair)))
		.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}
