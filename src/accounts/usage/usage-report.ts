/** Usage, summed by whatever is asked for. Pure. */
import { decimal } from "../../openai/usage-edits.ts";
import type { UsageRow, UsageSums } from "../../store/ledger-batch.ts";
import { NO_USAGE } from "./ledger-rows.ts";
import { isShadow } from "./shadow-account.ts";

/** What usage can be shown by. */
export const USAGE_BY = ["key", "team", "user", "model", "provider", "day"] as const;
/** One of them. */
export type UsageBy = (typeof USAGE_BY)[number];

/** Sums as clients see them. */
export interface ShownSums {
	readonly calls: number;
	readonly failed: number;
	readonly tokens_in: number;
	readonly tokens_out: number;
	readonly tokens_cached: number;
	readonly tokens_reasoning: number;
	/** Of the calls whose price is known. */
	readonly cost_usd: number;
	/** Calls whose tokens are a guess. */
	readonly estimated: number;
	/** Calls that were answered and whose price nobody knows: they are not in `cost_usd`. */
	readonly unpriced: number;
	/** What calls got of the energy of their engines, Wh, where agents say what those draw. */
	readonly energy_wh: number;
}

/** One group. */
export type ShownUsage = { readonly [by in UsageBy]?: string } & ShownSums;

/** The rows summed by these fields; in the order of the fields' texts. */
export function usageBy(rows: readonly UsageRow[], by: readonly UsageBy[]): ShownUsage[] {
	const groups = new Map<string, { names: string[]; sums: UsageSums }>();
	for (const row of rows) {
		const names = by.map((field) => shownName(row, field));
		const name = JSON.stringify(names);
		let group = groups.get(name);
		if (!group) {
			group = { names, sums: { ...NO_USAGE } };
			groups.set(name, group);
		}
		for (const sum of Object.keys(NO_USAGE) as (keyof UsageSums)[]) group.sums[sum] += row[sum];
	}
	return [...groups.values()]
		.sort((a, b) => compare(a.names, b.names))
		.map(({ names, sums }) => ({
			...Object.fromEntries(by.map((field, at) => [field, names[at]])),
			calls: sums.calls,
			failed: sums.failed,
			tokens_in: sums.tokensIn,
			tokens_out: sums.tokensOut,
			tokens_cached: sums.tokensCached,
			tokens_reasoning: sums.tokensReasoning,
			// Sums of doubles: what is beyond 1e-12 USD is noise.
			cost_usd: Number(sums.cost.toFixed(12)),
			estimated: sums.estimated,
			unpriced: sums.unpriced,
			energy_wh: Number((sums.energy / 3_600).toFixed(9)),
		}));
}

/** What a row is shown under. Copies of calls (`shadow` of a model) stand under names of their own, but for their day: they are no caller's. */
function shownName(row: UsageRow, field: UsageBy): string {
	if (field === "day" || field === "key" || !isShadow(row.keyId)) return row[field];
	return row[field] === "" ? "(shadow)" : `${row[field]} (shadow)`;
}

/** The order of rows: by the first of these texts that differ. */
export function compare(a: readonly string[], b: readonly string[]): number {
	const at = a.findIndex((name, index) => name !== b[index]);
	return at === -1 ? 0 : a[at]! < b[at]! ? -1 : 1;
}

const SUMS: readonly (keyof ShownSums)[] = [
	"calls",
	"failed",
	"tokens_in",
	"tokens_out",
	"tokens_cached",
	"tokens_reasoning",
	"cost_usd",
	"estimated",
	"unpriced",
	"energy_wh",
];
/** They may be less than 1e-6, which numbers have another form for. */
const FRACTIONS: ReadonlySet<string> = new Set(["cost_usd", "energy_wh"] satisfies (keyof ShownSums)[]);

/** As CSV (RFC 4180), with a head. */
export function usageCsv(groups: readonly ShownUsage[], by: readonly UsageBy[]): string {
	const lines = groups.map((group) => [
		...by.map((field) => csvCell(group[field] ?? "")),
		...SUMS.map((sum) => (FRACTIONS.has(sum) ? decimal(group[sum]) : String(group[sum]))),
	]);
	return [[...by, ...SUMS], ...lines].map((line) => `${line.join(",")}\r\n`).join("");
}

/** A text in CSV. Clients choose some of them: one that a spreadsheet would take for a formula gets an apostrophe before it. */
export function csvCell(text: string): string {
	const plain = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
	return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}
