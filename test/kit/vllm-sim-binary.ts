/** The look-alike of vLLM as one executable, and as the root of an image. Compiled once per machine and source. */
import {
	chmodSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	utimesSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** One that no test used for so long is deleted. */
const KEEP_MS = 24 * 3_600_000;

/** Where the sim starts, for those who run it from source. */
export const SIM_SOURCE = join(import.meta.dir, "vllm-sim/main.ts");

/**
 * The image's settings: as in the real one the entry point is `vllm serve`. `SIM_DEVICE`: without `--gpus` it finds no
 * device.
 */
export const SIM_IMAGE = {
	Entrypoint: ["vllm", "serve"],
	Env: ["PATH=/usr/local/bin", "HOME=/root", "SIM_DEVICE=cuda"],
	WorkingDir: "/root",
	ExposedPorts: { "8000/tcp": {} },
} as const;

/** What the executable is made of. */
function contentHash(): string {
	const hash = new Bun.CryptoHasher("sha256").update(Bun.version);
	const own = readdirSync(dirname(SIM_SOURCE)).map((name) => join("vllm-sim", name));
	const others = ["random.ts", "sample-replies.ts", "scripted-steps.ts", "vllm-sim-binary.ts"];
	for (const file of [...own.sort(), ...others, "../../src/agent/vllm/zmtp.ts"]) {
		hash.update(file).update(readFileSync(join(import.meta.dir, file)));
	}
	return hash.digest("hex").slice(0, 16);
}

/**
 * A directory that holds `usr/local/bin/vllm` and the shared libraries it needs: the file system of the image.
 * Made in a directory beside it and moved there, so that two test runs don't see half of one.
 */
export async function simRoot(): Promise<string> {
	const root = join(tmpdir(), `router-vllm-sim-${contentHash()}`);
	if (existsSync(root)) {
		utimesSync(root, new Date(), new Date());
		return root;
	}
	forgetOld();
	const draft = mkdtempSync(`${root}-`);
	try {
		const binary = join(draft, "usr/local/bin/vllm");
		mkdirSync(dirname(binary), { recursive: true });
		for (const empty of ["tmp", "root", "proc", "dev", "sys", "etc"]) mkdirSync(join(draft, empty));
		const flags = ["--format=esm", "--bytecode", "--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"];
		await output([process.execPath, "build", SIM_SOURCE, "--compile", ...flags, "--outfile", binary], draft);
		// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and the loader by its path alone.
		const libraries = (await output(["ldd", binary])).matchAll(/(\/\S+) \(0x/g);
		for (const [, library] of libraries) {
			const copy = join(draft, library!);
			mkdirSync(dirname(copy), { recursive: true });
			await Bun.write(copy, Bun.file(library!));
			chmodSync(copy, 0o755);
		}
		chmodSync(draft, 0o755);
		renameSync(draft, root);
	} catch (error) {
		rmSync(draft, { recursive: true, force: true });
		// Somebody else was faster.
		if (!existsSync(root)) throw error;
	}
	return root;
}

/** Each is 110 MB, and every change of the source makes one. */
function forgetOld(): void {
	for (const name of readdirSync(tmpdir()).filter((each) => each.startsWith("router-vllm-sim-"))) {
		const path = join(tmpdir(), name);
		const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: Date.now() };
		if (Date.now() - mtimeMs > KEEP_MS) rmSync(path, { recursive: true, force: true });
	}
}

/** The executable. */
export const simBinary = async (): Promise<string> => join(await simRoot(), "usr/local/bin/vllm");

async function output(command: string[], cwd?: string): Promise<string> {
	const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe", stdin: "ignore", ...(cwd && { cwd }) });
	const [text, errors, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}:\n${errors}`);
	return text;
}
