/** Numbers and times as people read them. */

const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** `1.23K`, `0.4`, `17`. */
export const countText = (value: number): string =>
	value < 100 ? String(Number(value < 10 ? value.toPrecision(2) : value.toPrecision(3))) : short.format(value);

/** `12,345`. */
export const wholeText = (value: number): string => whole.format(value);

/** `310 ms`, `1.25 s`, `3 min 5 s`. */
export function durationText(ms: number): string {
	if (ms < 1_000) return `${Number(ms.toPrecision(3))} ms`;
	if (ms < 60_000) return `${Number((ms / 1_000).toPrecision(3))} s`;
	const seconds = Math.round(ms / 1_000);
	if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
	return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
}

/** `$1.20`, `$12,345.60`, `$0.000446`, `$0`. */
export function usdText(usd: number): string {
	if (usd === 0) return "$0";
	return usd >= 0.1 ? `$${money.format(usd)}` : `$${Number(usd.toPrecision(3))}`;
}

/** The same where there is little room: `$123`, `$12.3K`. */
export const shortUsdText = (usd: number): string => (usd < 100 ? usdText(usd) : `$${short.format(usd)}`);

/** `1.5 GiB`. */
export function bytesText(bytes: number): string {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let value = bytes;
	let at = 0;
	while (value >= 1024 && at < units.length - 1) {
		value /= 1024;
		at++;
	}
	return `${Number(value.toPrecision(3))} ${units[at]}`;
}

/** `12:04:31`. @param at Unix time, ms */
export const clockText = (at: number): string => clock.format(at);

/** `30 Nov 2026, 12:04:31`. @param at ISO 8601, or Unix time, ms */
export const timeText = (at: string | number): string => day.format(typeof at === "string" ? Date.parse(at) : at);

/** The time alone where it is of the day of `now`, in the reader's zone; else with the day. @param at ISO 8601 @param now Unix time, ms */
export function recentText(at: string, now: number): string {
	const isToday = new Date(at).toDateString() === new Date(now).toDateString();
	return isToday ? clockText(Date.parse(at)) : timeText(at);
}

/** `Europe/Berlin`: in which all times are shown. */
export const zoneText = (): string => clock.resolvedOptions().timeZone;

/** What a field for a time shows, in the reader's zone: `2026-11-30T12:04`. @param at Unix time, ms */
export const fieldText = (at: number): string =>
	new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, "2026-11-30T12:04".length);
