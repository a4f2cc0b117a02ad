/** What the router keeps of its callers: keys, limits, spending and the ledger, and where they are kept. */
import type { Config } from "../config/schema.ts";
import { Ledger } from "../gate/ledger.ts";
import type { Limiter } from "../gate/limiter.ts";
import { type MadeKeys, madeKeys } from "../gate/made-keys.ts";
import { ownSpend } from "../gate/own-spend.ts";
import type { SpendBoard } from "../gate/spend.ts";
import { WindowLimiter } from "../gate/window.ts";
import { Clocks } from "../proxy/biller.ts";
import type { UsageRow } from "../store/ledger.ts";
import { sqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";

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
	/** Goes by another configuration from now on. */
	use(config: Config): void;
	/** The usage of these days, both included: of all replicas that can be asked. */
	usage(from: string, to: string): Promise<readonly UsageRow[]>;
	/** Says what goes wrong there from now on. */
	tell(log: Pick<Log, "logger">): void;
	/** Begins to look after it. Returns how to end that; what waits to be written is then on the disk. */
	open(): () => Promise<void>;
}

/** The house of a configuration. Opens nothing. */
export function createHouse(first: Config): House {
	let config = first;
	let log: Pick<Log, "logger"> | undefined;
	const store = sqliteStore(config.data_dir, (problem) => log?.logger.error(problem));
	const made = madeKeys({ store, taken: () => config.keys.map(({ name }) => name) });
	const ledger = new Ledger({ store: store.ledger, bounds: () => config.usage });
	return {
		store,
		keys: made,
		ledger,
		limiter: new WindowLimiter(),
		spend: ownSpend(store.ledger),
		clocks: new Clocks(),
		pending: new Map(),
		use(next) {
			config = next;
		},
		async usage(from, to) {
			ledger.flush();
			return store.ledger.usage(from, to);
		},
		tell(to) {
			log = to;
		},
		open() {
			const unwatch = made.watch();
			const close = ledger.open();
			return async () => {
				unwatch();
				await close();
			};
		},
	};
}
