/**
 * Installs parts (./table.ts) from Debian's packages, where this machine is a Debian or Ubuntu and the user is root:
 *
 *     bun test/parts/install.ts wrk jq
 *
 * What is missing after that is said; it ends with 0 all the same, but where `CI=true` with 1.
 */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { clientsProblem, installClients } from "./clients.ts";
import { LANGCHAIN } from "./langchain.ts";
import { missingPrograms, PARTS, type Part, type PartName } from "./table.ts";
import { ZEROMQ } from "./zeromq.ts";

/** The machine, for a test to stand in for. */
export interface Host {
	/** Whether its packages may be installed: it has apt, and the user is root. */
	readonly mayInstall: boolean;
	/** Programs of a part that are not there. */
	readonly missing: (name: PartName) => readonly string[];
	/** Runs `apt-get` or `apt-cache` to its end. */
	readonly run: (...command: string[]) => Promise<{ code: number; output: string }>;
	/** The file that keeps packages from starting their services (invoke-rc.d asks it); the tests start their own. */
	readonly policy: string;
	/** Takes what there is to say. */
	readonly say: (line: string) => void;
}

/** The one that this runs on. */
export const THIS_MACHINE: Host = {
	mayInstall: process.getuid?.() === 0 && Bun.which("apt-get") !== null,
	missing: missingPrograms,
	run,
	policy: "/usr/sbin/policy-rc.d",
	say: console.log,
};

/** Installs what is missing of these parts. @returns the programs that are missing still */
export async function install(names: readonly PartName[], host: Host = THIS_MACHINE): Promise<string[]> {
	const still = () => [...new Set(names.flatMap(host.missing))];
	if (still().length === 0 || !host.mayInstall) return still();
	host.say(`installing from the distribution's packages: ${still().join(", ")}`);
	await apt(host, "update", "-qq");
	const packages = await packagesFor(names, host);
	const flags = ["-qq", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"];
	await withoutServices(host, async () => {
		// A list of which one is unknown or broken installs nothing: then one by one.
		const { code } = await host.run("apt-get", "install", ...flags, ...packages);
		if (code !== 0) for (const each of packages) await apt(host, "install", ...flags, each);
	});
	return still();
}

/** The packages that bring the missing programs: of each program the first that the distribution's lists know. */
async function packagesFor(names: readonly PartName[], { missing, run }: Host): Promise<string[]> {
	const wanted = new Set<string>();
	for (const name of names) {
		const { programs }: Part = PARTS[name];
		for (const program of missing(name)) {
			const choices = programs[program]!;
			const known = await Promise.all(choices.map(async (each) => (await run("apt-cache", "show", each)).code === 0));
			wanted.add(choices.find((_, at) => known[at]) ?? choices.at(-1)!);
		}
	}
	return [...wanted];
}

/** Says the last lines of what failed. */
async function apt({ run, say }: Host, ...args: string[]): Promise<void> {
	const { code, output } = await run("apt-get", ...args);
	if (code !== 0) say(`apt-get ${args.join(" ")} failed:\n${output.trim().split("\n").slice(-5).join("\n")}`);
}

/** Services of the packages would take ports and run on after the tests. A policy that the machine has stays. */
async function withoutServices({ policy }: Host, work: () => Promise<void>): Promise<void> {
	if (existsSync(policy)) return work();
	writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
	try {
		await work();
	} finally {
		rmSync(policy, { force: true });
	}
}

async function run(...command: string[]): Promise<{ code: number; output: string }> {
	const child = Bun.spawn(command, {
		env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
	});
	const [out, err, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	return { code, output: out + err };
}

if (import.meta.main) {
	const names = process.argv.slice(2);
	const unknown = names.filter((name) => !(name in PARTS));
	if (unknown.length > 0) {
		console.error(`no part is called ${unknown.join(", ")}; there are ${Object.keys(PARTS).join(", ")}`);
		process.exit(2);
	}
	const missing = await install(names as PartName[]);
	for (const [name, venv] of [
		["langchain", LANGCHAIN],
		["zeromq", ZEROMQ],
	] as const) {
		if (!names.includes(name)) continue;
		await venv.install();
		if (venv.problem()) missing.push(name);
	}
	if (names.includes("clients")) {
		await installClients();
		if (clientsProblem()) missing.push("clients");
	}
	for (const name of names as PartName[]) {
		if ([name, ...missingPrograms(name)].some((each) => missing.includes(each)))
			console.error(`missing: ${name} (${PARTS[name].how})`);
	}
	if (missing.length > 0 && process.env["CI"] === "true") process.exit(1);
}
