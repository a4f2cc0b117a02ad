import { expect, test } from "bun:test";
import { cpuMicros, median, rssMb } from "./bench/measure.ts";
import { factTable, kept, throughputTable } from "./bench/table.ts";
import type { Comparison, Sample } from "./bench/throughput.ts";
import { ANSWER, EVENTS, MODES, modeOf, request, STREAM } from "./bench/wire.ts";

const sample: Sample = { callsPerSecond: 1000, p50: 1, p99: 2, cpuPerCall: 50, rss: 60 };
const compared = (ratio: number): Comparison => ({
	scenario: { name: "non-streamed", mode: "bench", connections: 32, limit: 1.8 },
	relay: sample,
	router: { ...sample, cpuPerCall: 50 * ratio },
	ratio,
});

test("a ratio over its limit is named as such and breaks the promise", () => {
	expect(throughputTable([compared(1.81)])).toContain("OVER (limit 1.8)");
	expect(kept([compared(1.81)], [])).toBe(false);
	expect(throughputTable([compared(1.8)])).toContain("ok (limit 1.8)");
	expect(kept([compared(1.8)], [])).toBe(true);
});

test("a single number over its limit breaks the promise; one that is no number does too", () => {
	const fact = { name: "idle RSS", value: 81, unit: "MB" as const, limit: 80 };
	expect(factTable([fact])).toBe("idle RSS  81.0 MB  OVER (limit 80 MB)");
	expect(kept([], [fact])).toBe(false);
	expect(kept([], [{ ...fact, value: Number.NaN }])).toBe(false);
	expect(kept([], [{ ...fact, value: 79 }])).toBe(true);
});

test("the median of nothing is no number, of an even count the middle between two", () => {
	expect(median([])).toBeNaN();
	expect(median([9, 1, 5])).toBe(5);
	expect(median([4, 1, 3, 2])).toBe(2.5);
});

test("a process that is gone is an error, not a zero", () => {
	expect(() => cpuMicros(2 ** 22 + 1)).toThrow("ENOENT");
	expect(() => rssMb(2 ** 22 + 1)).toThrow("ENOENT");
});

test("CPU time and memory of a process are read from /proc in µs and MB", () => {
	const { user, system } = process.cpuUsage();
	const counted = cpuMicros(process.pid);
	expect(counted).toBeGreaterThanOrEqual(user + system - 20_000);
	expect(counted).toBeLessThan(user + system + 1e6);
	const resident = process.memoryUsage.rss() / 1e6;
	expect(rssMb(process.pid)).toBeGreaterThan(resident / 2);
	expect(rssMb(process.pid)).toBeLessThan(resident * 2);
});

test("the load is what the table says: a kilobyte each way, 200 events, every mode asked for by name", () => {
	expect(ANSWER.length).toBe(1024);
	expect(STREAM.length).toBe(EVENTS);
	for (const mode of MODES) {
		expect(request(mode).length).toBe(1024);
		expect(modeOf(request(mode))).toBe(mode);
		expect(modeOf(request(mode).replace("openai/", ""))).toBe(mode);
	}
});
