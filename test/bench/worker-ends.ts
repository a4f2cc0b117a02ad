/**
 * What `make chaos` and `make fuzz` do with several workers: every ten seconds one of them ends, by `terminate()` and by an error that nobody
 * catches in turn. The calls that were on it may break off; no other may, and all of them have their row.
 */
import { Database } from "bun:sqlite";
import { join } from "node:path";
import type { RunningRouter } from "../kit/router.ts";
import { until } from "../kit/until.ts";

/** How often one ends, ms. */
const EVERY_MS = 10_000;
/** For so long after a worker's end a client may meet a connection that it had to it, ms. */
const STALE_MS = 2_000;

/** The command that starts such a router, from source. */
export const ENDED_WORKERS: readonly string[] = [process.execPath, join(import.meta.dir, "../kit/ended-workers.ts")];

/** A call that a client has made, as it names itself to the router. */
export interface MadeCall {
	/** The end user: another one for each call. */
	readonly user: string;
	/** `reset`: its connection broke off while a worker ended. */
	readonly came: "answer" | "reset";
}

/** The ends of one router's workers. */
export class WorkerEnds {
	/** When each was wanted, and over. */
	readonly #ends: { readonly wantedAt: number; overAt: number }[] = [];

	/** @param note is told what is done */
	constructor(
		private readonly router: Pick<RunningRouter, "tell" | "output">,
		private readonly note: (what: string) => void = () => {},
		private readonly everyMs = EVERY_MS,
	) {}

	get count(): number {
		return this.#ends.length;
	}

	/** Ends one after the other until `isOver`. */
	async run(isOver: () => boolean): Promise<void> {
		let nextAt = performance.now() + this.everyMs;
		while (!isOver()) {
			await Bun.sleep(50);
			if (performance.now() < nextAt || isOver()) continue;
			await this.end(this.count % 2 === 0 ? "terminate" : "throw");
			nextAt = performance.now() + this.everyMs;
		}
	}

	/** Ends one. Resolves when another one has taken its place. */
	async end(how: "terminate" | "throw"): Promise<void> {
		const end = { wantedAt: performance.now(), overAt: Number.POSITIVE_INFINITY };
		this.#ends.push(end);
		this.note(`a worker ends: ${how}`);
		this.router.tell(how);
		const { count } = this;
		const times = (what: string) => this.router.output().split(what).length - 1;
		await until(() => times("worker over") >= count, "the end of a worker");
		end.overAt = performance.now();
		this.note("a worker is over");
		await until(() => times("has taken the place of one that had ended") >= count, "another worker");
	}

	/** Whether a call that ran from then until now may have been on a worker that ended. */
	wasUnder(startedAt: number): boolean {
		const now = performance.now();
		return this.#ends.some(({ wantedAt, overAt }) => wantedAt <= now && overAt + STALE_MS >= startedAt);
	}
}

/** What is known of calls once the last one is over. */
export interface CallBooks {
	readonly rows: number;
	/** Rows of calls that ended with their worker. */
	readonly ended: number;
	/** Calls that broke off and have no row: their worker had not read them. */
	readonly unread: number;
	/** What is wrong, a sentence each. */
	readonly problems: readonly string[];
	/** What the ledger has of a call; undefined: no row. */
	detailsOf(user: string): string | undefined;
}

/** A row of the ledger. */
export interface CallRow {
	readonly user: string;
	readonly status: number;
	readonly details: string;
}

/** Whether it is the row of a call that ended with its worker. */
export const isEnded = ({ details }: CallRow): boolean => details.includes('"error":"worker_ended"');

/** All rows once no call is in flight, and how many calls `/metrics` has counted. */
export async function settledRows(router: RunningRouter): Promise<{ rows: CallRow[]; counted: number }> {
	await until(async () => (await router.metric("router_in_flight_requests")) === 0, "no call in flight");
	const read = () => {
		using db = new Database(join(router.directory, "data/router.db"), { readonly: true });
		return db.query("SELECT user, status, details FROM calls").all() as CallRow[];
	};
	const counted = await router.metric("router_requests_total");
	// What is read twice a second is on the disk a moment later.
	let rows = read();
	for (let look = 0; look < 40 && rows.length < counted; look++) {
		await Bun.sleep(100);
		rows = read();
	}
	return { rows, counted };
}

/** Compares what clients have seen with the ledgers and `/metrics` of the routers that they called. */
export async function callBooks(routers: readonly RunningRouter[], made: readonly MadeCall[]): Promise<CallBooks> {
	const problems: string[] = [];
	const answers = new Set(made.flatMap(({ user, came }) => (came === "answer" ? [user] : [])));
	const resets = new Set(made.flatMap(({ user, came }) => (came === "reset" ? [user] : [])));
	const books = await Promise.all(routers.map(settledRows));
	const rows = books.flatMap((each) => each.rows);
	const counted = books.reduce((sum, each) => sum + each.counted, 0);
	if (rows.length !== counted) problems.push(`${rows.length} rows, and ${counted} calls in /metrics`);
	const users = Map.groupBy(rows, ({ user }) => user);
	for (const [user, found] of users) {
		const [row] = found as [CallRow];
		const { status } = row;
		if (found.length > 1) problems.push(`${user} has ${found.length} rows`);
		if (!answers.has(user) && !resets.has(user)) problems.push(`${user} has a row (${status}), and made no call`);
		if (isEnded(row) && !resets.has(user))
			problems.push(`${user} has an answer, and its row says that its worker ended`);
		// The worker it was on lived on, and saw its client leave.
		if (resets.has(user) && status === 499) problems.push(`${user} broke off at a worker that had not ended`);
	}
	for (const user of answers) if (!users.has(user)) problems.push(`${user} has an answer, and no row`);
	return {
		rows: rows.length,
		ended: rows.filter(isEnded).length,
		unread: [...resets].filter((user) => !users.has(user)).length,
		problems,
		detailsOf: (user) => users.get(user)?.[0]?.details,
	};
}
