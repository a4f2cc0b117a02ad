/** What `GET /admin/usage` and `router usage` are asked for. Pure. */
import { USAGE_BY, type UsageBy } from "../../accounts/usage/usage-report.ts";
import { RouterError } from "../../errors.ts";

const DAY_MS = 86_400_000;

/** What `GET /admin/usage` takes. */
export interface UsageQuery {
	readonly by: readonly UsageBy[];
	/** `2026-01-31`, both included. */
	readonly from: string;
	readonly to: string;
}

/** Of an answer in CSV that lacks the usage of routers which could not be asked. */
export const PARTIAL_HEADER = "x-router-partial";

/** Usage as the CSV of FOCUS 1.3. */
export interface FocusExport {
	readonly csv: string;
	/** By which period it was made. */
	readonly granularity: Granularity;
	/** Other routers could not be asked: theirs is missing. */
	readonly partial?: true;
	/** It was asked for by the hour, and some of its rows are by day all the same. */
	readonly daily?: true;
}

/** Of each FOCUS dataset: by which period it was made. A router that does not say knows days alone. */
export const GRANULARITY_HEADER = "x-router-granularity";
/** Of a FOCUS dataset by the hour some of whose rows are by day. */
export const DAILY_HEADER = "x-router-daily";

/** The periods that a FOCUS dataset can have. */
const GRANULARITIES = ["day", "hour"] as const;
/** One of them. */
export type Granularity = (typeof GRANULARITIES)[number];

/** Reads by which period usage is asked for. Throws `invalid_value` naming the parameter. */
export function usageGranularity({
	granularity = "day",
	format,
}: {
	readonly granularity?: string | undefined;
	readonly format?: string | undefined;
}): Granularity {
	const known = GRANULARITIES.find((name) => name === granularity);
	if (!known) {
		const message = `granularity must be one of ${GRANULARITIES.join(", ")}.`;
		throw new RouterError("invalid_value", message, { param: "granularity" });
	}
	if (known === "hour" && format !== "focus") {
		const message = "granularity=hour is for format=focus alone: other forms are summed by what `by` says.";
		throw new RouterError("invalid_value", message, { param: "granularity" });
	}
	return known;
}

/** The forms of an answer about usage. */
const USAGE_FORMATS = ["json", "csv", "focus"] as const;

/** Reads in which form usage is asked for. Throws `invalid_value` naming the parameter. */
export function usageFormat({
	format = "json",
	by,
}: {
	readonly format?: string | undefined;
	readonly by?: string | undefined;
}): (typeof USAGE_FORMATS)[number] {
	const known = USAGE_FORMATS.find((name) => name === format);
	if (!known) {
		const message = `format must be one of ${USAGE_FORMATS.join(", ")}.`;
		throw new RouterError("invalid_value", message, { param: "format" });
	}
	if (known === "focus" && by !== undefined) {
		const message =
			"by is not for format=focus, which has a row for each key, user, model, provider and day or hour: leave it out.";
		throw new RouterError("invalid_value", message, { param: "by" });
	}
	return known;
}

/** Reads what usage is asked for. Throws `invalid_value` naming the parameter. @param now Unix time, ms */
export function usageQuery(
	asked: { readonly by?: string | undefined; readonly from?: string | undefined; readonly to?: string | undefined },
	now = Date.now(),
): UsageQuery {
	const today = new Date(now).toISOString().slice(0, 10);
	const by = (asked.by ?? "key,model").split(",").map((field) => field.trim());
	const unknown = by.find((field) => !(USAGE_BY as readonly string[]).includes(field));
	if (unknown !== undefined) {
		const message = `by must be some of ${USAGE_BY.join(", ")}, comma separated.`;
		throw new RouterError("invalid_value", message, { param: "by" });
	}
	const to = dayIn(asked.to, "to") ?? today;
	const from = dayIn(asked.from, "from") ?? new Date(Date.parse(to) - 29 * DAY_MS).toISOString().slice(0, 10);
	if (from > to) throw new RouterError("invalid_value", "from must not be later than to.", { param: "from" });
	return { by: [...new Set(by)] as UsageBy[], from, to };
}

function dayIn(text: string | undefined, param: string): string | undefined {
	if (text === undefined) return undefined;
	const day = /^\d{4}-\d{2}-\d{2}$/.test(text) ? new Date(`${text}T00:00:00Z`) : undefined;
	if (day && !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text)) return text;
	throw new RouterError("invalid_value", `${param} must be a day such as 2026-01-31 (UTC).`, { param });
}
