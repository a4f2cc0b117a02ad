/** What a role's start took of memory is given back, and nothing that the program's file does not have. */
import { dlopen, toArrayBuffer } from "bun:ffi";
import { expect, test } from "bun:test";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { isOfFile, regionsOfFile, sectionOf } from "../src/server/program-memory.ts";
import { directory } from "./kit/cli.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

/** Lines as the kernel writes them: a file's constants, code and data, another file, the heap, a name with a space. */
const MAPS = [
	"00200000-01a38000 r--p 00000000 fe:00 5507018                            /opt/router",
	"01a40000-0684a000 r-xp 01838000 fe:00 5507018                            /opt/router",
	"06850000-06b00000 r--p 06648000 fe:00 5507018                            /opt/router",
	"06b00000-07800000 rw-p 068f0000 fe:00 5507018                            /opt/router",
	"07800000-07900000 rwxp 00000000 00:00 0 ",
	"7f2a40000000-7f2a40021000 rw-p 00000000 00:00 0                          [heap]",
	"7f2a80000000-7f2a80001000 r-xp 00001000 fe:00 77                         /opt/router copy",
	"7f2a90000000-7f2a90150000 r-xp 00028000 fe:00 5507019                    /usr/lib/libc.so.6",
	"",
].join("\n");

const FIXED = [
	{ address: 0x00200000, bytes: 0x01a38000 - 0x00200000 },
	{ address: 0x01a40000, bytes: 0x0684a000 - 0x01a40000 },
	{ address: 0x06850000, bytes: 0x06b00000 - 0x06850000 },
];

test("variables, and what is another file's, are never looked at", () => {
	expect(regionsOfFile(MAPS, "/opt/router", undefined, 4096)).toEqual(FIXED);
	expect(regionsOfFile(MAPS, "/opt/router copy", undefined, 4096)).toEqual([
		{ address: 0x7f2a80000000, bytes: 0x1000 },
	]);
	expect(regionsOfFile(MAPS, "/opt", undefined, 4096)).toEqual([]);
	expect(regionsOfFile("", "/opt/router", undefined, 4096)).toEqual([]);
});

test("of a section between variables whole pages count, and none where it lies elsewhere or is smaller", () => {
	const regions = (offset: number, bytes: number, pageBytes = 4096) =>
		regionsOfFile(MAPS, "/opt/router", { offset, bytes }, pageBytes).slice(FIXED.length);
	expect(regions(0x068f0000, 0x2000)).toEqual([{ address: 0x06b00000, bytes: 0x2000 }]);
	expect(regions(0x068f0010, 0x3ff0)).toEqual([{ address: 0x06b01000, bytes: 0x3000 }]);
	expect(regions(0x068f0010, 0x1fff)).toEqual([{ address: 0x06b01000, bytes: 0x1000 }]);
	expect(regions(0x068f0010, 0x1f00)).toEqual([]);
	expect(regions(0x068f0000, 0x20000, 0x10000)).toEqual([{ address: 0x06b00000, bytes: 0x20000 }]);
	expect(regions(0x068e0000, 0x20000)).toEqual([]);
	expect(regions(0x068f0000, 0xd00001)).toEqual([]);
});

test("a page that is in no file, or was swapped out, is seen, and so is a system that tells nothing", () => {
	const entries = (...flags: bigint[]) => Buffer.from(new BigUint64Array(flags).buffer);
	const [ofFile, own, swapped] = [(1n << 63n) | (1n << 61n), 1n << 63n, 1n << 62n];
	expect(isOfFile(entries())).toBe(false);
	expect(isOfFile(entries(0n, 0n))).toBe(false);
	expect(isOfFile(entries(0n, ofFile, 0n, ofFile | 0xffffn))).toBe(true);
	expect(isOfFile(entries(ofFile, own))).toBe(false);
	expect(isOfFile(entries(swapped, ofFile))).toBe(false);
});

/** mmap(2): readable and writable, and what is written there is the process's own. */
const [READ_WRITE, PRIVATE] = [3, 2];

test.if(process.platform === "linux")("Linux says of a private page of a file whether it was written to", () => {
	using folder = directory({ file: "x".repeat(3 * 65_536) });
	const { symbols } = dlopen("libc.so.6", {
		mmap: { args: ["u64", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
		getpagesize: { args: [], returns: "i32" },
	});
	const pageBytes = symbols.getpagesize();
	const fd = openSync(join(folder.path, "file"), "r");
	const address = symbols.mmap(0, 3 * pageBytes, READ_WRITE, PRIVATE, fd, 0)!;
	const bytes = new Uint8Array(toArrayBuffer(address, 0, 3 * pageBytes));
	const pagemap = openSync("/proc/self/pagemap", "r");
	const look = () => {
		const entries = Buffer.alloc(3 * 8);
		readSync(pagemap, entries, 0, entries.length, (Number(address) / pageBytes) * 8);
		return entries;
	};
	expect(bytes[pageBytes]).toBe(120);
	expect(look().some((byte) => byte !== 0)).toBe(true);
	expect(isOfFile(look())).toBe(true);
	bytes[pageBytes] = 120;
	expect(isOfFile(look())).toBe(false);
	closeSync(fd);
	closeSync(pagemap);
});

const readOf = (file: Buffer) => async (offset: number, bytes: number) => file.subarray(offset, offset + bytes);

test("of a file that is no program, or ends too early, no section is found", async () => {
	const program = readFileSync(process.execPath);
	expect(await sectionOf(readOf(Buffer.from("#!/bin/sh\n".repeat(10))), ".text")).toBeUndefined();
	expect(await sectionOf(readOf(Buffer.alloc(0)), ".text")).toBeUndefined();
	expect(await sectionOf(readOf(program.subarray(0, 4096)), ".text")).toBeUndefined();
});

test.if(process.platform === "linux")("a section is found by its whole name, where the program has it", async () => {
	const read = readOf(readFileSync(process.execPath));
	const section = await sectionOf(read, ".comment");
	const text = (await read(section!.offset, section!.bytes)).toString("latin1");
	expect(text).toMatch(/clang|GCC|LLD/);
	expect(await sectionOf(read, ".comm")).toBeUndefined();
});

/** KB of its program that a router holds when it has started, at the least. */
const STARTED_KB = 40_000;

/** KB that a process holds of its program's file, by its smaps. */
async function programKb(pid: number): Promise<number> {
	const program = await readlink(`/proc/${pid}/exe`);
	const smaps = await readFile(`/proc/${pid}/smaps`, "utf8");
	const held = smaps.matchAll(new RegExp(` r.{3} .* ${program}\n(?:\\w+: .*\n)*?Rss: +(\\d+) kB`, "g"));
	return [...held].reduce((sum, [, kb]) => sum + Number(kb), 0);
}

test.if(process.platform === "linux")(
	"a router that has started holds less of its program than its start took, and answers",
	async () => {
		const router = await startRouter({});
		try {
			await until(async () => (await programKb(router.pid)) < STARTED_KB * 0.6, "the program is given back");
			const answer = await fetch(`${router.url}/v1/chat/completions`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: JSON.stringify({ model: "dummy", messages: [{ role: "user", content: "hi" }] }),
			});
			expect(answer.status).toBe(200);
		} finally {
			await router.stop();
		}
	},
);
