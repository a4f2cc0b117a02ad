/** install.sh: takes the right build, checks its sum, and leaves other programs alone. Run by every shell that is here. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import {
	chmodSync,
	closeSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	openSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256 } from "../.ci/release/source.ts";
import { fileName, TARGETS } from "../.ci/release/targets.ts";

const SCRIPT = join(import.meta.dir, "../install.sh");
const SHELLS = [["dash"], ["busybox", "sh"], ["bash", "--posix"], ["sh"]].filter(([shell]) => Bun.which(shell!));
const TOOLS = "sh cat grep cut mktemp rm mkdir cp mv chmod head sha256sum uname ldd env".split(" ");

const dir = mkdtempSync(join(tmpdir(), "router-install-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const release = join(dir, "release");
mkdirSync(release);
/** A stand-in for an artifact: says its own name. Ours are told by the header's name in them. */
const program = (name: string) => `#!/bin/sh\n# x-router-overhead-ms\necho ${name}\n`;
for (const version of ["0.1.0", "0.2.0"]) {
	for (const target of TARGETS)
		writeFileSync(join(release, fileName(version, target)), program(`${version} ${target.name}`));
}
const sums = (versions: readonly string[]) =>
	versions.flatMap((version) => TARGETS.map((target) => fileName(version, target)));
const writeSums = (names: readonly string[]) =>
	writeFileSync(
		join(release, "SHA256SUMS"),
		names.map((name) => `${sha256(readFileSync(join(release, name)))}  ${name}\n`).join(""),
	);

/** What the script finds on the machine. */
interface Machine {
	readonly uname?: readonly [system: string, machine: string];
	readonly cpuinfo?: string;
	readonly ldd?: string;
	/** Tools that are not there. */
	readonly without?: readonly string[];
	/** Tools of its own. */
	readonly tools?: Readonly<Record<string, string>>;
	readonly env?: Readonly<Record<string, string>>;
	readonly shell?: readonly string[];
}

const GLIBC = "ldd (Debian GLIBC 2.36) 2.36";
const AVX2 = "flags : fpu sse4_2 avx avx2 bmi2";
let home: string;
let count = 0;
beforeEach(() => {
	home = join(dir, `home-${count++}`);
	mkdirSync(home);
	writeSums(sums(["0.1.0"]));
});
const place = () => join(home, ".local/bin/router");

/** Runs the script on such a machine. */
async function install(machine: Machine = {}) {
	const {
		uname = ["Linux", "x86_64"],
		cpuinfo = AVX2,
		ldd = GLIBC,
		without = [],
		tools = {},
		env = {},
		shell,
	} = machine;
	const bin = join(home, "bin");
	rmSync(bin, { recursive: true, force: true });
	mkdirSync(bin);
	const stand = (name: string, text: string) => writeFileSync(join(bin, name), text, { mode: 0o755 });
	for (const name of TOOLS) {
		if (!without.includes(name)) symlinkSync(Bun.which(name)!, join(bin, name));
	}
	const replace = (name: string, text: string) => {
		rmSync(join(bin, name), { force: true });
		stand(name, text);
	};
	replace("uname", `#!/bin/sh\ncase $1 in -s) echo ${uname[0]};; -m) echo ${uname[1]};; esac\n`);
	if (!without.includes("ldd")) replace("ldd", `#!/bin/sh\necho "${ldd}"\n`);
	writeFileSync(join(home, "cpuinfo"), `${cpuinfo}\n`);
	replace(
		"grep",
		`#!/bin/sh\ncase "$*" in *" /proc/cpuinfo") exec ${Bun.which("grep")} -q -w avx2 ${join(home, "cpuinfo")};; esac\nexec ${Bun.which("grep")} "$@"\n`,
	);
	for (const [name, text] of Object.entries(tools)) replace(name, text);
	const [first, ...more] = shell ?? SHELLS[0]!;
	const child = Bun.spawn([Bun.which(first!)!, ...more, SCRIPT], {
		env: { PATH: bin, HOME: home, ROUTER_RELEASES: release, ...env },
		stdout: "pipe",
		stderr: "pipe",
	});
	const [out, err, code] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
		child.exited,
	]);
	return { code, out, err };
}
const installed = () => readFileSync(place(), "utf8");
/** Nothing but what was there before; the script's own scratch is gone. */
const left = () => (existsSync(join(home, ".local/bin")) ? readdirSync(join(home, ".local/bin")).sort() : []);

describe("it refuses", () => {
	test("to guess where the release is", async () => {
		const { code, err } = await install({ env: { ROUTER_RELEASES: "" } });
		expect(code).toBe(1);
		expect(err).toContain("set ROUTER_RELEASES to the URL or the folder of a release");
		expect(left()).toEqual([]);
	});

	test("a wrong sum: nothing is installed, and the older router stays", async () => {
		expect((await install()).code).toBe(0);
		const before = installed();
		writeSums(sums(["0.2.0"]));
		const file = join(release, "router-0.2.0-linux-x64");
		const good = readFileSync(file);
		writeFileSync(file, `${good} # one byte more`);
		try {
			const { code, err } = await install();
			expect(code).toBe(1);
			expect(err).toContain("router-0.2.0-linux-x64 has the wrong sum");
			expect(err).toContain("Nothing was installed");
		} finally {
			writeFileSync(file, good);
		}
		expect(installed()).toBe(before);
		expect(left()).toEqual(["router"]);
	});

	test.each([
		["a file of another program", () => writeFileSync(place(), "#!/bin/sh\necho a router of wood\n")],
		["a folder", () => mkdirSync(place())],
		["a link to nothing", () => symlinkSync(join(home, "nowhere"), place())],
	])("to replace %s called router", async (_, make) => {
		mkdirSync(join(home, ".local/bin"), { recursive: true });
		make();
		const { code, err } = await install();
		expect(code).toBe(1);
		expect(err).toContain(`${place()} is another program and stays`);
		expect(left()).toEqual(["router"]);
	});

	test("a system or a processor that there is no build for", async () => {
		expect((await install({ uname: ["SunOS", "x86_64"] })).err).toContain("there is no build for SunOS");
		expect((await install({ uname: ["Linux", "riscv64"] })).err).toContain("there is no build for riscv64");
		expect((await install({ uname: ["MINGW64_NT-10.0", "x86_64"] })).err).toContain("windows-x64.exe");
		expect(left()).toEqual([]);
	});

	test("a release without that build, and says which it has", async () => {
		writeSums(["router-0.1.0-darwin-arm64"]);
		const { code, err } = await install();
		expect(code).toBe(1);
		expect(err).toContain(`there is no router for linux-x64 in ${release}; there are: router-0.1.0-darwin-arm64`);
	});

	test("to choose between versions", async () => {
		writeSums(sums(["0.1.0", "0.2.0"]));
		expect((await install()).err).toContain("set ROUTER_VERSION");
		expect((await install({ env: { ROUTER_VERSION: "0.3.0" } })).err).toContain(
			"there is no router 0.3.0 for linux-x64",
		);
		expect((await install({ env: { ROUTER_VERSION: "0.2.0" } })).code).toBe(0);
		expect(installed()).toContain("0.2.0 linux-x64");
	});

	test("names that lead out of the release", async () => {
		writeFileSync(join(release, "SHA256SUMS"), `${"0".repeat(64)}  router-/../../evil-linux-x64\n`);
		expect((await install()).err).toContain("there is no router for linux-x64");
	});

	test("a folder that is none, or has no sums", async () => {
		expect((await install({ env: { ROUTER_RELEASES: join(dir, "nowhere") } })).err).toContain(
			"there is no SHA256SUMS in",
		);
	});

	test("to install unchecked, or to fetch without a program that can", async () => {
		expect((await install({ without: ["sha256sum"] })).err).toContain("neither sha256sum nor shasum is on PATH");
		expect((await install({ env: { ROUTER_RELEASES: "http://127.0.0.1:1" } })).err).toContain(
			"neither curl nor wget is on PATH",
		);
		expect(left()).toEqual([]);
	});

	test("a build that does not start here", async () => {
		const file = join(release, "router-0.1.0-linux-x64-musl");
		const good = readFileSync(file);
		writeFileSync(file, "#!/bin/sh\necho 'Error loading libstdc++.so.6' >&2\nexit 127\n");
		writeSums(sums(["0.1.0"]));
		try {
			const { code, err } = await install({ ldd: "musl libc (x86_64)" });
			expect(code).toBe(1);
			expect(err).toContain("does not start here (it ended with 127: Error loading libstdc++.so.6)");
			expect(err).toContain("apk add libstdc++");
		} finally {
			writeFileSync(file, good);
		}
		expect(left()).toEqual([]);
	});

	test("a place that can't be a folder, and names the way out", async () => {
		writeFileSync(join(home, "file"), "");
		const { code, err } = await install({ env: { ROUTER_INSTALL_DIR: join(home, "file/bin") } });
		expect(code).toBe(1);
		expect(err).toContain(`${join(home, "file/bin")} can't be made; set ROUTER_INSTALL_DIR`);
	});
});

describe("it takes", () => {
	test.each([
		["linux-x64", {}],
		["linux-x64-baseline", { cpuinfo: "flags : fpu sse4_2 avx" }],
		["linux-x64-baseline", { cpuinfo: "flags : fpu avx2_but_not_quite" }],
		["linux-arm64", { uname: ["Linux", "aarch64"], cpuinfo: "Features : fp asimd" }],
		["linux-x64-musl", { ldd: "musl libc (x86_64) Version 1.2.5" }],
		["linux-x64-musl-baseline", { ldd: "musl libc (x86_64) Version 1.2.5", cpuinfo: "" }],
		["linux-arm64-musl", { uname: ["Linux", "arm64"], ldd: "musl libc (aarch64) Version 1.2.5" }],
		["darwin-arm64", { uname: ["Darwin", "arm64"], without: ["ldd"] }],
		["darwin-x64", { uname: ["Darwin", "x86_64"], without: ["ldd"] }],
		["darwin-arm64", { uname: ["Darwin", "x86_64"], tools: { sysctl: "#!/bin/sh\necho 1\n" } }],
		["linux-x64-musl-baseline", { env: { ROUTER_TARGET: "linux-x64-musl-baseline" } }],
	] as [string, Machine][])("%s (%#)", async (target, machine) => {
		expect(await install(machine)).toMatchObject({ code: 0, err: "" });
		expect(installed()).toBe(program(`0.1.0 ${target}`));
	});

	test.each(SHELLS)("the same in %s", async (...shell) => {
		expect(await install({ shell })).toMatchObject({ code: 0, err: "" });
		expect(installed()).toBe(program("0.1.0 linux-x64"));
		expect(left()).toEqual(["router"]);
	});

	test("shasum where there is no sha256sum, and sums that mark binary files", async () => {
		const shasum = `#!/bin/sh\n[ "$1 $2" = "-a 256" ] || exit 9\nexec ${Bun.which("sha256sum")} "$3"\n`;
		writeFileSync(
			join(release, "SHA256SUMS"),
			readFileSync(join(release, "SHA256SUMS"), "utf8").replaceAll("  ", " *"),
		);
		expect((await install({ without: ["sha256sum"], tools: { shasum } })).code).toBe(0);
	});
});

describe("over HTTP", () => {
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch({ url }) {
			const file = Bun.file(join(release, new URL(url).pathname.slice("/releases/".length)));
			return (await file.exists()) ? new Response(file) : new Response("gone", { status: 404 });
		},
	});
	afterAll(() => void server.stop(true));
	const tool = (name: string) => ({ [name]: `#!/bin/sh\nexec ${Bun.which(name)} "$@"\n` });
	const tools = ["curl", "wget"].filter((name) => Bun.which(name));

	test.each(tools)("it fetches by %s, and says what is not there", async (name) => {
		const env = { ROUTER_RELEASES: `http://127.0.0.1:${server.port}/releases/` };
		expect(await install({ tools: tool(name), env })).toMatchObject({ code: 0, err: "" });
		expect(installed()).toBe(program("0.1.0 linux-x64"));
		const { code, err } = await install({ tools: tool(name), env: { ROUTER_RELEASES: `${env.ROUTER_RELEASES}none` } });
		expect(code).toBe(1);
		expect(err).toContain(`/releases/none/SHA256SUMS can't be fetched (${name} ended with`);
	});
});

describe("it says", () => {
	test("that the folder is not on PATH, or that another router comes first", async () => {
		expect((await install()).out).toContain(`${join(home, ".local/bin")} is not on your PATH`);
		const bin = join(home, "bin");
		const other = { router: "#!/bin/sh\necho other\n" };
		const PATH = `${bin}:${join(home, ".local/bin")}`;
		expect((await install({ tools: other, env: { PATH } })).out).toContain(
			`another router comes first: ${join(bin, "router")}`,
		);
		expect((await install({ env: { PATH: `${join(home, ".local/bin")}:${bin}` } })).out).not.toContain("PATH");
	});

	test("that it is there already, and fetches nothing", async () => {
		await install();
		rmSync(join(release, "router-0.1.0-linux-x64"));
		try {
			expect(await install()).toMatchObject({
				code: 0,
				out: expect.stringContaining("is router-0.1.0-linux-x64 already"),
			});
		} finally {
			writeFileSync(join(release, "router-0.1.0-linux-x64"), program("0.1.0 linux-x64"));
		}
	});
});

describe("an older router", () => {
	test("gives way in one step: who has the old file open keeps it whole", async () => {
		await install();
		const old = openSync(place(), "r");
		writeSums(sums(["0.2.0"]));
		expect((await install()).code).toBe(0);
		expect(installed()).toBe(program("0.2.0 linux-x64"));
		expect(readFileSync(old, "utf8")).toBe(program("0.1.0 linux-x64"));
		closeSync(old);
	});

	test("that a link leads to stays; the link gives way", async () => {
		const kept = join(home, "kept");
		writeFileSync(kept, program("kept"));
		chmodSync(kept, 0o755);
		mkdirSync(join(home, ".local/bin"), { recursive: true });
		symlinkSync(kept, place());
		expect((await install()).code).toBe(0);
		expect(readFileSync(kept, "utf8")).toBe(program("kept"));
		expect(() => readlinkSync(place())).toThrow();
	});
});
