/** Settings that people write with a unit: `10m`, `32MB`. In the program they are plain numbers. */
import { type StringOptions, Type } from "@sinclair/typebox";
import type { PastedKind } from "./pasted.ts";

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const BYTES = /^(\d+(?:\.\d+)?)(B|KB|MB|GB|KiB|MiB|GiB)$/;
const MS = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
const SIZE = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** What `schema.unit` may say: the loader turns such a string into a number. */
export type Unit = "ms" | "bytes";

/** A duration in the file (`10m`); ms in the program. */
export const duration = (options: StringOptions) =>
	Type.Unsafe<number>(Type.String({ ...options, pattern: DURATION.source, unit: "ms" satisfies Unit }));

/** A size in the file (`32MB`); bytes in the program. */
export const bytes = (options: StringOptions) =>
	Type.Unsafe<number>(Type.String({ ...options, pattern: BYTES.source, unit: "bytes" satisfies Unit }));

/** A string that is never shown: `router check`, logs and errors mask it. `pasted`: where it is not a key; see `pasted.ts`. */
export const secret = (options: StringOptions & { env?: string; pasted?: PastedKind }) =>
	Type.String({ ...options, secret: true });

/** An http(s) URL with a host; kept as text. */
export const url = (options: StringOptions & { env?: string }) =>
	Type.String({
		...options,
		pattern: "^https?://[^/\\s]\\S*$",
		expects: "a URL that begins with http:// or https://",
		pasted: "address" satisfies PastedKind,
	});

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
