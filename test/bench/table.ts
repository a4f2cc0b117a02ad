/** The bench's numbers as text: Markdown, so that speed.md quotes them as they are printed. */
import { median, quantile, spread } from "./measure.ts";
import { BUSY, medians, type Result, ratios } from "./rounds.ts";

/** One single number: what it is, its value with unit, and the promise it is held to. */
export interface Fact {
	name: string;
	value: number;
	unit: "MB" | "ms";
	limit?: number;
}

/** A table; numbers to the right, the first `left` columns and the last to the left. */
export function markdown(rows: readonly (readonly string[])[], left: number): string {
	const [heading = [], ...rest] = rows;
	const widths = heading.map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
	const isText = (column: number) => column < left || column === heading.length - 1;
	const pad = (text: string, column: number) =>
		isText(column) ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0);
	const line = (row: readonly string[]) =>
		`| ${widths.map((_, column) => pad(row[column] ?? "", column)).join(" | ")} |`;
	const rule = widths.map((width, column) => (isText(column) ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
	return [line(heading), line(rule), ...rest.map(line)].join("\n");
}

/** Three figures, or all before the point. */
const figures = (value: number) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
const percent = (share: number) => `${(share * 100).toFixed(0)} %`;

/** What a reader must know of a row before its numbers; empty where nothing. */
export function remark({ samples, problems }: Result): string {
	const { failed, around } = medians(samples);
	return [
		failed > 0 ? `**${failed} failed**` : "",
		...[...problems].map((problem) => `**wrong: ${problem.replaceAll("|", "/").replaceAll("\n", " ")}**`),
		around >= BUSY ? "load or upstream was the limit" : "",
	]
		.filter(Boolean)
		.join("; ");
}

/** One load's contenders, and the load's name. */
export interface Row {
	readonly name: string;
	readonly results: readonly Result[];
}

const HEADING = [
	["load", "", "calls/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs a call", "× relay"],
	["RSS (peak) MB", "load + upstream", "remark"],
].flat();

/** Every load with its contenders: medians over the rounds; after the ratio the spread of it. */
export function loadTable(rows: readonly Row[]): string {
	const lines = rows.flatMap(({ name, results }) =>
		results.map((result, at) => {
			const { callsPerSecond, p50, p99, p999, cpuPerCall, rss, peak, around } = medians(result.samples);
			const ratio = ratios(result.samples, results[0]?.samples ?? []);
			return [
				at === 0 ? name : "",
				result.name,
				figures(callsPerSecond),
				figures(p50),
				figures(p99),
				figures(p999),
				figures(cpuPerCall),
				at === 0 ? "1.00" : `${median(ratio).toFixed(2)}${ratio.length > 1 ? ` ± ${percent(spread(ratio))}` : ""}`,
				`${rss.toFixed(0)} (${peak.toFixed(0)})`,
				percent(around),
				remark(result),
			];
		}),
	);
	return markdown([HEADING, ...lines], 2);
}

/** What an old and a new binary come to under one load. */
export interface Comparison {
	/** CPU µs a call. */
	readonly old: number;
	readonly now: number;
	/** New over old. */
	readonly ratio: number;
	/** How far old is from old, as a share. */
	readonly spread: number;
	readonly verdict: "better" | "same" | "worse" | "failed";
}

/** No worse by more than this is the same. */
export const TOLERANCE = 0.03;

/**
 * Old is measured twice in each round, around new. The spread is what these two differ by: by their median, or, where it
 * is more, by half of the distance between the quartiles of the rounds. Better and worse is what is beyond it and 3 %.
 */
export function comparison(before: Result, now: Result, after: Result): Comparison {
	const both = before.samples.map((sample, round) => ({
		...sample,
		cpuPerCall: (sample.cpuPerCall + (after.samples[round]?.cpuPerCall ?? Number.NaN)) / 2,
	}));
	const same = ratios(after.samples, before.samples);
	const quartiles = (quantile(same, 0.75) - quantile(same, 0.25)) / 2;
	const spread = Math.max(Math.abs(median(same) - 1), quartiles);
	const ratio = median(ratios(now.samples, both));
	const limit = Math.max(TOLERANCE, spread);
	const isFailed = [before, now, after].some(
		(result) => result.problems.size > 0 || medians(result.samples).failed > 0,
	);
	return {
		old: median(both.map(({ cpuPerCall }) => cpuPerCall)),
		now: median(now.samples.map(({ cpuPerCall }) => cpuPerCall)),
		ratio,
		spread,
		verdict: isFailed ? "failed" : ratio > 1 + limit ? "worse" : ratio < 1 - limit ? "better" : "same",
	};
}

/** Old against new, a load a line. */
export function verdictTable(rows: readonly { name: string; verdict: Comparison; remark: string }[]): string {
	return markdown(
		[
			["load", "old CPU µs", "new CPU µs", "new/old", "old/old", "verdict"],
			...rows.map(({ name, verdict, remark }) => [
				name,
				figures(verdict.old),
				figures(verdict.now),
				verdict.ratio.toFixed(3),
				`± ${(verdict.spread * 100).toFixed(1)} %`,
				[verdict.verdict, remark].filter(Boolean).join(": "),
			]),
		],
		1,
	);
}

/** The single numbers, one a line. */
export function factTable(facts: readonly Fact[]): string {
	return markdown(
		[
			["", "", "limit"],
			...facts.map(({ name, value, unit, limit }) => [
				name,
				`${value.toFixed(1)} ${unit}`,
				limit === undefined ? "" : `${value <= limit ? "" : "**over** "}${limit} ${unit}`,
			]),
		],
		1,
	);
}

/** Whether every promise was kept. */
export const kept = (facts: readonly Fact[]): boolean =>
	facts.every(({ value, limit }) => value <= (limit ?? Number.POSITIVE_INFINITY));
