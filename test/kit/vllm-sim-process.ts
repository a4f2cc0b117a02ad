/** The look-alike of vLLM as a plain process on a loopback port: no Docker, for routing tests and benchmarks. */
import { lines } from "./lines.ts";
import { SIM_SOURCE, simBinary } from "./vllm-sim-binary.ts";

/** A start may be told to take long; this is for one that never comes. */
const START_MS = 30_000;

/** How to start it. */
export interface SimOptions {
	/** The positional argument. Default `Qwen/Qwen3-0.6B`. */
	readonly model?: string;
	/** Further arguments of vLLM: `["--served-model-name", "qwen", "--api-key", "k"]`. */
	readonly args?: readonly string[];
	/** SIM_… switches (./vllm-sim/switches.ts) and vLLM's own variables. No other reaches it. */
	readonly env?: Readonly<Record<string, string>>;
	/** Default: a free one. */
	readonly port?: number;
	/** Run the compiled executable instead of the source: starts faster, after one compilation. */
	readonly compiled?: boolean;
	/** `false`: don't wait until it serves; `origin` is empty unless a port was given. */
	readonly ready?: boolean;
}

/** A running sim. */
export interface Sim {
	/** `http://127.0.0.1:<port>`. */
	readonly origin: string;
	readonly pid: number;
	/** Its exit code; 128 + n for signal n. */
	readonly exited: Promise<number>;
	/** All it printed so far, both streams. */
	output(): string;
	/** The sum of a metric's samples over all engines; 0 when there is none. */
	metric(name: string): Promise<number>;
	/** An order to the running sim: `{ hang: true }`, `{ crash: "exit" | "engine" }`, `{ speed: 1 }`. */
	control(order: { hang?: boolean; crash?: "exit" | "engine"; speed?: number }): Promise<void>;
	/** That one process; resolves when it has ended. */
	kill(signal: NodeJS.Signals): Promise<number>;
	/** SIGKILL. */
	stop(): Promise<void>;
	[Symbol.asyncDispose](): Promise<void>;
}

/** Starts one and waits until it serves. Rejects with what it printed when it ends first. */
export async function startSim(options: SimOptions = {}): Promise<Sim> {
	const program = options.compiled ? [await simBinary()] : [process.execPath, "--no-env-file", SIM_SOURCE];
	const args = [options.model ?? "Qwen/Qwen3-0.6B", "--host", "127.0.0.1", "--port", String(options.port ?? 0)];
	const child = Bun.spawn([...program, "serve", ...args, ...(options.args ?? [])], {
		env: { SIM_START_MS: "40", ...options.env },
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
	});
	let output = "";
	let origin = options.port ? `http://127.0.0.1:${options.port}` : "";
	const serving = new Promise<void>((found, failed) => {
		const read = (line: string) => {
			output += `${line}\n`;
			const port = /Starting vLLM API server \d+ on http:\/\/[^:]+:(\d+)/.exec(line)?.[1];
			if (port) origin = `http://127.0.0.1:${port}`;
			// The two lines come on different streams, in any order.
			if (origin && output.includes("Application startup complete.")) found();
		};
		const ends = [lines(child.stdout, read), lines(child.stderr, read)];
		Promise.all([child.exited, ...ends]).then(
			([code]) => failed(new Error(`the sim ended with ${code} before it served:\n${output}`)),
			failed,
		);
		setTimeout(() => failed(new Error(`the sim did not come up:\n${output}`)), START_MS).unref();
	});
	const kill = async (signal: NodeJS.Signals) => {
		child.kill(signal);
		return child.exited;
	};
	const stop = async () => void (await kill("SIGKILL"));
	if (options.ready === false) serving.catch(() => {});
	else {
		await serving.catch(async (error) => {
			await stop();
			throw error;
		});
	}
	return {
		get origin() {
			return origin;
		},
		pid: child.pid,
		exited: child.exited,
		output: () => output,
		metric: async (name) => sum(await (await fetch(`${origin}/metrics`)).text(), name),
		control: async (order) => {
			const body = JSON.stringify(order);
			const answer = await fetch(`${origin}/sim`, { method: "POST", body });
			if (!answer.ok) throw new Error(`the sim refused ${body}: ${await answer.text()}`);
		},
		kill,
		stop,
		[Symbol.asyncDispose]: stop,
	};
}

const sum = (text: string, name: string) =>
	text
		.split("\n")
		.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
		.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
