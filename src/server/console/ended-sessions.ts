/** Sessions of the console that were signed out and would still be good: remembered until then, by all routers of a Redis. */
import type { SharedRow } from "../../store/shared-table.ts";
import type { RedisFeatures } from "../redis-features.ts";

/** How long a session is good, ms. */
export const SESSION_MS = 12 * 3_600_000;
/** So many are remembered; of more the first to be signed out is forgotten. */
const MOST = 10_000;
/** A row's field: until when, as sessions have it, and the nonce. The same sign-out is the same row, whoever tells of it. */
const FIELD = /^([0-9a-z]{1,12})\.([\w-]{24})$/;

/** One session, as its token names it. */
export interface NamedSession {
	/** Unix time, ms. */
	readonly until: number;
	readonly nonce: string;
}

/** All of them. */
export class EndedSessions {
	/** By their nonces, until when they would be good; the first to be signed out first. */
	readonly #ended = new Map<string, number>();
	/** Hears of each that is signed out here. */
	onEnded: (row: SharedRow) => void = () => undefined;

	/** @param wall Unix time, ms */
	constructor(private readonly wall: () => number) {}

	has(nonce: string): boolean {
		return this.#ended.has(nonce);
	}

	/** It was signed out here. */
	add(session: NamedSession): void {
		this.#put(session);
		this.onEnded(rowOf(session));
	}

	/** Others were signed out at another router. What is no row of such, or is over, is passed over. */
	take(rows: readonly SharedRow[]): void {
		const now = this.wall();
		for (const { field } of rows) {
			const session = sessionIn(field);
			if (session && session.until > now && session.until <= now + SESSION_MS) this.#put(session);
		}
	}

	/** All that would still be good. */
	*rows(): Iterable<SharedRow> {
		const now = this.wall();
		for (const [nonce, until] of this.#ended) if (until > now) yield rowOf({ nonce, until });
	}

	/** Whether a row need not be kept any more. */
	readonly isOver = (field: string): boolean => (sessionIn(field)?.until ?? 0) <= this.wall();

	#put({ nonce, until }: NamedSession): void {
		const now = this.wall();
		for (const [each, end] of this.#ended) if (end <= now) this.#ended.delete(each);
		const [first] = this.#ended.keys();
		if (this.#ended.size >= MOST && first !== undefined && !this.#ended.has(nonce)) this.#ended.delete(first);
		this.#ended.set(nonce, until);
	}
}

/** Has the routers of a Redis know of each other's. To be called before `open`. */
export function shareEndedSessions(redis: Pick<RedisFeatures, "table">, ended: EndedSessions): void {
	const publish = redis.table("console-ended", SESSION_MS, {
		take: (rows) => ended.take(rows),
		rows: () => ended.rows(),
		isOver: ended.isOver,
	});
	ended.onEnded = (row) => publish([row]);
}

const rowOf = ({ nonce, until }: NamedSession): SharedRow => ({
	field: `${until.toString(36)}.${nonce}`,
	version: 1,
	value: "",
});

function sessionIn(field: string): NamedSession | undefined {
	const [, until = "", nonce = ""] = FIELD.exec(field) ?? [];
	return nonce === "" ? undefined : { nonce, until: Number.parseInt(until, 36) };
}
