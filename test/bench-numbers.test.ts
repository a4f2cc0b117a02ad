import { describe, expect, test } from "bun:test";
import { parseLoad } from "./bench/client.ts";
import { cpuMicros, median, peakRssMb, quantile, rssMb, spread } from "./bench/measure.ts";
import { timeByFunction } from "./bench/profile.ts";
import { medians, type Result, ratios, type Sample } from "./bench/rounds.ts";
import { comparison, factTable, kept, loadTable, verdictTable } from "./bench/table.ts";

const SAMPLE: Sample = {
	callsPerSecond: 1000,
	p50: 1,
	p99: 2,
	p999: 3,
	cpuPerCall: 50,
	rss: 60,
	peak: 70,
	around: 0.4,
	failed: 0,
};
const result = (name: string, cpus: number[], more: Partial<Sample> = {}, problems: string[] = []): Result => ({
	name,
	samples: cpus.map((cpuPerCall) => ({ ...SAMPLE, ...more, cpuPerCall })),
	problems: new Set(problems),
});
/** The cells of a table's row, by the row's number below the rule. */
const cells = (table: string, row: number) =>
	table
		.split("\n")
		[row + 2]?.split("|")
		.slice(1, -1)
		.map((cell) => cell.trim());

test("a load whose client said something else than its numbers is an error that quotes it", () => {
	expect(() => parseLoad("unable to connect")).toThrow("calls is missing in: unable to connect");
	expect(() => parseLoad('{"calls":3,"failed":0,"seconds":1,"p50":1,"p99":2}')).toThrow("p999 is missing");
	expect(() => parseLoad('{"calls":null,"failed":0,"seconds":1,"p50":1,"p99":2,"p999":3}')).toThrow("calls");
	const line = '{"calls":3,"failed":1,"seconds":2.000100,"p50":1.5,"p99":2.5,"p999":3.5}';
	expect(parseLoad(line)).toEqual({ calls: 3, failed: 1, seconds: 2.0001, p50: 1.5, p99: 2.5, p999: 3.5 });
});

test("a row says that calls failed, what was wrong with an answer, and that load or upstream was the limit", () => {
	const results = [
		result("bare relay", [50], { around: 0.9 }),
		result("router", [100], { failed: 7 }, ["it has 3 tokens\n| at all"]),
	];
	const table = loadTable([{ name: "whole", results }]);
	expect(cells(table, 0)?.at(-1)).toBe("load or upstream was the limit");
	expect(cells(table, 1)?.at(-1)).toBe("**7 failed**; **wrong: it has 3 tokens / at all**");
	expect(cells(loadTable([{ name: "whole", results: [result("relay", [50], { around: 0.89 })] }]), 0)?.at(-1)).toBe("");
});

test("a table has each contender's medians, its ratio to the first and how far a round's was from it", () => {
	const results = [result("bare relay", [50, 40, 60]), result("router", [100, 100, 120])];
	const table = loadTable([{ name: "whole", results }]);
	const first = ["whole", "bare relay", "1000", "1.00", "2.00", "3.00", "50.0", "1.00", "60 (70)", "40 %", ""];
	expect(cells(table, 0)).toEqual(first);
	expect(cells(table, 1)?.slice(0, 8)).toEqual(["", "router", "1000", "1.00", "2.00", "3.00", "100", "2.00 ± 25 %"]);
	expect(new Set(table.split("\n").map((line) => line.length)).size).toBe(1);
});

test("failures of all rounds are summed up, the peak is the highest of them, all else is a median", () => {
	const samples = [
		{ ...SAMPLE, failed: 1, peak: 70, rss: 60 },
		{ ...SAMPLE, failed: 2, peak: 90, rss: 80 },
		{ ...SAMPLE, failed: 0, peak: 80, rss: 70 },
	];
	expect(medians(samples)).toEqual({ ...SAMPLE, failed: 3, peak: 90, rss: 70 });
});

test("new is worse than old only by more than three percent and more than old is from old", () => {
	const old = () => result("old", [100, 100, 100, 100]);
	const now = (cpu: number) => result("new", [cpu, cpu, cpu, cpu]);
	expect(comparison(old(), now(103.1), old()).verdict).toBe("worse");
	expect(comparison(old(), now(103), old()).verdict).toBe("same");
	expect(comparison(old(), now(97), old()).verdict).toBe("same");
	expect(comparison(old(), now(96.9), old()).verdict).toBe("better");
	// Old is 10 % from old by its median: then 8 % tell nothing.
	const again = result("old again", [110, 110, 110, 110]);
	expect(comparison(old(), now(113), again)).toMatchObject({ old: 105, now: 113, verdict: "same" });
	expect(comparison(old(), now(113), again).spread).toBeCloseTo(0.1);
	// The medians agree, the rounds do not.
	const restless = result("old again", [80, 90, 110, 120]);
	expect(comparison(old(), now(110), restless).spread).toBeCloseTo(0.125);
	expect(comparison(old(), now(110), restless).verdict).toBe("same");
});

test("numbers of calls that failed, or of answers that were wrong, are no verdict", () => {
	const old = result("old", [100]);
	expect(comparison(old, result("new", [50], { failed: 1 }), old).verdict).toBe("failed");
	expect(comparison(old, result("new", [50], {}, ["another content"]), old).verdict).toBe("failed");
	expect(comparison(result("old", [100], { failed: 1 }), result("new", [50]), old).verdict).toBe("failed");
});

test("a verdict's line has old, new, their ratio and what old differs by from old", () => {
	const verdict = comparison(result("old", [100]), result("new", [120]), result("old", [110]));
	const table = verdictTable([{ name: "whole", verdict, remark: "why" }]);
	expect(cells(table, 0)).toEqual(["whole", "105", "120", "1.143", "± 10.0 %", "worse: why"]);
});

test("a single number over its limit breaks the promise; one that is no number does too", () => {
	const fact = { name: "idle RSS", value: 81, unit: "MB" as const, limit: 80 };
	expect(cells(factTable([fact]), 0)).toEqual(["idle RSS", "81.0 MB", "**over** 80 MB"]);
	expect(kept([fact])).toBe(false);
	expect(kept([{ ...fact, value: Number.NaN }])).toBe(false);
	expect(kept([{ ...fact, value: 79 }])).toBe(true);
	expect(cells(factTable([{ ...fact, value: 79 }]), 0)?.at(-1)).toBe("80 MB");
});

test("a round is compared with the same round of the other; one that is missing there is no number", () => {
	expect(ratios(result("router", [100, 90]).samples, result("relay", [50, 60]).samples)).toEqual([2, 1.5]);
	expect(ratios(result("router", [100]).samples, [])[0]).toBeNaN();
});

test("the median of nothing is no number, of an even count the middle between two", () => {
	expect(median([])).toBeNaN();
	expect(median([9, 1, 5])).toBe(5);
	expect(median([4, 1, 3, 2])).toBe(2.5);
	expect(quantile([1, 2, 3, 4, 5], 0.25)).toBe(2);
	expect(quantile([10, 0], 0.999)).toBeCloseTo(9.99);
	expect(quantile([7], 0.99)).toBe(7);
	expect(spread([100, 90, 104])).toBeCloseTo(0.1);
});

test("a process that is gone is an error, not a zero", () => {
	expect(() => cpuMicros(2 ** 22 + 1)).toThrow("ENOENT");
	expect(() => rssMb(2 ** 22 + 1)).toThrow("ENOENT");
});

test("CPU time and memory of a process are read from /proc in µs and MB", () => {
	const { user, system } = process.cpuUsage();
	const counted = cpuMicros(process.pid);
	expect(counted).toBeGreaterThanOrEqual(user + system - 20_000);
	const resident = process.memoryUsage.rss() / 1e6;
	expect(rssMb(process.pid)).toBeGreaterThan(resident / 2);
	expect(rssMb(process.pid)).toBeLessThan(resident * 2);
	expect(peakRssMb(process.pid)).toBeGreaterThanOrEqual(resident / 2);
});

test("CPU time counts what a process below, and one below that, has taken", async () => {
	const spin =
		"let n = 0; const until = process.cpuUsage().user + 300000; while (process.cpuUsage().user < until) n++;";
	const child = Bun.spawn(["sh", "-c", `"$1" -e "$2"; echo done; read line`, "sh", process.execPath, spin], {
		stdin: "pipe",
		stdout: "pipe",
	});
	for await (const _ of child.stdout) break;
	// The shell has done next to nothing itself, and the one that it waited for is gone.
	expect(cpuMicros(child.pid)).toBeGreaterThanOrEqual(290_000);
	child.stdin.end();
	await child.exited;
});

describe("a profile", () => {
	const frame = (functionName: string, url = "") => ({ functionName, url, lineNumber: 6 });
	const nodes = [
		{ id: 1, callFrame: frame("(root)"), children: [2, 4] },
		{ id: 2, callFrame: frame("relay", "file:///somewhere/src/proxy/relay.ts"), children: [3] },
		{ id: 3, callFrame: frame("parse") },
		{ id: 4, callFrame: frame("wait") },
	];

	test("gives what native code took to the function that called it, and leaves out what is not in the window", () => {
		const profile = { nodes, samples: [2, 2, 3, 4, 2], timeDeltas: [10, 20, 30, 40, 50] };
		expect([...timeByFunction(profile, 15, 110)]).toEqual([
			["relay  src/proxy/relay.ts:7", 50],
			["(native) wait", 40],
		]);
	});
});
