/** Durations and sizes as users write them, `10m` and `32MB`: parsing and formatting. In the program they are plain numbers. */

/** The form of a duration. */
export const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
/** The form of a size. */
export const BYTES = /^(\d+(?:\.\d+)?)(B|KB|MB|GB|KiB|MiB|GiB)$/;
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
