/** What the router keeps of its callers: keys, limits, spending and the ledger, where they are kept, and who else is told. */

import { type MadeKeys, madeKeys } from "../accounts/auth/stored-keys.ts";
import type { Limiter } from "../accounts/limits/limiter.ts";
import { WindowLimiter } from "../accounts/limits/sliding-window.ts";
import { UsualCalls } from "../accounts/usage/learned-usage.ts";
import { Ledger, type LostRows } from "../accounts/usage/ledger.ts";
import { usageName } from "../accounts/usage/ledger-rows.ts";
import { ownSpend } from "../accounts/usage/local-spend.ts";
import { Clocks } from "../accounts/usage/pricing.ts";
import type { SpendStore, UsageExchange } from "../accounts/usage/spend.ts";
import type { Config } from "../config/schema.ts";
import type { UsageKey, UsageRow } from "../store/ledger-table.ts";
import { replicaName } from "../store/replica.ts";
import { sqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import type { LedgerState } from "../telemetry/ledger-metrics.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { type Sharing, type SharingTools, sharingOf } from "./redis-features.ts";

/** How often sums that have grown are told to other routers, ms, and how many at once: to read them keeps calls waiting for 3 ms. */
const TELL_MS = 1_000;
const MOST_TOLD = 500;
/** How often it is looked whether another process has written to the ledger, ms: a router with the same data directory. */
const LOOK_MS = 1_000;
/** How often a store that can't be written is tried again, ms. */
const MEND_MS = 5_000;
const DAY_MS = 86_400_000;
const FULL = "the ledger has no room for more calls until it can be written: of those that come only the sums are kept";

/** Usage, and whether other routers that should have been asked could not be. */
export interface UsageServices {
	readonly rows: readonly UsageRow[];
	readonly isPartial: boolean;
}

/** Whom it tells of what goes wrong. */
export interface HouseTools extends SharingTools {
	readonly metrics: Pick<Metrics, "redis" | "ledgerLost">;
}

/** The holder. It outlives a reload of the configuration. */
export interface RouterState {
	readonly store: Store;
	readonly keys: MadeKeys;
	readonly ledger: Ledger;
	readonly limiter: Limiter;
	readonly spend: SpendStore;
	readonly clocks: Clocks;
	/** What calls usually come to. */
	readonly usual: UsualCalls;
	/** What routers share through Redis, where there is one. */
	readonly sharing: Sharing | undefined;
	/** Goes by another configuration from now on. */
	use(config: Config): void;
	/** The usage of these days, both included: of all replicas that can be asked. */
	usage(from: string, to: string): Promise<UsageServices>;
	/** Says what goes wrong there from now on. */
	tell(tools: HouseTools): void;
	/** How the ledger stands. */
	readonly ledgerState: LedgerState;
	/** Begins to look after it. Returns how to end that; what waits to be written is then on the disk. */
	open(): () => Promise<void>;
}

/** The house of a configuration. Opens nothing. Throws StartError for an address of Redis that is none. */
export function createRouterState(first: Config): RouterState {
	let config = first;
	let tools: HouseTools | undefined;
	/** What went wrong before there was anybody to tell: keys are asked for before the log is open. */
	let untold: string | undefined;
	const store = sqliteStore(
		config.data_dir,
		(problem) => {
			if (tools) tools.log.logger.error(problem);
			else untold = problem;
		},
		(sentence) => tools?.log.logger.info(sentence),
	);
	const keys = madeKeys({ store, taken: () => config.keys.map(({ name }) => name) });
	const sharing = sharingOf(config, () => tools);
	/** Sums that other routers have not heard of. */
	const grown = new Map<string, UsageKey>();
	const onWritten = (rows: readonly UsageKey[]) => {
		for (const row of rows) grown.set(usageName(row), row);
	};
	/** Why, and which call; nothing of what it said. */
	const onLost = ({ reason, count, id, problem, isKnown }: LostRows) => {
		tools?.metrics.ledgerLost(reason, count);
		if (isKnown) return;
		const sentence = reason === "full" ? FULL : "a row of the ledger was refused and is lost";
		tools?.log.logger.warn({ id, problem }, sentence);
	};
	const ledger: Ledger = new Ledger({
		store: store.ledger,
		bounds: () => config.usage,
		onLost,
		...(sharing ? { onWritten } : {}),
	});
	const own = { limiter: new WindowLimiter(), spend: ownSpend(store.ledger) };
	let limiter: Limiter = own.limiter;
	let spend: SpendStore = own.spend;
	let exchange: UsageExchange | undefined;

	let version = 0;
	/** Has the ledger asked anew where others have written to it, or it could not be read. */
	const lookForOthers = () => {
		const found = store.version();
		// To try in vain keeps calls waiting, and the ledger does so by itself.
		if ((found === version && !own.spend.isUnsure) || ledger.isStuck) return;
		ledger.flush();
		if (!ledger.isWritten) return;
		own.spend.refresh();
		version = found;
	};

	/** Shares what there is to share. Returns how to end it. */
	const share = (with_: Sharing): (() => Promise<void>) => {
		const replica = replicaName(config.data_dir);
		limiter = with_.limiter(own.limiter, { replica, spent: (key, period) => own.spend.spent(key, period) });
		spend = with_.spend(replica, own.spend);
		with_.keys(keys);
		const usage = with_.usage(replica, function* () {
			for (const day of store.ledger.days()) yield store.ledger.usage(day, day);
		});
		exchange = usage;
		const tellUsage = (most: number) => {
			const told = [...grown.entries().take(most)];
			const rows = store.ledger.sums(told.map(([, sums]) => sums));
			// None: there is nothing to tell, or a disk that can't be read now.
			if (rows.length === 0) return;
			for (const [name] of told) grown.delete(name);
			usage.publish(rows);
		};
		const timer = setInterval(() => tellUsage(MOST_TOLD), TELL_MS);
		timer.unref();
		const close = with_.open();
		return async () => {
			clearInterval(timer);
			tellUsage(Number.POSITIVE_INFINITY);
			await usage.told();
			close();
		};
	};

	return {
		store,
		keys,
		ledger,
		get limiter() {
			return limiter;
		},
		get spend() {
			return spend;
		},
		clocks: new Clocks(),
		usual: new UsualCalls(),
		sharing,
		use(next) {
			config = next;
		},
		async usage(from, to) {
			ledger.flush();
			const rows = store.ledger.usage(from, to);
			if (!exchange) return { rows, isPartial: false };
			const others = await exchange.others(daysFrom(from, to));
			return { rows: [...rows, ...(others ?? [])], isPartial: others === undefined };
		},
		tell(to) {
			tools = to;
			if (untold !== undefined) to.log.logger.error(untold);
			untold = undefined;
		},
		get ledgerState() {
			if (ledger.isStuck) return "stopped";
			return store.problem === undefined ? "ok" : "memory";
		},
		open() {
			const unwatch = keys.watch();
			const looking = setInterval(lookForOthers, LOOK_MS);
			looking.unref();
			// At once, so that a directory that can't be written is told of before a call comes.
			store.mend();
			const mending = setInterval(() => store.mend(), MEND_MS);
			mending.unref();
			const close = ledger.open();
			const unshare = sharing && share(sharing);
			return async () => {
				unwatch();
				clearInterval(looking);
				clearInterval(mending);
				store.mend();
				await close();
				// By then the ledger has tried again, too.
				if (store.hasUnwritten || !ledger.isWritten) {
					tools?.log.logger.error(
						`${store.problem ?? config.data_dir}: what waited in memory is lost with this process.`,
					);
				}
				await unshare?.();
			};
		},
	};
}

/** Each day of a span, at most the 400 that replicas tell of. */
function daysFrom(from: string, to: string): string[] {
	const [first, last] = [Date.parse(from), Date.parse(to)];
	const count = Math.min(400, Math.round((last - first) / DAY_MS) + 1);
	return Array.from({ length: count }, (_, at) => new Date(last - at * DAY_MS).toISOString().slice(0, 10));
}
