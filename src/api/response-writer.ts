/** Writes stored responses, many at a time, into Redis, where there is one, or into the database; and deletes what has lapsed. */
import type { SharedResponses } from "../store/redis-responses.ts";
import type { ResponseName, ResponseRow, ResponseTable } from "../store/response-table.ts";

/** How long what is new waits to be written with more of its kind, ms. */
const FLUSH_MS = 100;
/** The same where other routers may be asked for it next. */
const SHARED_FLUSH_MS = 1;
/** How long one that another router may be about to write is waited for, ms. */
const ELSEWHERE_MS = 150;
/** How long until what could not be written is tried again, ms: to try in vain keeps calls waiting. */
const RETRY_MS = 5_000;
const TRIM_MS = 60_000;
/** So much is written at once, UTF-16 units. */
const FLUSH_LENGTH = 4 * 1024 * 1024;
/** Most that waits while it can't be written, UTF-16 units: the oldest is lost. */
const MOST_WAITING = 16 * FLUSH_LENGTH;
/** Longer texts are compressed by another thread, UTF-16 units. */
const LONG = 32 * 1024;

/** Where responses are stored. */
export interface ResponseStores {
	readonly table: ResponseTable;
	readonly shared?: SharedResponses | undefined;
	/** The configuration's, as they are now: ms, bytes. */
	settings(): { readonly keep: number; readonly size: number };
}

/** A response that waits to be written. */
export interface WaitingResponse extends ResponseName {
	readonly text: string;
}

/** Stored responses, as calls see them. */
export type ResponseStore = Pick<ResponseWriter, "isOn" | "get" | "put" | "use" | "remove">;

/** The writer. What waits is read from it. */
export class ResponseWriter {
	/** By their names, the oldest first. */
	readonly #waiting = new Map<string, WaitingResponse>();
	#length = 0;
	readonly #used = new Map<string, ResponseName>();
	/** When those are written that were used, by the clock of durations, ms: what is new is more urgent where other routers may ask for it. */
	#useAt = 0;
	#timer: ReturnType<typeof setTimeout> | undefined;
	/** When it writes, by the clock of durations, ms. */
	#flushAt = 0;
	#isRetry = false;
	/** Revoked keys of which Redis has nothing any more. */
	readonly #removedKeys = new Set<string>();
	#flushing: Promise<void> = Promise.resolve();
	#isFlushing = false;

	constructor(private readonly stores: ResponseStores) {}

	/** Whether responses are stored now. */
	get isOn(): boolean {
		const { keep, size } = this.stores.settings();
		return keep > 0 && size > 0;
	}

	/**
	 * The text of a response; undefined where there is none of this name, or it has lapsed.
	 * @param waits for another router, which may be about to write it
	 */
	async get(name: ResponseName, waits = false): Promise<string | undefined> {
		const waiting = this.#waiting.get(nameText(name));
		if (waiting) return waiting.text;
		const { table, shared, settings } = this.stores;
		const since = Date.now() - settings().keep;
		let value = (await shared?.get(name, since)) ?? table.get(name, since);
		if (!value && shared && waits) {
			// Its client may be faster than the router that answered it.
			await Bun.sleep(ELSEWHERE_MS);
			value = await shared.get(name, since);
		}
		if (!value) return undefined;
		const bytes = value.length > LONG ? await Bun.zstdDecompress(value) : Bun.zstdDecompressSync(value);
		return bytes.toString();
	}

	/** Has a response written soon. It can be read at once. */
	put(waiting: WaitingResponse): void {
		this.#waiting.set(nameText(waiting), waiting);
		this.#length += waiting.text.length;
		for (const name of this.#waiting.keys()) {
			if (this.#length <= MOST_WAITING || this.#waiting.size === 1) break;
			this.#forget(name);
		}
		if (this.#length > FLUSH_LENGTH && !this.#isFlushing && this.#timer === undefined) void this.flush();
		else this.#schedule(this.stores.shared ? SHARED_FLUSH_MS : FLUSH_MS);
	}

	/** Has a response live on. */
	use(name: ResponseName): void {
		if (this.#used.size === 0) this.#useAt = performance.now() + FLUSH_MS;
		this.#used.set(nameText(name), name);
		this.#schedule(FLUSH_MS);
	}

	/** Deletes a response. Whether there was one; undefined where it may still be in Redis, which can't be asked. */
	async remove(name: ResponseName): Promise<boolean | undefined> {
		const wasWaiting = this.#forget(nameText(name));
		// What is being written is there afterwards.
		await this.#flushing;
		const { table, shared } = this.stores;
		const wasHere = table.remove(name) || wasWaiting;
		if (!shared) return wasHere;
		let wasShared = await shared.remove(name);
		if (wasShared === false && !wasHere) {
			await Bun.sleep(ELSEWHERE_MS);
			wasShared = await shared.remove(name);
		}
		return wasShared === undefined ? undefined : wasShared || wasHere;
	}

	/** Begins to delete what has lapsed. Returns how to end that: what waits is written then. */
	open(): () => Promise<void> {
		const timer = setInterval(() => void this.trim(), TRIM_MS);
		timer.unref();
		return async () => {
			clearInterval(timer);
			await this.flush();
			clearTimeout(this.#timer);
		};
	}

	/** Deletes what has lapsed or has no room, which Redis does by itself, and what is a revoked key's. */
	async trim(): Promise<void> {
		const { table, shared, settings } = this.stores;
		const { keep, size } = settings();
		await table.trim(Date.now() - keep, size);
		if (!shared) return;
		const revoked = table.revokedKeys().filter((key) => !this.#removedKeys.has(key));
		if (revoked.length === 0 || !(await shared.removeOf(new Set(revoked)))) return;
		for (const key of revoked) this.#removedKeys.add(key);
	}

	/** Writes what waits. @param isAll whether also that which has time */
	flush(isAll = true): Promise<void> {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#flushing = this.#flushing.then(
			() => this.#write(isAll),
			() => this.#write(isAll),
		);
		return this.#flushing;
	}

	/** Whether it waited. */
	#forget(name: string): boolean {
		const waiting = this.#waiting.get(name);
		if (!waiting) return false;
		this.#waiting.delete(name);
		this.#length -= waiting.text.length;
		return true;
	}

	/** Writes within so many ms; while it waits to try again, no sooner than that. */
	#schedule(ms: number, isRetry = false): void {
		const at = performance.now() + ms;
		if (this.#timer !== undefined && !isRetry && (this.#isRetry || this.#flushAt <= at)) return;
		clearTimeout(this.#timer);
		this.#flushAt = at;
		this.#isRetry = isRetry;
		this.#timer = setTimeout(() => void this.flush(false), ms);
	}

	/** Writes what waits. What can't be written goes on waiting. */
	async #write(isAll: boolean): Promise<void> {
		const waiting = [...this.#waiting.entries()];
		const left = this.#used.size > 0 && !isAll ? this.#useAt - performance.now() : 0;
		const used = left > 0 ? [] : [...this.#used.values()];
		if (left > 0) this.#schedule(left);
		else this.#used.clear();
		if (waiting.length === 0 && used.length === 0) return;
		this.#isFlushing = true;
		try {
			const rows = await Promise.all(waiting.map(([, each]) => rowOf(each)));
			const isWritten = await this.#store(rows, used);
			for (const [at, [name, each]] of waiting.entries()) {
				// One of the same name may have come meanwhile.
				if (isWritten(rows[at]!) && this.#waiting.get(name) === each) this.#forget(name);
			}
			if (!rows.every(isWritten)) this.#schedule(RETRY_MS, true);
		} finally {
			this.#isFlushing = false;
		}
	}

	/** Stores rows where that can be. Returns which ones were. */
	async #store(rows: readonly ResponseRow[], used: readonly ResponseName[]): Promise<(row: ResponseRow) => boolean> {
		const { table, shared, settings } = this.stores;
		const { keep: keepMs, size: bytes } = settings();
		const now = Date.now();
		const inRedis = new Set<ResponseRow>();
		if (shared) {
			const put = async (row: ResponseRow) => (await shared.put(row, { now, keepMs, bytes })) && inRedis.add(row);
			await Promise.all([...rows.map(put), shared.use(used, now, keepMs)]);
		}
		const own = rows.filter((row) => !inRedis.has(row));
		const isInTable = (own.length === 0 && used.length === 0) || (await table.write(own, used, now));
		return (row) => isInTable || inRedis.has(row);
	}
}

async function rowOf({ key, id, text }: WaitingResponse): Promise<ResponseRow> {
	const value = text.length > LONG ? await Bun.zstdCompress(text) : Bun.zstdCompressSync(text);
	return { key, id, value: new Uint8Array(value) };
}

/** Ids hold no space. */
const nameText = ({ key, id }: ResponseName): string => `${id} ${key}`;
