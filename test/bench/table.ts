/** The bench's numbers as text. */
import type { Comparison, Sample } from "./throughput.ts";

/** One single number: what it is, its value with unit, and the promise it is held to. */
export interface Fact {
	name: string;
	value: number;
	unit: "MB" | "ms";
	limit?: number;
}

const verdict = (value: number, limit: number | undefined, unit: string) =>
	limit === undefined ? "" : `${value <= limit ? "ok" : "OVER"} (limit ${limit}${unit})`;

/** Rows of equal length, numbers to the right, the name before and the remark after them to the left. */
function columns(rows: readonly (readonly string[])[]): string {
	const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
	const line = (row: readonly string[]) =>
		row
			.map((cell, i) => (i === 0 || i === row.length - 1 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
			.join("  ");
	return rows.map((row) => line(row).trimEnd()).join("\n");
}

const cells = (name: string, sample: Sample) => [
	name,
	sample.callsPerSecond.toFixed(0),
	sample.p50.toFixed(2),
	sample.p99.toFixed(2),
	sample.cpuPerCall.toFixed(0),
	sample.rss.toFixed(0),
];

/** Relay above router for each load, and how the CPU of one call compares. */
export function throughputTable(comparisons: readonly Comparison[]): string {
	const rows = comparisons.flatMap(({ scenario, relay, router, ratio }) => [
		[scenario.name, "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "RSS MB", "CPU ratio", ""],
		[...cells("  bare relay", relay), "1.00", ""],
		[...cells("  router", router), ratio.toFixed(2), verdict(ratio, scenario.limit, "")],
	]);
	return columns(rows);
}

/** The single numbers, one a line. */
export function factTable(facts: readonly Fact[]): string {
	return columns(
		facts.map(({ name, value, unit, limit }) => [
			name,
			`${value.toFixed(1)} ${unit}`,
			verdict(value, limit, ` ${unit}`),
		]),
	);
}

/** Whether every promise was kept. */
export const kept = (comparisons: readonly Comparison[], facts: readonly Fact[]): boolean =>
	comparisons.every(({ ratio, scenario }) => ratio <= (scenario.limit ?? Number.POSITIVE_INFINITY)) &&
	facts.every(({ value, limit }) => value <= (limit ?? Number.POSITIVE_INFINITY));
