/** A release: what its files say of themselves, and that a build is the same bytes wherever it is made. */
import { afterAll, describe, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import Ajv from "ajv";
import { HEAD_BYTES, kindOf } from "../.ci/release/executable.ts";
import { readLock, shipped } from "../.ci/release/lock.ts";
import { notes } from "../.ci/release/notes.ts";
import { whyKept } from "../.ci/release/place.ts";
import { provenance } from "../.ci/release/provenance.ts";
import { type Component, hex, purl, sbom } from "../.ci/release/sbom.ts";
import { commitOf, sourceSum } from "../.ci/release/source.ts";
import { fileName, TARGETS } from "../.ci/release/targets.ts";
import { readTo } from "./kit/lines.ts";

const ROOT = join(import.meta.dir, "..");
const RELEASE = join(ROOT, ".ci/release");
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const dir = mkdtempSync(join(tmpdir(), "router-release-test-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const lock = readLock(ROOT);
const SUM = `sha512-${Buffer.alloc(64, 7).toString("base64")}`;

describe("the head of an executable", () => {
	const bytes = (length: number, ...parts: readonly [offset: number, ...bytes: number[]][]) => {
		const head = new Uint8Array(length);
		for (const [offset, ...values] of parts) head.set(values, offset);
		return head;
	};
	const elf = (machine: number, type = 3, width = 2) =>
		bytes(64, [0, 0x7f, 0x45, 0x4c, 0x46, width, 1], [16, type, 0, machine]);
	const mach = (cpu: number, type = 2) => bytes(32, [0, 0xcf, 0xfa, 0xed, 0xfe, cpu, 0, 0, 1], [12, type]);
	const pe = (machine: [number, number], flags = 2, magic = 0x0b) =>
		bytes(256, [0, 0x4d, 0x5a], [0x3c, 0x80], [0x80, 0x50, 0x45, 0, 0, ...machine], [0x96, flags], [0x98, magic, 2]);

	test.each([
		["nothing", new Uint8Array()],
		["a script", new TextEncoder().encode("#!/bin/sh\necho hello to all of you\n")],
		["an ELF of 32 bits", elf(0x3e, 3, 1)],
		["an ELF that is an object file", elf(0x3e, 1)],
		["an ELF for RISC-V", elf(0xf3)],
		["a Mach-O library", mach(7, 6)],
		["a DOS program without a PE header", bytes(64, [0, 0x4d, 0x5a])],
		["a PE whose header lies beyond its end", bytes(64, [0, 0x4d, 0x5a], [0x3c, 0xff, 0xff, 0xff, 0x7f])],
		["a PE of 32 bits", pe([0x64, 0x86], 2, 0x0a).map((byte, at) => (at === 0x99 ? 1 : byte))],
		["a PE for another machine", pe([0x4c, 0x01])],
		["a PE that is no executable", pe([0x64, 0x86], 0)],
	] as [string, Uint8Array][])("of %s is none", (_, head) => {
		expect(kindOf(head)).toBeUndefined();
	});

	test("says format and machine", () => {
		expect(kindOf(elf(0x3e))).toEqual({ format: "ELF", machine: "x64" });
		expect(kindOf(elf(0xb7, 2))).toEqual({ format: "ELF", machine: "arm64" });
		expect(kindOf(mach(7))).toEqual({ format: "Mach-O", machine: "x64" });
		expect(kindOf(mach(12))).toEqual({ format: "Mach-O", machine: "arm64" });
		expect(kindOf(pe([0x64, 0x86]))).toEqual({ format: "PE", machine: "x64" });
	});
});

describe("the directory of a release", () => {
	const sums = (name: string) => `${"a".repeat(64)}  ${name}\n`;

	test.each([
		["a file of someone's", { "diary.txt": "dear" }],
		["sums of something else", { SHA256SUMS: sums("ubuntu.iso"), "ubuntu.iso": "x" }],
	] as [string, Record<string, string>][])("that holds %s is refused, and left as it is", async (_, files) => {
		const out = mkdtempSync(join(dir, "out-"));
		for (const [name, text] of Object.entries(files)) writeFileSync(join(out, name), text);
		const child = Bun.spawn([process.execPath, join(RELEASE, "release.ts"), "--out", out], { stderr: "pipe" });
		const [errors, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
		expect([code, errors]).toEqual([1, expect.stringContaining(`${out} holds something else than a release`)]);
		expect(readdirSync(out).sort()).toEqual(Object.keys(files).sort());
	});

	test("may be new, empty, or hold an earlier one; it is no file", () => {
		const out = mkdtempSync(join(dir, "out-"));
		expect([whyKept(join(out, "new")), whyKept(out)]).toEqual([undefined, undefined]);
		writeFileSync(join(out, "SHA256SUMS"), sums("install.sh") + sums("router-0.3.0.provenance.json"));
		expect(whyKept(out)).toBeUndefined();
		expect(whyKept(join(out, "SHA256SUMS"))).toContain("can't be written to: ENOTDIR");
	});
});

describe("the runtimes", () => {
	const pinned = readLock(RELEASE);

	test("are pinned at the version of Bun that everything else uses, each with its sum", () => {
		for (const { runtime } of TARGETS) {
			const [spec, , , integrity] = pinned.packages[runtime]!;
			expect(spec).toBe(`${runtime}@${manifest.devDependencies.bun}`);
			expect(hex(integrity)).toMatch(/^[0-9a-f]{128}$/);
		}
		expect(Object.keys(pinned.packages).sort()).toEqual(TARGETS.map(({ runtime }) => runtime).sort());
	});

	test("come from no address of their own", () => {
		expect(readFileSync(join(RELEASE, "bun.lock"), "utf8")).not.toContain("://");
	});
});

describe("what is shipped", () => {
	const packages = shipped(lock);

	test("is all that the dependencies lead to, and nothing that only development needs", () => {
		const names = packages.map(({ name }) => name);
		for (const name of Object.keys(manifest.dependencies)) expect(names).toContain(name);
		// pino's own.
		expect(names).toContain("thread-stream");
		for (const name of ["typescript", "@biomejs/biome", "bun", "playwright-core", "@types/bun"]) {
			expect(names).not.toContain(name);
		}
	});

	test("lies where the lock file says, at the version that it says", () => {
		for (const { path, name, version } of packages) {
			const there = JSON.parse(readFileSync(join(ROOT, "node_modules", path, "package.json"), "utf8"));
			expect({ path, name: there.name, version: there.version }).toEqual({ path, name, version });
		}
	});

	test("a package inside another is found there first, then beside it", () => {
		const found = shipped({
			workspaces: { "": { dependencies: { a: "1", "@s/c": "1" } } },
			packages: {
				a: ["a@1.0.0", "", { dependencies: { b: "1", "@s/c": "2" } }, SUM],
				"a/b": ["b@1.0.0", "", { dependencies: { "@s/c": "2" } }, SUM],
				"a/@s/c": ["@s/c@2.0.0", "", {}, SUM],
				b: ["b@2.0.0", "", {}, SUM],
				"@s/c": ["@s/c@1.0.0", "", { dependencies: { b: "2" }, optionalDependencies: { elsewhere: "1" } }, SUM],
			},
		});
		expect(found.map(({ key, version, path, dependsOn }) => [key, version, path, dependsOn])).toEqual([
			["@s/c", "1.0.0", "@s/c", ["b"]],
			["a", "1.0.0", "a", ["a/b", "a/@s/c"]],
			["a/@s/c", "2.0.0", "a/node_modules/@s/c", []],
			["a/b", "1.0.0", "a/node_modules/b", ["a/@s/c"]],
			["b", "2.0.0", "b", []],
		]);
	});

	test("a dependency that the lock file does not have is an error", () => {
		expect(() => shipped({ workspaces: { "": { dependencies: { a: "1" } } }, packages: {} })).toThrow(
			"bun.lock has no a",
		);
	});
});

describe("the list of contents", () => {
	/** CycloneDX's own, which its library brings. */
	const schema = (name: string) =>
		JSON.parse(
			readFileSync(
				join(ROOT, `node_modules/@cyclonedx/cyclonedx-library/res/schema/${name}.SNAPSHOT.schema.json`),
				"utf8",
			),
		);
	const ajv = new Ajv({ strict: false, validateFormats: false });
	for (const name of ["spdx", "jsf-0.82", "cryptography-defs"])
		ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
	const isValid = ajv.compile(schema("bom-1.6"));
	const component = (over: Partial<Component> = {}): Component => ({
		key: "@s/c",
		name: "@s/c",
		version: "1.0.0-rc.1+5",
		integrity: SUM,
		license: "MIT",
		dependsOn: [],
		...over,
	});
	const product = { name: "router", version: "0.1.0", license: "MIT", dependsOn: ["@s/c"], committed: undefined };

	test("of this very checkout is valid CycloneDX, and tells of each package version, license, sum and purl", () => {
		const all = shipped(lock).map((each) => ({
			...each,
			license: JSON.parse(readFileSync(join(ROOT, "node_modules", each.path, "package.json"), "utf8")).license,
		}));
		const document = sbom(
			{ ...product, dependsOn: Object.keys(manifest.dependencies), committed: "2026-01-02T03:04:05Z" },
			all,
		);
		expect(isValid(document) || isValid.errors).toBe(true);
		const { components } = document as { components: object[] };
		expect(components).toHaveLength(all.length);
		for (const each of components) {
			expect(each).toMatchObject({
				version: expect.any(String),
				licenses: [expect.anything()],
				hashes: [{ alg: "SHA-512", content: expect.stringMatching(/^[0-9a-f]{128}$/) }],
				purl: expect.stringMatching(/^pkg:npm\//),
			});
		}
	});

	test("of a wrong one is refused by the same schema", () => {
		expect(isValid({ ...sbom(product, [component()]), specVersion: 1.6 })).toBe(false);
		expect(isValid(sbom(product, [component({ license: "no license of SPDX" })]))).toBe(false);
	});

	test("takes expressions, no license, the same package twice, and is the same every time", () => {
		const twice = [
			component({ license: "(MIT OR Apache-2.0)" }),
			component({ key: "a/@s/c", license: undefined, dependsOn: ["@s/c"] }),
		];
		const document = sbom(product, twice);
		expect(isValid(document) || isValid.errors).toBe(true);
		expect(JSON.stringify(sbom(product, twice))).toBe(JSON.stringify(document));
		expect(purl(component())).toBe("pkg:npm/%40s/c@1.0.0-rc.1%2B5");
		expect(document).toMatchObject({
			components: [
				{ group: "@s", name: "c", licenses: [{ expression: "(MIT OR Apache-2.0)" }] },
				{ "bom-ref": "pkg:npm/%40s/c@1.0.0-rc.1%2B5#a/@s/c" },
			],
		});
	});

	test("takes no sum but SHA-512", () => {
		expect(() => hex("sha1-AAAA")).toThrow("not a sha512 sum");
	});
});

describe("the provenance", () => {
	const origin = {
		version: "0.1.0",
		files: [{ name: "router-0.1.0-linux-x64", sha256: "ab" }],
		commit: { id: "c0ffee", isChanged: true },
		source: "5e",
		lock: "10",
		builder: { bun: "1.4.5", platform: "linux-x64" },
		runtimes: [{ name: "@oven/bun-linux-x64", version: "1.4.5", integrity: SUM }],
	};

	test("names the files, the commit and whether it was changed, the lock file, the runtimes and the builder", () => {
		expect(provenance(origin)).toMatchObject({
			_type: "https://in-toto.io/Statement/v1",
			predicateType: "https://slsa.dev/provenance/v1",
			subject: [{ name: "router-0.1.0-linux-x64", digest: { sha256: "ab" } }],
			predicate: {
				buildDefinition: {
					resolvedDependencies: [
						{ name: "commit", digest: { gitCommit: "c0ffee" }, annotations: { changed: true } },
						{ name: "source", digest: { sha256: "5e" } },
						{ name: "bun.lock", digest: { sha256: "10" } },
						{ uri: "pkg:npm/%40oven/bun-linux-x64@1.4.5", digest: { sha512: hex(SUM) } },
					],
				},
				runDetails: { builder: { version: { bun: "1.4.5", platform: "linux-x64" } } },
			},
		});
	});

	test("without a repository names the source by its sum alone", () => {
		expect(JSON.stringify(provenance({ ...origin, commit: undefined }))).not.toContain("gitCommit");
		expect(commitOf(dir)).toBeUndefined();
		expect(sourceSum(ROOT)).toMatch(/^[0-9a-f]{64}$/);
	});
});

test("the notes tell what nobody has run, and which files are the same", () => {
	const artifacts = TARGETS.map((target, at) => ({
		target,
		file: fileName("0.1.0", target),
		bytes: 125_000_000,
		sha256: at === 1 ? "0" : String(at),
	}));
	const text = notes("0.1.0", artifacts);
	for (const name of ["darwin-arm64", "darwin-x64", "windows-x64.exe"]) {
		expect(text).toMatch(new RegExp(`router-0.1.0-${name}.*built only`));
	}
	expect(text.match(/built only,/g)).toHaveLength(3);
	expect(text).toContain("`router-0.1.0-linux-x64-baseline` is byte for byte `router-0.1.0-linux-x64`");
});

let builds: Promise<Buffer[]> | undefined;
/** The source, built in two folders. */
const twoBuilds = () => {
	builds ??= Promise.all(["one", "another/further down"].map(build));
	return builds;
};

test("a process begins with the entry alone: what a start does not need is read when it is needed", async () => {
	await twoBuilds();
	const maps = JSON.parse(gunzipSync(readFileSync(join(dir, "one/dist/source-maps.gz"))).toString());
	expect(maps.router.sources).toEqual(["src/main.ts"]);
}, 120_000);

test("an error of the executable is logged with the functions, files and lines of the source", async () => {
	await twoBuilds();
	const home = join(dir, "home");
	mkdirSync(home);
	writeFileSync(join(home, "router.yaml"), "server: { port: 0 }\n");
	// What reads a call's media type fails.
	writeFileSync(
		join(home, "fails.js"),
		`const { get } = Headers.prototype;
		Headers.prototype.get = function (name) {
			if (name === "content-type" && get.call(this, "x-fails")) throw new RangeError("as the test wants it");
			return get.call(this, name);
		};`,
	);
	const child = Bun.spawn([join(dir, "one/dist/router")], {
		cwd: home,
		env: { PATH: process.env["PATH"]!, HOME: home, BUN_OPTIONS: `--preload=${join(home, "fails.js")}` },
		stdout: "pipe",
		stderr: "inherit",
	});
	try {
		const [, url] = /listening on (\S+)/.exec(await readTo(child.stdout.getReader(), "listening on http"))!;
		const answer = await fetch(`${url}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json", "x-fails": "1" },
			body: '{"model":"dummy","messages":[{"role":"user","content":"hi"}]}',
		});
		expect(answer.status).toBe(500);
	} finally {
		child.kill("SIGTERM");
	}
	expect(await child.exited).toBe(0);
	const line = readFileSync(join(home, "logs/router.log"), "utf8")
		.split("\n")
		.find((each) => each.includes("as the test wants it"));
	const source = readFileSync(join(ROOT, "src/http/request-body.ts"), "utf8").split("\n");
	const [, at] = / at readRequestBody \(src\/http\/request-body\.ts:(\d+)\)/.exec(JSON.parse(line!).err.stack)!;
	expect(source[Number(at) - 1]).toContain("content-type");
}, 120_000);

test("a build is the same bytes in two folders, and knows neither of them", async () => {
	const made = await twoBuilds();
	expect(made[0]!.equals(made[1]!)).toBe(true);
	expect(made[0]!.includes(dir)).toBe(false);
	expect(made[0]!.includes(ROOT)).toBe(false);
	expect(kindOf(made[0]!.subarray(0, HEAD_BYTES))).toBeDefined();
}, 120_000);

/** Builds a copy of the source as `make build` does. */
async function build(name: string): Promise<Buffer> {
	const copy = join(dir, name);
	mkdirSync(copy, { recursive: true });
	for (const each of ["src", ".ci/build.ts", ".ci/source-maps.ts", "package.json", "tsconfig.json", "bunfig.toml"])
		cpSync(join(ROOT, each), join(copy, each), { recursive: true });
	for (const { path } of [...shipped(lock), { path: "@jridgewell/sourcemap-codec" }]) {
		cpSync(join(ROOT, "node_modules", path), join(copy, "node_modules", path), { recursive: true });
	}
	mkdirSync(join(copy, "node_modules/.bin"), { recursive: true });
	symlinkSync(process.execPath, join(copy, "node_modules/.bin/bun"));
	const child = Bun.spawn([process.execPath, "--no-env-file", "run", "build"], {
		cwd: copy,
		env: { PATH: process.env["PATH"]!, HOME: dir },
		stdout: "ignore",
		stderr: "pipe",
	});
	const words = await new Response(child.stderr).text();
	if ((await child.exited) !== 0) throw new Error(words);
	return Buffer.from(await Bun.file(join(copy, "dist/router")).bytes());
}
