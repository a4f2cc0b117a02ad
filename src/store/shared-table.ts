/**
 * A small table that every replica has in memory, with a copy in Redis for replicas that start later. Of two versions of a row the
 * higher number counts, in whatever order changes arrive: the replicas fill a flushed Redis again, and a replica that missed changes
 * reads them. design.md beside this file has the rules.
 */
import type { SharedRedis } from "./redis.ts";
import type { RedisBus } from "./redis-bus.ts";

/** One row. */
export interface SharedRow {
	readonly field: string;
	/** A finite number; a later version has a higher one. */
	readonly version: number;
	/** JSON. */
	readonly value: string;
}

/** The replica's own rows. Called synchronously; must not throw. */
export interface TableHolder {
	/** Takes over rows of other replicas; rows that it has in this version or a later one stay. */
	take(rows: readonly SharedRow[]): void;
	/** All rows it has. */
	rows(): Iterable<SharedRow>;
	/** Rows that another process has added to the replica's own storage since the last call. Called every second. */
	found?(): readonly SharedRow[];
	/** Whether a row is obsolete: it is removed from Redis. */
	isOver?(field: string): boolean;
}

/** How often the revision is compared, ms: another one shows that changes were missed. */
const POLL_MS = 1_000;
/** Most rows that one script writes. */
const MOST_ROWS = 200;

/**
 * KEYS: the table, its revision. ARGV: channel, time to live in ms, then field, version and value of each row. Writes rows that are
 * newer, and publishes them with the new revision. Returns the revision.
 */
const PUT = {
	name: "routerPut",
	lua: `
local put = {}
for at = 3, #ARGV, 3 do
	local held = redis.call('HGET', KEYS[1], ARGV[at])
	local version = held and tonumber(string.match(held, '^(%S+) '))
	if not version or tonumber(ARGV[at + 1]) > version then
		redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1] .. ' ' .. ARGV[at + 2])
		put[#put + 1] = { ARGV[at], ARGV[at + 1], ARGV[at + 2] }
	end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if #put == 0 and redis.call('EXISTS', KEYS[2]) == 1 then return tonumber(redis.call('GET', KEYS[2])) end
local revision = redis.call('INCR', KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if #put > 0 then redis.call('PUBLISH', ARGV[1], cjson.encode({ revision, put })) end
return revision`,
};

/** One table. */
export class SharedTable {
	readonly #key: string;
	readonly #revisionKey: string;
	/** The revision that this replica has taken over; undefined before the first reading. */
	#seen: number | undefined;
	#isReading = false;

	/**
	 * @param name unique among the tables of a prefix
	 * @param ttlMs how long Redis keeps the table when no replica renews it
	 */
	constructor(
		private readonly redis: SharedRedis,
		bus: RedisBus,
		private readonly name: string,
		private readonly ttlMs: number,
		private readonly holder: TableHolder,
	) {
		// One slot for both.
		this.#key = redis.key(`{${name}}`);
		this.#revisionKey = redis.key(`{${name}}:revision`);
		bus.listen(name, (text) => this.#receive(text));
		bus.onResumed(() => void this.#read());
		redis.onUp(() => void this.#read());
	}

	/** Begins to look for missed changes. Returns a function that ends it. */
	open(): () => void {
		const timer = setInterval(() => void this.#poll(), POLL_MS);
		timer.unref();
		return () => clearInterval(timer);
	}

	/** Publishes rows. Returns at once; rows that Redis does not take now are written after the next reading. */
	async put(rows: readonly SharedRow[]): Promise<void> {
		for (let at = 0; at < rows.length; at += MOST_ROWS) {
			const some = rows.slice(at, at + MOST_ROWS).flatMap(({ field, version, value }) => [field, version, value]);
			const keys = [this.#key, this.#revisionKey];
			const revision = await this.redis.script(PUT, keys, [this.redis.key(this.name), this.ttlMs, ...some]);
			if (typeof revision !== "number") this.#seen = undefined;
			else this.#advance(revision);
		}
	}

	/** Removes a row from Redis; other replicas remove their own copies. */
	remove(field: string): void {
		void this.redis.run((client) => client.hdel(this.#key, field));
	}

	/** Nothing was missed if this revision is the next one. Else the next poll reads all rows. */
	#advance(revision: number): void {
		if (this.#seen !== undefined && revision === this.#seen + 1) this.#seen = revision;
	}

	#receive(text: string): void {
		const message = parse(text);
		if (!message) return;
		this.holder.take(message.rows);
		this.#advance(message.revision);
	}

	async #poll(): Promise<void> {
		const revision = await this.redis.run((client) => client.get(this.#revisionKey));
		if (revision === undefined) return;
		if (revision === null || Number(revision) !== this.#seen) await this.#read();
		await this.put(this.holder.found?.() ?? []);
	}

	/** Takes over all rows of Redis, and writes those that it lacks. */
	async #read(): Promise<void> {
		if (this.#isReading) return;
		this.#isReading = true;
		try {
			const revision = await this.redis.run((client) => client.get(this.#revisionKey));
			const all = revision === undefined ? undefined : await this.redis.run((client) => client.hgetall(this.#key));
			if (!all) return;
			const held = Object.entries(all).flatMap(([field, text]) => rowOf(field, text) ?? []);
			for (const { field } of held) if (this.holder.isOver?.(field)) this.remove(field);
			// The rows were read after the revision, so they are at least as new.
			this.#seen = Number(revision ?? 0);
			this.holder.take(held);
			const versions = new Map(held.map(({ field, version }) => [field, version]));
			const missing = [...this.holder.rows()].filter(
				({ field, version }) => version > (versions.get(field) ?? -Infinity),
			);
			await this.put(missing);
		} finally {
			this.#isReading = false;
		}
	}
}

function rowOf(field: string, text: string): SharedRow | undefined {
	const space = text.indexOf(" ");
	const version = Number(text.slice(0, space));
	return space > 0 && Number.isFinite(version) ? { field, version, value: text.slice(space + 1) } : undefined;
}

function parse(text: string): { revision: number; rows: SharedRow[] } | undefined {
	try {
		const [revision, put] = JSON.parse(text) as [number, [string, string, string][]];
		const rows = put.map(([field, version, value]) => ({ field, version: Number(version), value }));
		return { revision, rows: rows.filter(({ version }) => Number.isFinite(version)) };
	} catch {
		// Another program publishes there.
		return undefined;
	}
}
