/** The cache in a call's way: an older answer, one that is on its way to somebody else, or the upstream's. */

import type { ClientCall } from "../dialects/dialect.ts";
import { RouterError } from "../errors.ts";
import type { ParsedRequest } from "../openai/call.ts";
import type { Operation } from "../openai/operations.ts";
import type { Target } from "../providers/provider.ts";
import { timeLeft } from "../proxy/attempt.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { entryAnswer, tailAnswer } from "./cached-response.ts";
import { type CacheEntry, decodeEntry, encodeEntry, isFresh, isSound } from "./entry.ts";
import { type CacheScope, type Repeat, Repeats } from "./exact-match.ts";
import { keyOf } from "./key.ts";
import { Leader } from "./leader.ts";
import { Ring, type RingKey } from "./ring.ts";
import { type CacheSettings, type CacheUse, cacheUse } from "./rules.ts";
import type { Release, SecondLevel } from "./shared-store.ts";
import { SingleFlight } from "./single-flight.ts";
import { patiently } from "./wait.ts";

/** What the configuration says of the cache as a whole. */
export interface AnswerCacheOptions {
	/** Memory for answers, bytes. */
	readonly memory: number;
	/** Largest answer kept, bytes before compression. */
	readonly maxEntry: number;
	/** All keys share their answers. */
	readonly isShared: () => boolean;
	readonly settingsFor: (model: string) => CacheSettings;
	readonly secondLevel?: SecondLevel | undefined;
}

/** Makes a call upstream. */
export type Run = (call: ClientCall) => Promise<Response>;

/** A call that the cache is for. */
interface Asked {
	readonly key: RingKey;
	readonly use: CacheUse;
	readonly call: ClientCall;
	readonly settlement: CallRecord;
	readonly run: Run;
	readonly asker: CacheScope;
	/** The same call has been answered before. */
	readonly repeat: Repeat | undefined;
}

/** What the second level said: an answer, or the right to make the call, or neither. */
interface Claimed {
	readonly found?: CacheEntry | undefined;
	readonly release?: Release | undefined;
}

/** One for a process. Takes no memory before the first answer that is kept. */
export class AnswerCache {
	#ring: Ring | undefined;
	readonly #repeats: Repeats;
	/** Calls on their way upstream that others may join, by key. */
	readonly #flights = new Map<string, SingleFlight>();

	constructor(private readonly options: AnswerCacheOptions) {
		this.#repeats = new Repeats(options.memory);
	}

	/** Answers held in this process, and the bytes they take. */
	get stats(): { readonly entries: number; readonly bytes: number } {
		return { entries: this.#ring?.count ?? 0, bytes: this.#ring?.used ?? 0 };
	}

	/** What a text was read as the last time it came; undefined where that is not remembered. */
	parsed(operation: Operation, text: string): ParsedRequest | undefined {
		return this.#repeats.parsed(operation, text);
	}

	/**
	 * Answers a call, by `run` where nothing else can; at once where the answer is here. Throws what `run` throws, and `invalid_value` for
	 * the cache's own header, at once or later.
	 */
	answer(call: ClientCall, targets: readonly Target[], settlement: CallRecord, run: Run): Response | Promise<Response> {
		const use = cacheUse(call, this.options.settingsFor(call.body.model));
		const asker = { tenant: this.options.isShared() ? "" : (call.keyId ?? ""), targets, headers: call.headers };
		const repeat = use && this.#repeats.find(call, asker);
		const key = repeat ? repeat.key : use && keyIn(call, targets, asker.tenant);
		settlement.cache = use?.looksUp && key ? "miss" : "bypass";
		if (!use || !key) return run(call);
		const asked = { key, use, call, settlement, run, asker, repeat };
		return use.looksUp ? this.#lookUp(asked) : this.#lead(asked);
	}

	#lookUp(asked: Asked): Response | Promise<Response> {
		const kept = this.#kept(asked);
		if (kept instanceof Promise) return kept.then((entry) => (entry ? hit(entry, asked) : this.#ask(asked)));
		return kept ? hit(kept, asked) : this.#ask(asked);
	}

	/** Others are asked: callers that wait for the same answer, replicas, the upstream. */
	async #ask(asked: Asked): Promise<Response> {
		const { key, use, call, run } = asked;
		const id = Buffer.from(key).toString("latin1");
		const flight = this.#flights.get(id);
		if (flight) return (await this.#follow(flight, asked)) ?? this.#lead(asked);
		return use.stores ? this.#lead(asked, id) : run(call);
	}

	/** At once unless it is large: a hit is to cost as little as it can. */
	#kept(asked: Asked): CacheEntry | undefined | Promise<CacheEntry | undefined> {
		const { key, use, call, asker, repeat } = asked;
		const place = this.#ring?.find(key);
		if (place === undefined) return undefined;
		if (repeat?.place === place) return fresh(repeat.entry, use);
		const decoded = decodeEntry(this.#ring!.read(place));
		if (decoded instanceof Promise) return decoded.then((entry) => fresh(entry, use));
		const entry = fresh(decoded, use);
		if (entry) this.#repeats.keep(call, asker, { key, place, entry });
		return entry;
	}

	/** Waits with others for an answer; undefined where none came. Throws `cancelled` and `upstream_timeout`. */
	async #follow(flight: SingleFlight, asked: Asked): Promise<Response | undefined> {
		const { call, settlement, use } = asked;
		const leave = flight.enter();
		const tail = flight.tail(shapeOf(call));
		const landed: Promise<unknown> = tail ? flight.begun : flight.result;
		const waited = await waiting(landed, call.signal, asked);
		if (waited && tail && flight.origin && tail.backlog > 0) {
			settlement.cache = "hit";
			settlement.isKnown = true;
			return tailAnswer(flight, tail, call, settlement, leave);
		}
		if (tail) flight.drop(tail);
		leave();
		if (!waited) throw gaveUp(call);
		const entry = fresh(await flight.result, use);
		return entry && hit(entry, asked);
	}

	/** Has the call made, and its answer kept. @param id under which others may join */
	async #lead(asked: Asked, id?: string): Promise<Response> {
		const { call, settlement, run, use } = asked;
		const flight = new SingleFlight(shapeOf(call), this.options.maxEntry);
		let claimed: Claimed = {};
		const over = async (entry: CacheEntry | undefined) => {
			call.signal.removeEventListener("abort", leader.left);
			await this.#keep(asked, entry, claimed);
			if (id !== undefined) this.#flights.delete(id);
		};
		const leader = new Leader({ call, settlement, flight, ttlMs: use.ttlMs, over: (entry) => void over(entry) });
		if (id !== undefined) this.#flights.set(id, flight);
		call.signal.addEventListener("abort", leader.left);
		if (call.signal.aborted) leader.left();
		try {
			if (id !== undefined && this.options.secondLevel) {
				claimed = await this.#claim(this.options.secondLevel, asked, flight);
				if (claimed.found) {
					leader.land(claimed.found);
					return hit(claimed.found, asked);
				}
			}
			settlement.listener = leader;
			const answer = await run(leader.call);
			return call.stream && call.signal.aborted ? unread(answer) : answer;
		} catch (thrown) {
			leader.land(undefined);
			throw thrown;
		}
	}

	/** What the other replicas have, or the right to make the call. Throws `cancelled` and `upstream_timeout`. */
	async #claim(level: SecondLevel, asked: Asked, flight: SingleFlight): Promise<Claimed> {
		const { key, use, call } = asked;
		const claiming = level
			.claim(key)
			.then((claim) => (claim.is === "elsewhere" ? level.wait(key, flight.signal) : claim));
		const waited = await waiting(claiming, flight.signal, asked);
		if (!waited) {
			// Nobody will use what it may still get.
			void claiming.then((late) => late.is === "ours" && late.release(undefined));
			throw gaveUp(call);
		}
		const { came: claim } = waited;
		if (claim.is === "ours") return { release: claim.release };
		const entry = claim.is === "found" ? await decodeEntry(claim.bytes) : undefined;
		return entry && isSound(entry) ? { found: fresh(entry, use) } : {};
	}

	async #keep({ key, use }: Asked, entry: CacheEntry | undefined, { found, release }: Claimed): Promise<void> {
		const fits = entry && use.stores && entry.body.length <= this.options.maxEntry;
		if (!fits) return release?.(undefined);
		const bytes = await encodeEntry(entry);
		this.#ring ??= new Ring(this.options.memory - this.#repeats.memory);
		this.#ring.put(key, bytes);
		const ttlMs = entry.facts.expiresAt - Date.now();
		if (release) release({ bytes, ttlMs });
		else if (!found) this.options.secondLevel?.put(key, bytes, ttlMs);
	}
}

/** The key; undefined for a body too deep to be read for it. */
function keyIn(call: ClientCall, targets: readonly Target[], tenant: string): RingKey | undefined {
	// Agents come and go: what counts is the model, wherever it runs.
	const places = targets.map(({ id, name }) => name ?? id);
	try {
		return keyOf(call, places, tenant);
	} catch (error) {
		if (error instanceof RangeError) return undefined;
		throw error;
	}
}

const shapeOf = ({ dialect, stream, body }: ClientCall) => ({
	dialect,
	stream,
	showsUsage: body.stream_options?.include_usage === true,
});

/** The entry, where the call takes one of its age. */
function fresh(entry: CacheEntry | undefined, { maxAgeMs }: CacheUse): CacheEntry | undefined {
	return entry && isFresh(entry.facts, maxAgeMs, Date.now()) ? entry : undefined;
}

function hit(entry: CacheEntry, { call, settlement, repeat }: Asked): Response {
	settlement.cache = "hit";
	settlement.isKnown = true;
	return entryAnswer(entry, call, settlement, entry === repeat?.entry);
}

/**
 * The answer to a client that left before its stream had begun. Bun neither reads nor cancels such a stream, and one that nobody reads
 * would never end: neither for those who wait for it, nor for those who come later.
 */
function unread({ body }: Response): Response {
	void body?.pipeTo(new WritableStream()).catch(() => undefined);
	return new Response(null, { status: 499 });
}

/** What came; undefined where the client left or its time was over before. The time is not the router's own. */
async function waiting<T>(promise: Promise<T>, client: AbortSignal, { call, settlement }: Asked) {
	const since = performance.now();
	const waited = await patiently(promise, client, timeLeft(call));
	settlement.waitedMs += performance.now() - since;
	return waited;
}

function gaveUp({ signal }: ClientCall): RouterError {
	if (signal.aborted) return new RouterError("cancelled", "The client left.");
	return new RouterError("upstream_timeout", "The same call of another caller gave no answer in this call's time.");
}
