/** The processes of a bench: each starts on a free port, in a folder of its own, and ends with the bench. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Place, pinned } from "./pins.ts";

/** A running process. Disposing it ends it at once (nobody waits for a drain) and removes its files. */
export interface Running extends AsyncDisposable {
	/** Without a path. */
	readonly url: string;
	readonly pid: number;
	/** ms from the spawn to the first 200 of its health check. */
	readonly readyMs: number;
}

/** How a process is started. */
export interface Program {
	readonly place: Place;
	/** Asked by GET until it answers 200. */
	readonly health: string;
	command(port: number, dir: string): readonly string[];
	env?(port: number, dir: string): Record<string, string>;
}

const START_DEADLINE_MS = 10_000;
const POLL_MS = 2;

/** What there is to be cleared away: processes by their ids, and folders. */
const alive = new Set<number>();
const folders = new Set<string>();

/** Ends every process and removes every folder of this bench. */
function clearAway(): void {
	for (const pid of alive) {
		try {
			process.kill(pid, "SIGKILL");
		} catch {
			// It has ended already.
		}
	}
	for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** A folder that lives as long as the bench, at most. */
export function temporaryFolder(): string {
	const folder = mkdtempSync(join(tmpdir(), "router-bench-"));
	folders.add(folder);
	return folder;
}

/** Removes what {@link temporaryFolder} made. */
export function removeFolder(folder: string): void {
	rmSync(folder, { recursive: true, force: true });
	folders.delete(folder);
}

/** Whatever ends the bench ends its processes. To be called once, first. */
export function clearAwayAtEnd(): void {
	process.on("exit", clearAway);
	for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
		process.on(signal, () => {
			console.error(`\nbench: ended by ${signal}`);
			process.exit(code);
		});
	}
	for (const event of ["uncaughtException", "unhandledRejection"]) {
		process.on(event, (error: Error) => {
			// What the bench itself says needs no stack.
			console.error(error.message.startsWith("bench: ") ? error.message : error);
			process.exit(1);
		});
	}
}

/** Spawns `command` at its place; it ends with the bench, if not before. */
export function spawn<Out extends "pipe" | Bun.BunFile>(
	place: Place,
	command: readonly string[],
	{ env, stdout, cwd }: { env?: Record<string, string>; stdout: Out; cwd?: string },
) {
	const child = Bun.spawn(pinned(place, command), {
		// Nothing of the caller's environment: a real key or proxy there would change what is measured.
		env: { PATH: process.env.PATH ?? "", ...env },
		stdin: "ignore",
		stdout,
		stderr: stdout === "pipe" ? "inherit" : stdout,
		...(cwd ? { cwd } : {}),
	});
	alive.add(child.pid);
	void child.exited.then(() => alive.delete(child.pid));
	return child;
}

/** A port nobody listens on right now. */
function freePort(): number {
	const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
	const { port } = probe;
	probe.stop(true);
	return port;
}

/** Starts a program; throws with what it said where it does not answer its health check in time. */
export async function start(program: Program): Promise<Running> {
	const port = freePort();
	const url = `http://127.0.0.1:${port}`;
	const dir = temporaryFolder();
	mkdirSync(join(dir, "cwd"));
	const output = Bun.file(join(dir, "output"));
	const command = program.command(port, dir);
	const began = performance.now();
	const child = spawn(program.place, command, {
		cwd: join(dir, "cwd"),
		stdout: output,
		...(program.env ? { env: program.env(port, dir) } : {}),
	});
	const stop = async () => {
		child.kill("SIGKILL");
		await child.exited;
		removeFolder(dir);
	};
	while (true) {
		const ready = await fetch(url + program.health).then(
			(answer) => answer.ok,
			// Refused: it does not listen yet. The deadline below ends the waiting.
			() => false,
		);
		const readyMs = performance.now() - began;
		if (ready) return { url, pid: child.pid, readyMs, [Symbol.asyncDispose]: stop };
		if (child.exitCode !== null || readyMs > START_DEADLINE_MS) {
			const said = (await output.text()).slice(-2000);
			await stop();
			throw new Error(`bench: ${command.join(" ")} did not answer ${program.health} with 200. It said:\n${said}`);
		}
		await Bun.sleep(POLL_MS);
	}
}
