/** Loads a URL from a process of its own: wrk where it is installed, else load.ts; streams.ts where events have pauses. */
import { join } from "node:path";
import { addressOf, isTimedByEvent, type Scenario } from "./loads.ts";
import { cpuMicros } from "./measure.ts";
import { removeFolder, spawn, temporaryFolder } from "./processes.ts";
import { KEY } from "./subject.ts";

/** What the clients saw; latencies in ms over whole answers, or over events on their way. */
export interface Load {
	/** Answers with status 200, or events. */
	calls: number;
	/** Other statuses, and connections that failed. */
	failed: number;
	/** How long it was counted. */
	seconds: number;
	p50: number;
	p99: number;
	p999: number;
}

const wrk = Bun.which("wrk");

/** Which client loads, for the table's heading. */
export const CLIENT = wrk ? "wrk" : "our own client (wrk is not installed)";

/** The load in one line of its client's output. Throws where the client said anything else. */
export function parseLoad(line: string): Load {
	const { calls, failed, seconds, p50, p99, p999 } = JSON.parse(line.startsWith("{") ? line : "{}") as Partial<Load>;
	const load = { calls, failed, seconds, p50, p99, p999 };
	for (const [name, value] of Object.entries(load)) {
		if (!Number.isFinite(value)) throw new Error(`bench: the load's ${name} is missing in: ${line}`);
	}
	return load as Load;
}

/** Called when counting begins and when it has ended, to read what the processes have cost. */
export interface Window {
	began(): void;
	ended(): void;
}

/**
 * Sends the scenario's request over its connections to a process at `url`, for `seconds` (whole ones: wrk knows no others).
 * `cpu` is what the client itself took in the window, µs. Throws where the client failed.
 */
export async function load(
	url: string,
	scenario: Scenario,
	seconds: number,
	window: Window,
): Promise<Load & { cpu: number }> {
	const folder = temporaryFolder();
	const body = join(folder, "body.json");
	await Bun.write(body, scenario.body);
	const address = addressOf(url, scenario);
	const { connections } = scenario;
	const own = (name: string) => [
		...[process.execPath, "--no-env-file", join(import.meta.dir, name)],
		...[address, String(connections), String(seconds)],
	];
	const script = join(import.meta.dir, "load.lua");
	const isOpenedFirst = isTimedByEvent(scenario);
	const command = isOpenedFirst
		? own("streams.ts")
		: wrk
			? [wrk, "-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "20s", "-s", script, address]
			: own("load.ts");
	if (!isOpenedFirst) window.began();
	const child = spawn("around", command, {
		env: { BUN_CONFIG_MAX_HTTP_REQUESTS: "65535", BENCH_BODY: body, BENCH_KEY: KEY },
		stdout: "pipe",
	});
	let cpuBefore = 0;
	let output = "";
	const decoder = new TextDecoder();
	for await (const bytes of child.stdout as ReadableStream<Uint8Array>) {
		const isFirst = output === "";
		output += decoder.decode(bytes, { stream: true });
		if (!isOpenedFirst || !isFirst) continue;
		cpuBefore = cpuMicros(child.pid);
		window.began();
	}
	window.ended();
	const code = await child.exited;
	removeFolder(folder);
	const last = output.trim().split("\n").at(-1) ?? "";
	if (code !== 0 || !last.startsWith("{")) throw new Error(`bench: ${command.join(" ")} failed:\n${output}`);
	return { ...parseLoad(last), cpu: Number(child.resourceUsage()?.cpuTime.total ?? 0) - cpuBefore };
}
