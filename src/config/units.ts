/** Durations, sizes and shares as users write them, `10m`, `32MB` and `10%`: parsing and formatting. In the program they are plain numbers. */

/** What a setting's number is in the program: ms, bytes, or a share from 0 to 1. */
export type Unit = "ms" | "bytes" | "share";

/** The form of a duration. */
export const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
/** The form of a size. */
export const BYTES = /^(\d+(?:\.\d+)?)(B|KB|MB|GB|KiB|MiB|GiB)$/;
/** The form of a share. */
export const SHARE = /^(100|\d{1,2}(?:\.\d{1,2})?)%$/;
const MS = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
const SIZE = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `"1.5h"` → ms; undefined where the text is no duration. */
export function parseDuration(text: string): number | undefined {
	const [, amount, unit] = DURATION.exec(text) ?? [];
	return amount ? Math.round(Number(amount) * MS[unit as keyof typeof MS]) : undefined;
}

/** `"32MB"` → bytes; undefined where the text is no size. */
export function parseBytes(text: string): number | undefined {
	const [, amount, unit] = BYTES.exec(text) ?? [];
	return amount ? Math.round(Number(amount) * SIZE[unit as keyof typeof SIZE]) : undefined;
}

/** `"10%"` → 0.1; undefined where the text is no share. */
export function parseShare(text: string): number | undefined {
	const [, percent] = SHARE.exec(text) ?? [];
	return percent === undefined ? undefined : Number(percent) / 100;
}

/** A setting's text → its number in the program; undefined where it is none of that unit. */
export function parseWithUnit(text: string, unit: Unit): number | undefined {
	if (unit === "share") return parseShare(text);
	return unit === "ms" ? parseDuration(text) : parseBytes(text);
}

/** The opposite. */
export function formatWithUnit(value: number, unit: Unit): string {
	if (unit === "share") return `${Math.round(value * 10_000) / 100}%`;
	return unit === "ms" ? formatDuration(value) : formatBytes(value);
}

/** 90000 → `90s`, 600000 → `10m`: the largest unit that needs no fraction. */
export function formatDuration(ms: number): string {
	return withUnit(ms, MS);
}

/** 32000000 → `32MB`: the largest unit that needs no fraction. */
export function formatBytes(size: number): string {
	return withUnit(size, SIZE);
}

function withUnit(amount: number, units: Record<string, number>): string {
	const fitting = Object.entries(units).filter(([, factor]) => amount !== 0 && amount % factor === 0);
	const [unit, factor] = fitting.reduce(
		(best, entry) => (entry[1] > best[1] ? entry : best),
		Object.entries(units)[0]!,
	);
	return `${amount / factor}${unit}`;
}
