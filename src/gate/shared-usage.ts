/** Usage of all replicas: each publishes its own days, and reads the others' when somebody asks. */
import type { SharedRedis } from "../store/redis.ts";
import type { UsageExchange } from "./spend.ts";

/** As long as ledgers are kept. */
const TTL_MS = 400 * 86_400_000;
/** Days that are published again when a replica starts: it may have stopped while Redis took nothing. More would be much at each start. */
const STARTED_DAYS = 7;
/** How often it is looked whether Redis still has what was published, ms. */
const LOOK_MS = 1_000;

/** Days in a Redis, a hash each, with a field for each replica. */
export class SharedUsage<Row> implements UsageExchange<Row> {
	/** Days that Redis did not take, in their newest form. */
	readonly #untold = new Map<string, readonly Row[]>();
	#hasLooked = false;

	/** @param days what this replica has published so far, the latest first, for a Redis that lost it */
	constructor(
		private readonly redis: SharedRedis,
		private readonly replica: string,
		private readonly days: () => Iterable<readonly [string, readonly Row[]]>,
	) {}

	/** Begins to look after what was published. Returns how to end it. */
	open(): () => void {
		const timer = setInterval(() => void this.#look(), LOOK_MS);
		timer.unref();
		this.redis.onUp(() => void this.#look());
		return () => clearInterval(timer);
	}

	publish(day: string, rows: readonly Row[]): void {
		this.#untold.set(day, rows);
		void this.#put(day, rows);
	}

	async #put(day: string, rows: readonly Row[]): Promise<void> {
		const key = this.#keyOf(day);
		const taken = await this.redis.run((client) =>
			Promise.all([client.hset(key, this.replica, JSON.stringify(rows)), client.pexpire(key, TTL_MS)]),
		);
		// Published anew meanwhile: that is what is to be taken now.
		if (taken !== undefined && this.#untold.get(day) === rows) this.#untold.delete(day);
	}

	async others(days: readonly string[]): Promise<readonly Row[] | undefined> {
		const answers = await Promise.all(days.map((day) => this.redis.run((client) => client.hgetall(this.#keyOf(day)))));
		const rows: Row[] = [];
		for (const answer of answers) {
			if (answer === undefined) return undefined;
			for (const [replica, text] of Object.entries(answer))
				if (replica !== this.replica) rows.push(...rowsOf<Row>(text));
		}
		return rows;
	}

	/** A flushed Redis has lost the mark, and with it the days; one that was away has missed some. */
	async #look(): Promise<void> {
		const mark = this.redis.key(`usage:of:${this.replica}`);
		const isMarked = await this.redis.run((client) => client.set(mark, "1", "PX", TTL_MS, "GET"));
		if (isMarked === undefined) return;
		const isFirst = !this.#hasLooked;
		this.#hasLooked = true;
		if (isMarked === null) this.#publishAgain(Number.POSITIVE_INFINITY);
		else if (isFirst) this.#publishAgain(STARTED_DAYS);
		else for (const [day, rows] of this.#untold) void this.#put(day, rows);
	}

	#publishAgain(most: number): void {
		let count = 0;
		for (const [day, rows] of this.days()) {
			if (++count > most) return;
			this.publish(day, rows);
		}
	}

	#keyOf(day: string): string {
		return this.redis.key(`usage:${day}`);
	}
}

function rowsOf<Row>(text: string): Row[] {
	try {
		const rows: unknown = JSON.parse(text);
		return Array.isArray(rows) ? (rows as Row[]) : [];
	} catch {
		return [];
	}
}
