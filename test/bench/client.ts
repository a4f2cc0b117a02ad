/** Loads a URL from a process of its own: wrk where it is installed, else load.ts. */
import { join } from "node:path";
import { KEY } from "./subject.ts";

/** What the clients saw; latencies in ms over whole answers. */
export interface Load {
	calls: number;
	failed: number;
	p50: number;
	p99: number;
}

const wrk = Bun.which("wrk");

/** Which client loads, for the table's heading. */
export const CLIENT = wrk ? "wrk" : "our own client";

/**
 * Posts `body` to `url` over `connections` kept-alive connections for `seconds` (whole ones: wrk knows no others).
 * Throws where the client failed, answered nothing, or saw a failed call: such numbers mean nothing.
 */
export async function load(url: string, body: string, connections: number, seconds: number): Promise<Load> {
	const file = (name: string) => join(import.meta.dir, name);
	const command = wrk
		? [wrk, "-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "20s", "-s", file("load.lua"), url]
		: [process.execPath, file("load.ts"), url, String(connections), String(seconds)];
	const child = Bun.spawn(command, {
		env: { PATH: process.env.PATH ?? "", BUN_CONFIG_MAX_HTTP_REQUESTS: "65535", BENCH_BODY: body, BENCH_KEY: KEY },
		stdout: "pipe",
		stderr: "inherit",
	});
	const output = await new Response(child.stdout).text();
	const last = output.trim().split("\n").at(-1) ?? "";
	if ((await child.exited) !== 0 || !last.startsWith("{")) throw new Error(`bench: ${command[0]} failed:\n${output}`);
	const seen = JSON.parse(last) as Load;
	if (seen.failed > 0 || seen.calls === 0) {
		throw new Error(`bench: ${seen.failed} calls to ${url} failed, ${seen.calls} succeeded: no numbers to compare`);
	}
	return seen;
}
