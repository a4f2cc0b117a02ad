/** What the router knows of its callers: keys, limits, spending and the ledger. It outlives a reload of the configuration. */

import { StoredKeys, type StoredKeysOptions } from "../accounts/auth/stored-keys.ts";
import type { LimitsOwner } from "../accounts/limits/handed-limits.ts";
import type { Limit, Limiter, LocalLimiter } from "../accounts/limits/limiter.ts";
import type { SharedLimiter, SharedLimits } from "../accounts/limits/shared-limiter.ts";
import { SlidingWindowLimiter } from "../accounts/limits/sliding-window.ts";
import { makeRunaways, Runaways } from "../accounts/runaway/runaways.ts";
import { type EnergyMeters, LocalEnergyMeters } from "../accounts/usage/energy-meters.ts";
import { HardwareClocks } from "../accounts/usage/hardware-clocks.ts";
import { LearnedUsage, type LearnedView } from "../accounts/usage/learned-usage.ts";
import { Ledger, type LedgerOptions, type LostRows } from "../accounts/usage/ledger.ts";
import { type CommonUsers, EndUsers } from "../accounts/usage/ledger-rows.ts";
import { LocalSpend } from "../accounts/usage/local-spend.ts";
import type { SharedSpend } from "../accounts/usage/shared-spend.ts";
import { UsagePublisher } from "../accounts/usage/shared-usage.ts";
import type { SpendStore } from "../accounts/usage/spend.ts";
import type { SpendCells } from "../accounts/usage/spend-cells.ts";
import type { Config } from "../config/schema.ts";
import type { UsageRow } from "../store/ledger-batch.ts";
import type { LedgerStore } from "../store/ledger-table.ts";
import { type Replica, replicaOf } from "../store/replica.ts";
import type { SharedRow } from "../store/shared-table.ts";
import { sqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "../telemetry/log.ts";
import type { LedgerState, Metrics } from "../telemetry/metrics.ts";
import { HourlyReads } from "./admin/hourly-read.ts";
import type { RedisFeatures } from "./redis-features.ts";

/** How often it is looked whether another process has written to the ledger, ms: a router with the same data directory. */
const LOOK_MS = 1_000;
/** How often a store that can't be written is tried again, ms. */
const RETRY_MS = 5_000;
const FULL = "the ledger has no room for more calls until it can be written: of those that come only the sums are kept";

/** Usage, and whether other routers that should have been asked could not be. */
export interface CollectedUsage {
	/** Of this process's ledger, and of those of other replicas. */
	readonly own: readonly UsageRow[];
	readonly others: readonly UsageRow[];
	readonly isPartial: boolean;
}

/** Where it says what goes wrong. */
export interface StateReports {
	/** May be called before the port is bound, when the log may not be written yet. */
	readonly problem: (sentence: string) => void;
	readonly log: Pick<Log, "logger">;
	readonly metrics: Pick<Metrics, "ledgerLost">;
}

/** What a thread has of the whole process, where several answer calls. */
export interface StateParts {
	/** The main thread's store, where that is another: changes of keys come from there, and calls go into its ledger. */
	readonly writer?: string;
	/** The main thread's: how many threads tell its ledger of calls. */
	readonly threads?: number;
	/** Counted by all threads. @param ledger as this thread reads it */
	readonly limits: (ledger: LedgerStore) => SharedLimits;
	readonly clocks?: Pick<HardwareClocks, "start">;
	readonly energy?: EnergyMeters;
	/** Agents that have run away. */
	readonly runaways?: Runaways;
	/** What calls have come to. */
	readonly learned?: LearnedView;
	/** End users that have sums of their own. */
	readonly endUsers?: CommonUsers;
	/** A worker's: where routers count limits together, or another process may take this one's place. @param own counts for this router @param spent what this one has spent, USD */
	readonly limiter?: (own: SharedLimiter, spent: SpendStore["spent"]) => Limiter;
}

/** What it reads of a configuration. */
type StateConfig = Pick<Config, "data_dir" | "usage">;

/** How long Redis keeps whose files and batches there are when no router changes any, ms. Each router has them in its own database. */
const OBJECTS_MS = 365 * 86_400_000;

/** Has all routers of one Redis know whose files and batches there are. @param took hears of what others have changed */
function shareObjects(redis: RedisFeatures, store: Store, took: (rows: readonly SharedRow[]) => void): void {
	const holder = {
		take(rows: readonly SharedRow[]) {
			const taken = store.takeObjects(rows);
			if (taken.length > 0) took(taken);
		},
		rows: () => store.objectRows(),
	};
	const publish = redis.table("objects", OBJECTS_MS, holder);
	store.onObject = (row) => publish([row]);
}

/** The keys in a store beside the main thread's, of whose changes the worker is told: they are not read anew for each of its batches. */
function keysBeside(store: Store, writer: string): StoredKeysOptions["store"] {
	return {
		keys: () => store.keys(),
		saveKeys: (keys) => store.saveKeys(keys),
		version: () => store.changesBeside(writer),
		get isUnreadable() {
			return store.isUnreadable;
		},
	};
}

/** One for each process. Opens nothing before `open` but the database, when a key or a row is first asked for. */
export class RouterState {
	readonly store: Store;
	readonly keys: StoredKeys;
	readonly ledger: Ledger;
	/** Its sums by the hour. */
	readonly hours: HourlyReads;
	/** Another one once a process that takes this one's place counts. */
	limiter: Limiter;
	/** The process that counts limits instead of this one, of whose threads each asks it; undefined while none does. */
	limitsOwner: LimitsOwner | undefined;
	readonly spend: SpendStore;
	readonly clocks: Pick<HardwareClocks, "start">;
	/** Of engines whose hosts say what their GPUs draw. */
	readonly energy: EnergyMeters;
	/** Agents that have run away. */
	readonly runaways: Runaways;
	/** What calls have come to. */
	readonly learned: LearnedView;
	/** Hears what was spent, as it is written to the ledger. */
	onSpent: LedgerOptions["onWritten"];
	/** Hears whose files and batches there are, as other routers say. */
	onObjects: ((rows: readonly SharedRow[]) => void) | undefined;
	/** What this router counts of limits, whichever of its threads. */
	readonly #counted: LocalLimiter;
	readonly #localSpend: LocalSpend | SpendCells;
	readonly #shared: SharedLimits | undefined;
	readonly #replica: Replica | undefined;
	readonly #publisher: UsagePublisher | undefined;
	readonly #sharedSpend: SharedSpend | undefined;
	/** The store's version when spending was last read from it. */
	#version = 0;

	/**
	 * @param reports absent in a process that ends at once, such as `router keys`
	 * @param redis where routers share limits, spending, keys and usage; in a process that ends at once there is none
	 * @param parts in place of its own, where several threads answer calls
	 */
	constructor(
		private readonly config: StateConfig,
		private readonly reports?: StateReports,
		private readonly redis?: RedisFeatures,
		parts?: StateParts,
	) {
		this.store = sqliteStore(
			config.data_dir,
			(problem) => reports?.problem(problem),
			(sentence) => reports?.log.logger.info(sentence),
		);
		this.keys = new StoredKeys({ store: parts?.writer ? keysBeside(this.store, parts.writer) : this.store });
		this.learned = parts?.learned ?? new LearnedUsage();
		this.clocks = parts?.clocks ?? new HardwareClocks();
		this.energy = parts?.energy ?? new LocalEnergyMeters();
		this.runaways = parts?.runaways ?? new Runaways(makeRunaways(), 0, () => performance.now());
		this.#shared = parts?.limits(this.store.ledger);
		this.#localSpend = this.#shared?.spend ?? new LocalSpend(this.store.ledger);
		const counted = this.#shared?.limiter ?? new SlidingWindowLimiter();
		this.#counted = counted;
		let limiter: Limiter = this.#workersLimiter(parts) ?? counted;
		if (redis) {
			this.#replica = replicaOf(config.data_dir);
			const { name } = this.#replica;
			const own = this.#shared?.spend.published ?? this.#localSpend;
			// Where several threads answer calls, each of those has a limiter of its own at Redis.
			if (!this.#shared) limiter = redis.limiter(counted, { replica: name, spent: own.spent.bind(own) });
			this.#sharedSpend = redis.spend(name, own);
			redis.keys(this.keys);
			shareObjects(redis, this.store, (rows) => this.onObjects?.(rows));
			this.#publisher = new UsagePublisher(
				this.store.ledger,
				redis.usage(name, () => this.#days()),
			);
		}
		this.limiter = limiter;
		this.spend = this.#sharedSpend ?? this.#localSpend;
		this.ledger = new Ledger({
			store: this.store.ledger,
			bounds: config.usage,
			threads: parts?.threads,
			users: new EndUsers(undefined, parts?.endUsers),
			onLost: (lost) => this.#reportLost(lost),
			...this.#onWritten(),
		});
		this.hours = new HourlyReads(this.ledger, this.store.ledger);
	}

	/** Names this process's ledger among those that share a Redis; "" where there is none. */
	get replica(): string {
		return this.#replica?.name ?? "";
	}

	/** How the ledger stands. */
	get ledgerState(): LedgerState {
		if (this.ledger.isStuck) return "stopped";
		return this.store.problem === undefined ? "ok" : "memory";
	}

	/** The usage of these days (`2026-01-31`, both included): of all replicas that can be asked. */
	async usage(from: string, to: string): Promise<CollectedUsage> {
		await this.ledger.flush();
		const own = this.store.ledger.usage(from, to);
		if (!this.#publisher) return { own, others: [], isPartial: false };
		const others = await this.#publisher.others(from, to);
		return { own, others: others ?? [], isPartial: others === undefined };
	}

	/** What is taken of these limits now: of all routers where Redis says it, else of this one. Undefined in a process that answers no calls. */
	async limitsTaken(limits: readonly Limit[]): Promise<readonly number[] | undefined> {
		if (!this.reports) return undefined;
		const totals = await this.redis?.limitTotals(limits);
		const now = performance.now();
		return totals ?? limits.map((limit) => this.#counted.counted(limit, now));
	}

	/** The main thread's: gives back what calls of a worker thread held that has ended. */
	workerEnded(thread: number): void {
		this.#shared?.limiter.freed(thread);
		this.runaways.freed(thread);
	}

	/** Begins to look after it, and connects to Redis. Returns how to end that; what waits to be written is then on the disk. */
	open(): () => Promise<void> {
		this.#replica?.keep();
		const unwatch = this.keys.watch();
		const looking = setInterval(() => void this.#lookForOthers(), LOOK_MS);
		looking.unref();
		// At once, so that a directory that can't be written is reported before a call comes.
		this.store.recover();
		this.store.lookForObjects();
		const recovery = setInterval(() => this.store.recover(), RETRY_MS);
		recovery.unref();
		const closeLedger = this.ledger.open();
		const disconnect = this.redis?.open();
		const endPublishing = this.#publisher?.open();
		return async () => {
			unwatch();
			clearInterval(looking);
			clearInterval(recovery);
			this.store.recover();
			await closeLedger();
			// By then the ledger has tried again, too.
			if (this.store.hasUnwritten || !this.ledger.isWritten) this.#reportUnwritten();
			await endPublishing?.();
			disconnect?.();
		};
	}

	/** Who hears what is in the ledger now: other routers, and the other threads. */
	#onWritten(): Pick<LedgerOptions, "onWritten"> {
		const publisher = this.#publisher;
		const sharedSpend = this.#sharedSpend;
		const spend = this.#shared?.spend;
		return {
			onWritten: (rows, settledAt) => {
				this.onSpent?.(rows, settledAt);
				publisher?.grew(rows);
				if (!spend) return;
				spend.wrote(rows);
				// What workers spend their own stores don't tell others.
				sharedSpend?.grew(rows);
			},
		};
	}

	/** Has spending read anew where other processes have written to the database, or it could not be read. */
	async #lookForOthers(): Promise<void> {
		const found = this.store.version();
		// To try in vain is no use, and the ledger does so by itself.
		if ((found === this.#version && !this.#localSpend.isUnsure) || this.ledger.isStuck) return;
		await this.ledger.flush();
		const { unwritten } = this.ledger;
		if (!unwritten || this.ledger.isStuck) return;
		this.#localSpend.refresh(unwritten);
		this.#version = found;
	}

	/** What counts limits for all routers, where this is a worker's. */
	#workersLimiter(parts: StateParts | undefined): Limiter | undefined {
		if (!this.#shared) return undefined;
		const { limiter, spend } = this.#shared;
		return parts?.limiter?.(limiter, (key, period) => spend.own(key, period));
	}

	/** The ledger's rows, a day each, the latest first. */
	*#days(): Iterable<readonly UsageRow[]> {
		for (const day of this.store.ledger.days()) yield this.store.ledger.usage(day, day);
	}

	/** Why, and which call; nothing of what it said. */
	#reportLost({ reason, count, id, problem, isKnown }: LostRows): void {
		this.reports?.metrics.ledgerLost(reason, count);
		if (isKnown) return;
		const sentence = reason === "full" ? FULL : "a row of the ledger was refused and is lost";
		this.reports?.log.logger.warn({ id, problem }, sentence);
	}

	#reportUnwritten(): void {
		const where = this.store.problem ?? this.config.data_dir;
		this.reports?.log.logger.error(`${where}: what waited in memory is lost with this process.`);
	}
}
