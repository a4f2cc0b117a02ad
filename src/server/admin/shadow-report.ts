/** What came of copies of calls (`shadow` of a model), as `GET /admin/shadow` shows it: of the ledger's rows, medians and how often two answers agree. */
import { setImmediate } from "node:timers/promises";
import type { CallDetails } from "../../accounts/usage/call-details.ts";
import { isShadow, SHADOW_ID } from "../../accounts/usage/shadow-account.ts";
import { periodsOf, type SpendStore } from "../../accounts/usage/spend.ts";
import type { ModelConfig } from "../../config/schema.ts";
import type { LedgerCall } from "../../store/ledger-batch.ts";
import type { LedgerStore } from "../../store/ledger-table.ts";
import type { ShadowedAnswer } from "../../telemetry/events.ts";
import { type CallSearch, throwIfLeft } from "./call-list.ts";

/** Most copies that one answer is made of, the newest, and most rows of the ledger that are looked at for them. */
const MOST_COPIES = 5_000;
const MOST_ROWS = 100_000;
/** Rows that are looked at without a pause: some 3 ms. */
const ROWS_AT_ONCE = 2_500;

/** Medians over answers that were compared; of what was known of them. */
export interface ShownMedians {
	readonly ms?: number;
	readonly first_token_ms?: number;
	readonly tokens_out?: number;
	readonly cost_usd?: number;
}

/** How often two answers were the same in something, of those in which both have it. */
export interface ShownAgreement {
	readonly compared: number;
	readonly same: number;
}

/** What is known of one model's copies to another. */
export interface ShownShadow {
	/** The name in `models:`. */
	readonly model: string;
	readonly to: string;
	/** Of the configuration; absent where that has it no more. */
	readonly share?: number;
	readonly budget?: { readonly usd: number; readonly per: "day" | "month" | "total"; readonly spent: number };
	/** Calls whose copy was answered, and those whose copy was not. */
	readonly pairs: number;
	readonly failed: number;
	readonly caller: ShownMedians;
	readonly shadow: ShownMedians;
	readonly same_finish_reason: ShownAgreement;
	readonly same_tool_calls: ShownAgreement;
}

/** The answer. */
export interface ShadowReport {
	readonly data: readonly ShownShadow[];
	/** There are older copies, which were not looked at. */
	readonly partial?: true;
}

/**
 * Reads the ledger, a part at a time, so that no call waits for it.
 * @param range which calls; its filter and limit are of no meaning
 * @param days the same as days, `2026-01-31`, both included
 * @param now Unix time, ms: which period of budgets it is
 * @param signal of whoever asks: rejects with `cancelled` once it is aborted
 */
export async function shadowReport(
	range: Pick<CallSearch, "from" | "before">,
	days: { readonly from: string; readonly to: string },
	store: Pick<LedgerStore, "search" | "usage">,
	models: readonly ModelConfig[],
	spend: Pick<SpendStore, "spent">,
	now: number,
	signal?: AbortSignal,
): Promise<ShadowReport> {
	const sums = new Map<string, ShadowSums>();
	const sumsOf = (model: string, to: string): ShadowSums => {
		const name = JSON.stringify([model, to]);
		const found = sums.get(name) ?? new ShadowSums(model, to);
		sums.set(name, found);
		return found;
	};
	for (const { name, shadow } of models) if (shadow) sumsOf(name, shadow.to);
	// Sums by day say at once how many there are: where there are none no row is looked at.
	let count = 0;
	for (const { keyId, calls } of store.usage(days.from, days.to)) if (isShadow(keyId)) count += calls;
	const most = Math.min(MOST_COPIES, count);
	let found = 0;
	let next: string | undefined = range.before;
	for (let rows = 0; rows < MOST_ROWS && next !== undefined && found < most; rows += ROWS_AT_ONCE) {
		if (rows > 0) await setImmediate();
		throwIfLeft(signal);
		const part = { from: range.from, before: next, limit: most - found, rows: ROWS_AT_ONCE };
		const { calls, next: older } = store.search({ keyIdPrefix: SHADOW_ID }, part);
		for (const call of calls) {
			const details = JSON.parse(call.details) as CallDetails;
			if (details.shadow)
				sumsOf(details.shadow.model, details.requested ?? call.model).add(call, details, details.shadow);
		}
		found += calls.length;
		next = older;
	}
	const data = [...sums.values()].map((each) => each.shown(models, spend, now));
	return { data, ...(next !== undefined && found < count && { partial: true as const }) };
}

/** Values of two answers, where both are known. */
class Pairs {
	readonly #caller: number[] = [];
	readonly #shadow: number[] = [];

	add(caller: number | undefined, shadow: number | undefined): void {
		if (caller === undefined || shadow === undefined) return;
		this.#caller.push(caller);
		this.#shadow.push(shadow);
	}

	get caller(): number | undefined {
		return median(this.#caller);
	}

	get shadow(): number | undefined {
		return median(this.#shadow);
	}
}

/** What is added up of one model's copies to another. */
class ShadowSums {
	#pairs = 0;
	#failed = 0;
	readonly #values = { ms: new Pairs(), first_token_ms: new Pairs(), tokens_out: new Pairs(), cost_usd: new Pairs() };
	readonly #finish = { compared: 0, same: 0 };
	readonly #tools = { compared: 0, same: 0 };

	constructor(
		private readonly model: string,
		private readonly to: string,
	) {}

	add(call: LedgerCall, { ms, first_token_ms }: CallDetails, caller: ShadowedAnswer): void {
		if (call.status >= 400) {
			this.#failed++;
			return;
		}
		this.#pairs++;
		this.#values.ms.add(caller.ms, ms);
		this.#values.first_token_ms.add(caller.first_token_ms, first_token_ms);
		this.#values.tokens_out.add(caller.tokens_out, call.tokensOut);
		this.#values.cost_usd.add(caller.cost_usd, call.cost);
		count(this.#finish, caller.same_finish_reason);
		count(this.#tools, caller.same_tool_calls);
	}

	shown(models: readonly ModelConfig[], spend: Pick<SpendStore, "spent">, now: number): ShownShadow {
		const { model, to } = this;
		const setting = models.find(({ name, shadow }) => name === model && shadow?.to === to)?.shadow;
		const spent = setting && spend.spent(SHADOW_ID + model, periodsOf(now)[setting.budget.per]);
		const medians = (whose: "caller" | "shadow"): ShownMedians =>
			Object.fromEntries(
				Object.entries(this.#values).flatMap(([name, pairs]) =>
					pairs[whose] === undefined ? [] : [[name, pairs[whose]]],
				),
			);
		return {
			model,
			to,
			...(setting && { share: setting.share, budget: { ...setting.budget, spent: spent! } }),
			pairs: this.#pairs,
			failed: this.#failed,
			caller: medians("caller"),
			shadow: medians("shadow"),
			same_finish_reason: { ...this.#finish },
			same_tool_calls: { ...this.#tools },
		};
	}
}

function count(agreement: { compared: number; same: number }, same: boolean | undefined): void {
	if (same === undefined) return;
	agreement.compared++;
	if (same) agreement.same++;
}

/** The middle one, or the mean of the two; undefined of none. Sorts them. */
function median(values: number[]): number | undefined {
	if (values.length === 0) return undefined;
	values.sort((a, b) => a - b);
	const at = values.length >> 1;
	return values.length % 2 === 1 ? values[at]! : (values[at - 1]! + values[at]!) / 2;
}
