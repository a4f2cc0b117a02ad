/**
 * `make release`: the router for every platform, into dist/release, with sums, a list of contents, and where it comes from.
 *
 *     bun .ci/release/release.ts [--out DIRECTORY] [TARGET …]
 *
 * DIRECTORY is removed first: it may be new, empty, or hold an earlier release. Every artifact is the same bundle behind another Bun. Those come from the npm registry by the lock file beside this one.
 */
import {
	copyFileSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { HEAD_BYTES, kindOf } from "./executable.ts";
import { readLock, shipped } from "./lock.ts";
import { type Artifact, notes } from "./notes.ts";
import { whyKept } from "./place.ts";
import { type Origin, provenance } from "./provenance.ts";
import { type Component, sbom } from "./sbom.ts";
import { commitOf, sha256, sourceSum } from "./source.ts";
import { fileName, TARGETS, type Target } from "./targets.ts";

const ROOT = resolve(import.meta.dir, "../..");
const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" } } });
const out = resolve(values.out ?? join(ROOT, "dist/release"));
const unknown = positionals.filter((name) => !TARGETS.some((each) => each.name === name));
if (unknown.length > 0)
	fail(`no target is called ${unknown.join(", ")}; there are ${TARGETS.map(({ name }) => name).join(", ")}`);
const targets = positionals.length > 0 ? TARGETS.filter(({ name }) => positionals.includes(name)) : TARGETS;

// The default is a build's own, be it of one that failed half-way.
const kept = values.out === undefined ? undefined : whyKept(out);
if (kept !== undefined) fail(kept);

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const version: string = manifest.version;
const runtimes = await fetchRuntimes();
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const artifacts: Artifact[] = [];
for (const target of targets) artifacts.push(await compile(target));

const commit = commitOf(ROOT);
write(`router-${version}.cdx.json`, json(sbom(product(), components())));
write("NOTES.md", notes(version, artifacts));
copyFileSync(join(ROOT, "install.sh"), join(out, "install.sh"));
write(`router-${version}.provenance.json`, json(provenance(origin())));
write(
	"SHA256SUMS",
	sums()
		.map(({ name, sha256 }) => `${sha256}  ${name}\n`)
		.join(""),
);
console.log(`${artifacts.length} artifacts in ${out}`);

/** Installs every platform's Bun, whatever this one is. @returns the folder of a package */
async function fetchRuntimes(): Promise<(name: string) => string> {
	const place = join(ROOT, "node_modules/.release");
	mkdirSync(place, { recursive: true });
	for (const file of ["package.json", "bun.lock"]) copyFileSync(join(import.meta.dir, file), join(place, file));
	// Without the flags bun leaves out what can't run here. The integrity of each is the lock file's.
	await run([process.execPath, "install", "--frozen-lockfile", "--ignore-scripts", "--os", "*", "--cpu", "*"], place);
	const folder = (name: string) => join(place, "node_modules", name);
	for (const { runtime } of TARGETS) {
		const found = JSON.parse(readFileSync(join(folder(runtime), "package.json"), "utf8")).version;
		if (found !== manifest.devDependencies.bun) {
			fail(
				`${runtime} is ${found} and bun in package.json ${manifest.devDependencies.bun}: pin the same in .ci/release`,
			);
		}
	}
	return folder;
}

async function compile(target: Target): Promise<Artifact> {
	// The executable remembers the name that it is compiled to.
	const scratch = mkdtempSync(join(tmpdir(), "router-release-"));
	const programs = join(runtimes(target.runtime), "bin");
	const runtime = join(programs, readdirSync(programs).find((name) => /^bun(\.exe)?$/.test(name))!);
	const flags = [
		`--target=${target.bun}`,
		`--compile-executable-path=${runtime}`,
		`--outfile=${join(scratch, "router")}`,
	];
	await run([process.execPath, "--no-env-file", "--silent", "run", "build", ...flags], ROOT);
	const made = join(scratch, readdirSync(scratch).find((name) => /^router(\.exe)?$/.test(name))!);
	const file = fileName(version, target);
	const bytes = await Bun.file(made).bytes();
	const kind = kindOf(bytes.subarray(0, HEAD_BYTES));
	if (kind?.format !== target.format || kind.machine !== target.machine) {
		fail(`${file} is no ${target.format} executable for ${target.machine}`);
	}
	if (Buffer.from(bytes.buffer).includes(ROOT))
		fail(`${file} holds the path of this checkout, ${ROOT}: see \`define\` in package.json`);
	try {
		renameSync(made, join(out, file));
	} catch {
		// Another file system.
		await Bun.write(join(out, file), bytes, { mode: 0o755 });
	}
	rmSync(scratch, { recursive: true, force: true });
	console.log(`${file}: ${bytes.length} bytes`);
	return { target, file, bytes: bytes.length, sha256: sha256(bytes) };
}

function components(): Component[] {
	const own = shipped(readLock(ROOT)).map((each) => {
		const { license } = JSON.parse(readFileSync(join(ROOT, "node_modules", each.path, "package.json"), "utf8"));
		return { ...each, license: typeof license === "string" ? license : license?.type };
	});
	// Bun is in every artifact, too.
	const used = usedRuntimes().map((each) => ({ ...each, key: each.name, dependsOn: [], license: "MIT" }));
	return [...own, ...used];
}

function usedRuntimes(): Origin["runtimes"] {
	const { packages } = readLock(import.meta.dir);
	return targets.map(({ runtime }) => {
		const [spec, , , integrity] = packages[runtime]!;
		return { name: runtime, version: spec.slice(spec.lastIndexOf("@") + 1), integrity };
	});
}

function product(): Parameters<typeof sbom>[0] {
	const dependsOn = [...Object.keys(manifest.dependencies), ...targets.map(({ runtime }) => runtime)];
	return { name: manifest.name, version, license: manifest.license, dependsOn, committed: commit?.when };
}

function origin(): Origin {
	return {
		version,
		files: sums(),
		commit,
		source: sourceSum(ROOT),
		lock: sha256(readFileSync(join(ROOT, "bun.lock"))),
		builder: { bun: Bun.version, platform: `${process.platform}-${process.arch}` },
		runtimes: usedRuntimes(),
	};
}

/** Every file that is there by now, by name. Artifacts are not read a second time. */
function sums(): { name: string; sha256: string }[] {
	const known = new Map(artifacts.map(({ file, sha256 }) => [file, sha256]));
	const names = readdirSync(out).filter((name) => statSync(join(out, name)).isFile());
	return names.sort().map((name) => ({ name, sha256: known.get(name) ?? sha256(readFileSync(join(out, name))) }));
}

function write(name: string, text: string): void {
	writeFileSync(join(out, name), text);
}

function json(value: object): string {
	return `${JSON.stringify(value, null, "\t")}\n`;
}

async function run(command: string[], cwd: string): Promise<void> {
	const child = Bun.spawn(command, { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
	const [text, errors, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	if (code !== 0) fail(`${command.slice(1).join(" ")} ended with ${code}:\n${text}${errors}`);
}

function fail(message: string): never {
	console.error(`release: ${message}`);
	process.exit(1);
}
