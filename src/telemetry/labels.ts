/** Label values of metrics, kept few: each new combination is a series that lives as long as the process. */

/**
 * Lets the first `most` distinct values through and calls every further one `other`. The catalog bounds model names
 * already; this is the bound that holds when a catalog is large or reloaded often.
 */
export function boundedLabels(most: number): (value: string) => string {
	const seen = new Set<string>();
	return (value) => {
		if (seen.has(value)) return value;
		if (seen.size >= most) return "other";
		seen.add(value);
		return value;
	};
}

/** An HTTP status as a label; `other` for what an upstream made up outside 100–599. */
export function statusLabel(status: number): string {
	return Number.isInteger(status) && status >= 100 && status <= 599 ? String(status) : "other";
}
