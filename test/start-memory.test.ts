/** What a role's start took of memory is given back. */
import { expect, test } from "bun:test";
import { readFile, readlink } from "node:fs/promises";
import { codeRegions } from "../src/server/start-memory.ts";
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

test("memory that has been written to, or is another file's, is never given back", () => {
	expect(codeRegions(MAPS, "/opt/router")).toEqual([{ address: 0x01a40000n, bytes: 0x0684a000n - 0x01a40000n }]);
	expect(codeRegions(MAPS, "/opt/router copy")).toEqual([{ address: 0x7f2a80000000n, bytes: 0x1000n }]);
	expect(codeRegions(MAPS, "/opt")).toEqual([]);
	expect(codeRegions("", "/opt/router")).toEqual([]);
});

/** KB of its own code that a process holds, by its smaps. */
async function codeKb(pid: number): Promise<number> {
	const program = await readlink(`/proc/${pid}/exe`);
	const smaps = await readFile(`/proc/${pid}/smaps`, "utf8");
	const [, held] = smaps.match(new RegExp(` r-xp .* ${program}\n(?:\\w+: .*\n)*?Rss: +(\\d+) kB`)) ?? [];
	return Number(held);
}

test.if(process.platform === "linux")(
	"a router that has started holds less of its own code than its start took, and answers",
	async () => {
		const router = await startRouter({});
		try {
			const started = await codeKb(router.pid);
			expect(started).toBeGreaterThan(10_000);
			await until(async () => (await codeKb(router.pid)) < started * 0.75, "code is given back");
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
