/**
 * Run as a program, as the router is: `bun test/kit/ended-workers.ts <flags of the router>`. It is the router from source, whose worker threads can
 * be ended: by a line on stdin, `terminate` or `throw`, the worker that has run for longest ends so. The router itself has no such hook. Once it is
 * over a line is printed: `worker over`.
 */
import { join } from "node:path";
import { lines } from "./lines.ts";

// Else the router would start anew, and this would be gone.
process.env["BUN_CONFIG_MAX_HTTP_REQUESTS"] ??= "65535";
if (process.env["ROUTER_TEST_PORT"] === "balanced") await import("./balanced-platform.ts");

const Real = globalThis.Worker;
const running: Worker[] = [];
const throwing = new BroadcastChannel("throwing-worker");
globalThis.Worker = class extends Real {
	constructor(file: string | URL, options?: WorkerOptions) {
		const isRouter = String(file).includes("worker-thread");
		const preload = [join(import.meta.dir, "throwing-worker.ts")];
		super(file, isRouter ? { ...options, preload } : options);
		if (!isRouter) return;
		const worker = this as unknown as Worker;
		running.push(worker);
		this.addEventListener("close", () => {
			running.splice(running.indexOf(worker), 1);
			console.log("worker over");
		});
	}
} as typeof Worker;

void lines(Bun.stdin.stream(), (line) => {
	const [oldest] = running;
	if (line === "terminate") oldest?.terminate();
	else if (line === "throw" && oldest) throwing.postMessage(oldest.threadId);
});

const { run } = await import("../../src/cli.ts");
process.exitCode = await run(process.argv.slice(2), process.env);
process.exit();
