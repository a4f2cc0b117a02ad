/** The processes of a bench: upstream, bare relay, router. Each starts on a free port and is stopped by its own pid. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** A running process under test. Disposing it ends it at once (nobody waits for a drain) and removes its files. */
export interface Subject extends AsyncDisposable {
	readonly url: string;
	readonly pid: number;
	/** ms from the spawn to the first 200 of its health check. */
	readonly readyMs: number;
}

const START_DEADLINE_MS = 10_000;
const POLL_MS = 2;
/** Bun allows 256 fetches at once unless told otherwise at process start; the router tells itself. */
const FETCH_LIMIT = { BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" };

/** A port nobody listens on right now. */
function freePort(): number {
	const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const { port } = probe;
	probe.stop(true);
	return port;
}

async function start(
	command: (port: number) => string[],
	health: string,
	env: (port: number, dir: string) => Record<string, string>,
): Promise<Subject> {
	const port = freePort();
	const url = `http://127.0.0.1:${port}`;
	const dir = mkdtempSync(join(tmpdir(), "router-bench-"));
	const output = join(dir, "output");
	const began = performance.now();
	const child = Bun.spawn(command(port), {
		cwd: dir,
		// Nothing of the caller's environment: a real key or proxy there would change what is measured.
		env: { PATH: process.env.PATH ?? "", ...env(port, dir) },
		stdout: Bun.file(output),
		stderr: Bun.file(output),
	});
	const stop = async () => {
		child.kill("SIGKILL");
		await child.exited;
		rmSync(dir, { recursive: true, force: true });
	};
	while (true) {
		const ready = await fetch(url + health).then(
			(answer) => answer.ok,
			// Refused: it does not listen yet. The deadline below ends the waiting.
			() => false,
		);
		const readyMs = performance.now() - began;
		if (ready) return { url, pid: child.pid, readyMs, [Symbol.asyncDispose]: stop };
		if (child.exitCode !== null || readyMs > START_DEADLINE_MS) {
			const said = readFileSync(output, "utf8").slice(-2000);
			await stop();
			throw new Error(`bench: ${command(port).join(" ")} did not answer ${health} with 200. It said:\n${said}`);
		}
		await Bun.sleep(POLL_MS);
	}
}

const source = (name: string) => join(import.meta.dir, name);

/** The upstream; `url` ends without `/v1`. */
export const startUpstream = () =>
	start(
		(port) => [process.execPath, source("upstream.ts"), String(port)],
		"/stats",
		() => FETCH_LIMIT,
	);

/** The bare relay in front of `upstream` (a URL). */
export const startRelay = (upstream: string) =>
	start(
		(port) => [process.execPath, source("relay.ts"), String(port), upstream],
		"/",
		() => FETCH_LIMIT,
	);

/**
 * The compiled router in front of `upstream`, as people run it: metrics, validation and the log on. It is started
 * without the variable for its fetch limit, so that its own re-exec is in the measured start.
 */
export const startRouter = (upstream: string, binary: string, settings?: object) =>
	start(
		() => [resolve(binary)],
		"/health/ready",
		(port, dir) => ({
			...(settings ? { ROUTER_CONFIG: configIn(dir, settings) } : {}),
			HOST: "127.0.0.1",
			PORT: String(port),
			OPENAI_BASE_URL: `${upstream}/v1`,
			OPENAI_API_KEY: "bench",
			DATA_DIR: join(dir, "data"),
			LOG_DIR: join(dir, "logs"),
		}),
	);

/** The key of {@link GUARDED}. */
export const KEY = "bench-key-of-the-client";

/** A router that asks for a key, and counts, limits and prices what comes with it: nothing of it is ever reached. */
export const GUARDED = {
	keys: [
		...Array.from({ length: 9 }, (_, at) => ({ name: `other-${at}`, key: `another-key-${at}` })),
		{
			name: "bench",
			key: KEY,
			rpm: 1e9,
			tpm: 1e9,
			concurrency: 1e6,
			input: 1e6,
			budget: { usd: 1e6, per: "month" },
		},
	],
	limits: { models: { "openai/*": { rpm: 1e9, concurrency: 1e6 } } },
	prices: { "openai/*": { input: 0.25, output: 2, cached: 0.025 } },
};

function configIn(dir: string, settings: object): string {
	const file = join(dir, "router.yaml");
	writeFileSync(file, JSON.stringify(settings)); // JSON is YAML
	return file;
}
