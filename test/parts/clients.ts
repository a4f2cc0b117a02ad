/** The clients of ../clients, from the npm registry, in a folder of their own: what `make clients` installs, and `make test` where it may install. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

const SOURCE = resolve(import.meta.dir, "../clients");
/** Where they lie, with the scripts beside them that use them. */
const FOLDER = resolve(import.meta.dir, "../../node_modules/.clients");
/** The lock file that was installed, written last. */
const STAMP = join(FOLDER, "installed.lock");
const LOCK = join(SOURCE, "bun.lock");

/** Why they can't be used here; `undefined` where they can. */
export function clientsProblem(): string | undefined {
	if (!existsSync(STAMP)) return "they are not installed";
	return readFileSync(STAMP, "utf8") === readFileSync(LOCK, "utf8") ? undefined : "other versions are installed";
}

/** Puts the scripts beside the packages, from where they find them. */
export function copyDrivers(): void {
	const drivers = join(FOLDER, "drivers");
	rmSync(drivers, { recursive: true, force: true });
	cpSync(join(SOURCE, "drivers"), drivers, { recursive: true });
}

/** Installs them where they are not there: no install script runs. What fails is said. */
export async function installClients(say: (line: string) => void = console.log): Promise<void> {
	if (!clientsProblem()) return;
	say("installing the clients of test/clients from the npm registry");
	mkdirSync(FOLDER, { recursive: true });
	rmSync(STAMP, { force: true });
	for (const name of ["package.json", "bun.lock"]) cpSync(join(SOURCE, name), join(FOLDER, name));
	const child = Bun.spawn([process.execPath, "install", "--frozen-lockfile", "--ignore-scripts"], {
		cwd: FOLDER,
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
	});
	const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
	if ((await child.exited) !== 0) {
		say(`bun install failed:\n${(out + err).trim().split("\n").slice(-5).join("\n")}`);
		return;
	}
	writeFileSync(STAMP, readFileSync(LOCK));
}
