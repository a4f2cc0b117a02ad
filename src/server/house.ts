/** What the router keeps of its callers: keys, limits, spending and the ledger, where they are kept, and who else is told. */
import type { Config } from "../config/schema.ts";
import { Ledger } from "../gate/ledger.ts";
import type { Limiter } from "../gate/limiter.ts";
import { type MadeKeys, madeKeys } from "../gate/made-keys.ts";
import { ownSpend } from "../gate/own-spend.ts";
import type { SpendBoard, UsageExchange } from "../gate/spend.ts";
import { WindowLimiter } from "../gate/window.ts";
import { Clocks } from "../proxy/biller.ts";
import type { UsageRow } from "../store/ledger.ts";
import { replicaName } from "../store/replica.ts";
import { sqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { type Sharing, type SharingTools, sharingOf } from "./sharing.ts";

/** How often the day's usage is told to other routers, ms: all of its rows each time. */
const TELL_MS = 5_000;
/** How often it is looked whether another process has written to the ledger, ms: a router with the same data directory. */
const LOOK_MS = 1_000;
const DAY_MS = 86_400_000;

/** Usage, and whether other routers that should have been asked could not be. */
export interface Usage {
	readonly rows: readonly UsageRow[];
	readonly isPartial: boolean;
}

/** The holder. It outlives a reload of the configuration. */
export interface House {
	readonly store: Store;
	readonly keys: MadeKeys;
	readonly ledger: Ledger;
	readonly limiter: Limiter;
	readonly spend: SpendBoard;
	readonly clocks: Clocks;
	/** USD that calls under way may cost, by key. */
	readonly pending: Map<string, number>;
	/** What routers share through Redis, where there is one. */
	readonly sharing: Sharing | undefined;
	/** Goes by another configuration from now on. */
	use(config: Config): void;
	/** The usage of these days, both included: of all replicas that can be asked. */
	usage(from: string, to: string): Promise<Usage>;
	/** Says what goes wrong there from now on. */
	tell(tools: SharingTools): void;
	/** Begins to look after it. Returns how to end that; what waits to be written is then on the disk. */
	open(): () => Promise<void>;
}

/** The house of a configuration. Opens nothing. Throws StartError for an address of Redis that is none. */
export function createHouse(first: Config): House {
	let config = first;
	let tools: SharingTools | undefined;
	const store = sqliteStore(config.data_dir, (problem) => tools?.log.logger.error(problem));
	const keys = madeKeys({ store, taken: () => config.keys.map(({ name }) => name) });
	const ledger = new Ledger({ store: store.ledger, bounds: () => config.usage });
	const sharing = sharingOf(config, () => tools);
	const own = { limiter: new WindowLimiter(), spend: ownSpend(store.ledger) };
	let limiter: Limiter = own.limiter;
	let spend: SpendBoard = own.spend;
	let exchange: UsageExchange<UsageRow> | undefined;

	let version = 0;
	const lookForOthers = () => {
		const found = store.version();
		// To try in vain keeps calls waiting, and the ledger does so by itself.
		if (found === version || ledger.isStuck) return;
		ledger.flush();
		if (!ledger.isWritten) return;
		own.spend.refresh();
		version = found;
	};

	const usageOf = (day: string) => store.ledger.usage(day, day);
	/** Shares what there is to share. Returns how to end it. */
	const share = (with_: Sharing): (() => void) => {
		const replica = replicaName(config.data_dir);
		limiter = with_.limiter(own.limiter);
		spend = with_.spend(replica, own.spend);
		with_.keys(keys);
		const usage = with_.usage<UsageRow>(replica, function* () {
			for (const day of store.ledger.days()) yield [day, usageOf(day)] as const;
		});
		exchange = usage;
		const tellUsage = () => {
			for (const day of ledger.changedDays()) usage.publish(day, usageOf(day));
		};
		const timer = setInterval(tellUsage, TELL_MS);
		timer.unref();
		const close = with_.open();
		return () => {
			clearInterval(timer);
			tellUsage();
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
		pending: new Map(),
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
		},
		open() {
			const unwatch = keys.watch();
			const looking = setInterval(lookForOthers, LOOK_MS);
			looking.unref();
			const close = ledger.open();
			const unshare = sharing && share(sharing);
			return async () => {
				unwatch();
				clearInterval(looking);
				await close();
				unshare?.();
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
