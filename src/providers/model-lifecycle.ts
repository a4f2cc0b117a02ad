/**
 * When vendors stop offering models, as their lists say it: OpenAI's `shutdown_date` (SDK 7.57), Anthropic's `lifecycle`, `deprecated_at` and `retires_at` (SDK 1.14),
 * OpenRouter's `expiration_date`. Google's list says nothing of it (SDK 3.3). Pure.
 */

/** What is known of a model's end. Unix time, s. */
export interface ModelLifecycle {
	/** Since when it is deprecated; absent where only that is known. */
	readonly deprecatedAt?: number;
	/** When calls for it will fail, as it is planned now; absent where no date is known. */
	readonly retiresAt?: number;
	/** Calls for it fail. */
	readonly isRetired?: true;
}

/** Of models by their vendor's own names; those of which nothing is known are not in it. */
export type Lifecycles = ReadonlyMap<string, ModelLifecycle>;

/** Reads an entry of a vendor's list; undefined where that says nothing of an end. */
export function lifecycleIn(listed: object): ModelLifecycle | undefined {
	const { shutdown_date, expiration_date, retires_at, deprecated_at, lifecycle } = listed as Readonly<
		Record<string, unknown>
	>;
	const isRetired = lifecycle === "retired";
	const deprecatedAt = timeIn(deprecated_at);
	const retiresAt = timeIn(retires_at) ?? timeIn(shutdown_date) ?? timeIn(expiration_date);
	if (!isRetired && lifecycle !== "deprecated" && deprecatedAt === undefined && retiresAt === undefined)
		return undefined;
	return {
		...(deprecatedAt !== undefined && { deprecatedAt }),
		...(retiresAt !== undefined && { retiresAt }),
		...(isRetired && { isRetired: true as const }),
	};
}

/** How a list of this router's says it: OpenAI's and Anthropic's fields, so that a router before this one reads them, too. */
export interface ListedLifecycle {
	readonly lifecycle?: "deprecated" | "retired";
	/** `2026-11-30T00:00:00Z` */
	readonly deprecated_at?: string;
	/** `2027-01-14` */
	readonly shutdown_date?: string;
}

/** The fields of a model's entry; none where nothing is known. */
export function listedLifecycle(known: ModelLifecycle | undefined): ListedLifecycle {
	if (!known) return {};
	const { deprecatedAt, retiresAt, isRetired } = known;
	return {
		lifecycle: isRetired ? "retired" : "deprecated",
		...(deprecatedAt !== undefined && { deprecated_at: timeText(deprecatedAt) }),
		...(retiresAt !== undefined && { shutdown_date: dayText(retiresAt) }),
	};
}

/** The headers of answers of such a model: `Deprecation` (RFC 9745), a structured date, and `Sunset` (RFC 8594), an HTTP date. */
export function lifecycleHeaders({ deprecatedAt, retiresAt }: ModelLifecycle): Readonly<Record<string, string>> {
	return {
		...(deprecatedAt !== undefined && { deprecation: `@${deprecatedAt}` }),
		...(retiresAt !== undefined && { sunset: new Date(retiresAt * 1000).toUTCString() }),
	};
}

/** `is retired by OpenAI on 2027-01-14`. @param vendor its title @param now Unix time, ms */
export function lifecycleText(
	{ deprecatedAt, retiresAt, isRetired }: ModelLifecycle,
	vendor: string,
	now: number,
): string {
	if (isRetired) return `is retired: ${vendor} answers no calls for it any more`;
	if (retiresAt === undefined) {
		const since = deprecatedAt === undefined ? "" : ` since ${dayText(deprecatedAt)}`;
		return `is deprecated at ${vendor}${since}, which has not said when it ends`;
	}
	return retiresAt * 1000 > now
		? `is retired by ${vendor} on ${dayText(retiresAt)}`
		: `was to be retired by ${vendor} on ${dayText(retiresAt)}`;
}

/** A list's times are ISO 8601, days or moments; what is read as a number is Unix time, s. What is no time of these centuries is none. */
function timeIn(value: unknown): number | undefined {
	const at = typeof value === "string" ? Date.parse(value) / 1000 : value;
	return typeof at === "number" && at > FIRST && at < LAST ? Math.floor(at) : undefined;
}

const FIRST = Date.UTC(2000) / 1000;
const LAST = Date.UTC(2200) / 1000;

const timeText = (at: number): string => new Date(at * 1000).toISOString().replace(".000Z", "Z");
const dayText = (at: number): string => timeText(at).slice(0, 10);
