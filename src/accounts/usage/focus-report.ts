/**
 * Usage as the "Cost and Usage" dataset of FOCUS 1.3 (FinOps Open Cost and Usage Specification, focus.finops.org/focus-specification/v1-3), for the tools that read
 * bills of clouds: CSV, a row for each sum of the ledger, a day or an hour (UTC) each. Pure.
 */
import type { Config, ProviderConfig } from "../../config/schema.ts";
import { isLocal } from "../../providers/locality.ts";
import type { UsageRow } from "../../store/ledger-batch.ts";
import { VENDORS, type VendorRow } from "../../vendors.ts";
import type { PeriodRow } from "./hourly-usage.ts";
import { addUsage } from "./ledger-rows.ts";
import { PriceBook } from "./price-book.ts";
import { compare, csvCell } from "./usage-report.ts";

/** What it reads of a configuration. */
export type FocusConfig = Pick<Config, "providers" | "prices">;

/** The CSV (RFC 4180), with a head; empty where a value is null. @param rows of one router or several: what is of the same is one row */
export function focusCsv(rows: readonly PeriodRow[], config: FocusConfig): string {
	const sums = [...Map.groupBy(rows, ({ hour }) => hour).values()].flatMap(added);
	const prices = new PriceBook(config.prices);
	const charges = sums
		.filter(isCharge)
		.sort((a, b) => compare(orderOf(a), orderOf(b)))
		.map((row) => chargeOf(row, config.providers, prices));
	const lines = charges.map((charge) => FOCUS_COLUMNS.map(([, value]) => cell(value(charge))));
	return [FOCUS_COLUMNS.map(([id]) => id), ...lines].map((line) => `${line.join(",")}\r\n`).join("");
}

/** Whether it becomes a row of the dataset whose period is a day. */
export const isDaily = (row: PeriodRow): boolean => row.hour === undefined && isCharge(row);

/** @param rows of one hour, or of none */
function added(rows: readonly PeriodRow[]): PeriodRow[] {
	const sums = new Map<string, UsageRow>();
	for (const row of rows) addUsage(sums, row);
	return [...sums.values()];
}

/** One row of the dataset. */
interface Charge {
	readonly row: PeriodRow;
	readonly from: SoldBy;
	readonly consumed: Amount;
	/** As it is priced. */
	readonly priced: Amount;
}

interface Amount {
	readonly quantity: number;
	/** In the words of FOCUS' Unit Format. */
	readonly unit: "Tokens" | "Requests" | "Hours";
}

/** Whose service it is. */
interface SoldBy {
	readonly entity: string;
	readonly service: string;
	readonly isOwn: boolean;
}

type Value = string | number | undefined;

/** Hardware of the user's own: who that is no setting says. */
const OWN: SoldBy = { entity: "Self-hosted", service: "Self-hosted inference", isOwn: true };
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** Calls that were refused, or answered by the router's own cache, used nothing of anybody's. */
const isCharge = (row: UsageRow): boolean =>
	row.cost !== 0 || (row.provider !== "none" && consumedBy(row).quantity > 0);

function chargeOf(row: PeriodRow, providers: Config["providers"], prices: PriceBook): Charge {
	const from = soldBy(row.provider, providers[row.provider]);
	const consumed = consumedBy(row);
	const rate = from.isOwn ? hourlyRate(row, prices) : undefined;
	const priced: Amount = rate ? { quantity: row.cost / rate, unit: "Hours" } : consumed;
	return { row, from, consumed, priced };
}

/** What costs by the picture or the minute has no tokens. */
function consumedBy({ tokensIn, tokensOut, calls, failed }: UsageRow): Amount {
	const tokens = tokensIn + tokensOut;
	return tokens > 0 ? { quantity: tokens, unit: "Tokens" } : { quantity: calls - failed, unit: "Requests" };
}

/** USD an hour of a model's hardware, where that is all that it costs. */
function hourlyRate({ provider, model, cost }: UsageRow, prices: PriceBook): number | undefined {
	const { rates } = prices.of({ id: `${provider}/${model}`, model, provider: { name: provider }, kind: "replica" });
	if (!rates?.gpu_hour || cost === 0) return undefined;
	return rates.input === 0 && rates.output === 0 && rates.request === undefined ? rates.gpu_hour : undefined;
}

/** A vendor at its own address is the vendor; at another one is whoever the configuration calls so. */
function soldBy(name: string, settings: ProviderConfig = {}): SoldBy {
	const row: VendorRow | undefined = VENDORS[settings.type ?? (name as keyof typeof VENDORS)];
	if (name === "dummy" || (row && isLocal({ row, baseUrl: settings.base_url }))) return OWN;
	const isVendors = row?.baseUrl !== undefined && (settings.base_url ?? row.baseUrl) === row.baseUrl;
	const entity = isVendors ? row.title : name;
	return { entity, service: `${entity} API`, isOwn: false };
}

/** Each mandatory column of the dataset, those that were so until 1.3 (ProviderName, PublisherName), and what else is known; in the order of the alphabet. */
const COLUMNS: Readonly<Record<string, (charge: Charge) => Value>> = {
	BilledCost: ({ row }) => row.cost,
	// An account at a vendor is a provider of the configuration: each has a key of its own there.
	BillingAccountId: ({ row }) => row.provider,
	BillingAccountName: ({ row }) => row.provider,
	BillingCurrency: () => "USD",
	BillingPeriodEnd: ({ row }) => monthFrom(row.day, 1),
	BillingPeriodStart: ({ row }) => monthFrom(row.day, 0),
	ChargeCategory: () => "Usage",
	// The ledger is never corrected.
	ChargeClass: () => undefined,
	ChargeDescription: ({ row }) => descriptionOf(row),
	ChargeFrequency: () => "Usage-Based",
	ChargePeriodEnd: ({ row }) => timeText(beginOf(row) + (row.hour === undefined ? DAY_MS : HOUR_MS)),
	ChargePeriodStart: ({ row }) => timeText(beginOf(row)),
	ConsumedQuantity: ({ consumed }) => consumed.quantity,
	ConsumedUnit: ({ consumed }) => consumed.unit,
	// The ledger has one price of a call: the one that it was charged at.
	ContractedCost: ({ row }) => row.cost,
	EffectiveCost: ({ row }) => row.cost,
	HostProviderName: ({ from }) => from.entity,
	InvoiceIssuerName: ({ from }) => from.entity,
	ListCost: ({ row }) => row.cost,
	PricingQuantity: ({ priced }) => priced.quantity,
	PricingUnit: ({ priced }) => priced.unit,
	ProviderName: ({ from }) => from.entity,
	PublisherName: ({ from }) => from.entity,
	ServiceCategory: () => "AI and Machine Learning",
	ServiceName: ({ from }) => from.service,
	ServiceProviderName: ({ from }) => from.entity,
	ServiceSubcategory: () => "Generative AI",
	SkuId: skuOf,
	SkuMeter: ({ priced }) => priced.unit,
	SkuPriceDetails: () => undefined,
	SkuPriceId: skuOf,
	SubAccountId: ({ row }) => row.keyId || undefined,
	SubAccountName: ({ row }) => row.key || undefined,
	Tags: ({ row }) => tagsOf(row),
	x_CachedInputTokens: ({ row }) => row.tokensCached,
	x_EnergyWattHours: ({ row }) => row.energy / 3_600,
	x_EstimatedRequests: ({ row }) => row.estimated,
	x_FailedRequests: ({ row }) => row.failed,
	x_InputTokens: ({ row }) => row.tokensIn,
	x_Model: ({ row }) => row.model,
	x_OutputTokens: ({ row }) => row.tokensOut,
	x_ReasoningTokens: ({ row }) => row.tokensReasoning,
	x_Requests: ({ row }) => row.calls,
	x_UnpricedRequests: ({ row }) => row.unpriced,
};

/** The columns, with what stands there. */
const FOCUS_COLUMNS = Object.entries(COLUMNS);

/** A model has several prices where some of its calls have tokens and others don't. */
function skuOf({ row, priced }: Charge): string {
	return `${row.provider}/${row.model}#${priced.unit.toLowerCase()}`;
}

function descriptionOf({ model, provider, calls, tokensIn, tokensOut, unpriced }: UsageRow): string {
	const made = `${calls} ${calls === 1 ? "call" : "calls"} of ${model} at ${provider}`;
	const tokens = `${tokensIn} tokens in, ${tokensOut} out`;
	return `${made}: ${tokens}${unpriced > 0 ? `; ${unpriced} without a known price, in no cost` : ""}`;
}

/** Whose calls, as JSON (FOCUS' Key-Value Format). */
function tagsOf({ team, user }: UsageRow): string | undefined {
	const tags = { ...(team && { team }), ...(user && { user }) };
	return Object.keys(tags).length > 0 ? JSON.stringify(tags) : undefined;
}

const beginOf = ({ day, hour = 0 }: PeriodRow): number => Date.parse(day) + hour * HOUR_MS;

/** @param day `2026-01-31` @param later months after its own */
function monthFrom(day: string, later: number): string {
	return timeText(Date.UTC(Number(day.slice(0, 4)), Number(day.slice(5, 7)) - 1 + later));
}

const timeText = (at: number): string => new Date(at).toISOString().replace(".000Z", "Z");

/** Numbers in full, so that sums are the ledger's; FOCUS' Numeric Format writes 1e-7 as 1E-7. */
function cell(value: Value): string {
	if (value === undefined) return "";
	return typeof value === "number" ? String(value).toUpperCase() : csvCell(value);
}

const orderOf = ({ day, hour, provider, model, keyId, user }: PeriodRow) => {
	const time = hour === undefined ? "" : String(hour).padStart(2, "0");
	return [day, time, provider, model, keyId, user];
};
