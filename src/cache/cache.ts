/** The cache as calls see it: an older answer, one that is on its way to another caller, or the lead of a call that others may join. */
import type { Config } from "../config/schema.ts";
import type { ClientCall } from "../dialects/dialect.ts";
import { RouterError } from "../errors.ts";
import { Ring, type RingKey } from "../memory/ring.ts";
import { SharedRing } from "../memory/shared-ring.ts";
import { allDropped, takesWithout } from "../providers/unsupported-fields.ts";
import type { CallRecord } from "../proxy/call-record.ts";
import { timeLeft } from "../proxy/timeouts.ts";
import type { Route } from "../routing/route.ts";
import { type AnswerOrigin, answerForm } from "./answer-form.ts";
import type { CacheThread } from "./cache-memory.ts";
import { cachedResponse, followedResponse } from "./cached-response.ts";
import { type CacheEntry, decodeEntry, isFresh, isSound } from "./entry.ts";
import {
	type CacheScope,
	isSameCall,
	type KeyHash,
	localHash,
	type RecentCall,
	RecentCalls,
	routeKey,
} from "./exact-match.ts";
import { type AnswerStore, joinFlight, Lead } from "./lead.ts";
import { type CacheUse, cacheUse, modelSettings } from "./rules.ts";
import type { CallClaim, FoundAnswer, SharedStore } from "./shared-store.ts";
import { SingleFlight } from "./single-flight.ts";
import { ThreadStore } from "./thread-store.ts";
import type { FollowedStream } from "./thread-streams.ts";

type CachedRoute = Pick<Route, "targets" | "alias">;

/** A call that the cache is for. */
interface CacheLookup {
	readonly key: RingKey;
	readonly use: CacheUse;
	readonly call: ClientCall;
	readonly record: CallRecord;
	readonly scope: CacheScope;
	/** Where the call may run. */
	readonly route: CachedRoute;
	/** The same call has been answered before. */
	readonly repeat: RecentCall | undefined;
	/** Where its answer stood in the ring when it was looked for. */
	readonly position: number | undefined;
}

/**
 * What the cache has for a call: an answer; the lead of it, where it is to be made upstream for others, too; undefined where the cache keeps
 * out of the way.
 */
export type Found = Response | Lead | undefined;

/**
 * The cache of a configuration; undefined where that switches it off. A reload changes neither its memory nor whether there is one.
 * @param thread where several threads share one
 */
export function createAnswerCache(
	{ cache }: Config,
	sharedStore?: SharedStore,
	thread?: CacheThread,
): AnswerCache | undefined {
	return cache.enabled ? new AnswerCache(cache.memory, cache.max_entry, sharedStore, thread) : undefined;
}

/** One for a process, or one thread's view of it. Takes no memory before the first answer that is kept. */
export class AnswerCache {
	/** The calls that were answered lately, by their text. */
	readonly recentCalls: RecentCalls;
	readonly #store: AnswerStore;
	/** Absent where keys mean the same to others, too. */
	readonly #hash: KeyHash | undefined;
	/** What a thread that has died may have held. */
	readonly #threads: readonly { freed(thread: number): void }[];

	/**
	 * @param memory for answers, bytes
	 * @param maxEntry largest answer kept, bytes before compression
	 */
	constructor(memory: number, maxEntry: number, sharedStore?: SharedStore, thread?: CacheThread) {
		this.recentCalls = new RecentCalls(memory / (thread?.threads ?? 1));
		this.#hash = sharedStore ? undefined : localHash(thread?.memory.secret);
		const store = { flights: new Map<string, SingleFlight>(), maxEntry };
		if (thread) {
			const ring = new SharedRing(thread.memory.ring, thread.thread);
			const threads = new ThreadStore({ ...thread, claims: thread.memory.claims, ring }, sharedStore, store.flights);
			this.#store = { ...store, ring, sharedStore: threads };
			this.#threads = [ring, threads];
		} else {
			this.#store = { ...store, ring: new Ring(memory - this.recentCalls.memory), sharedStore };
			this.#threads = [];
		}
	}

	/** A thread of the process has died: the others wait for nothing of it. */
	freed(thread: number): void {
		for (const each of this.#threads) each.freed(thread);
	}

	/** Answers held in this process, and the bytes they take. */
	get stats(): { readonly entries: number; readonly bytes: number } {
		const { ring } = this.#store;
		return { entries: ring.count, bytes: ring.used };
	}

	/**
	 * Looks for an answer, at once where it is here, or where nobody else has to be asked. Throws, at once or later, `invalid_value` for the
	 * cache's own header, and where others are waited for `cancelled` and `upstream_timeout`.
	 * @param repeat what `recentCalls.match` said of the call's text
	 */
	find(
		call: ClientCall,
		route: CachedRoute,
		record: CallRecord,
		{ cache: settings }: Pick<Config, "cache">,
		repeat: RecentCall | undefined,
	): Found | Promise<Found> {
		const { targets, alias } = route;
		// What was found by a search of yesterday's is no answer to one of today's.
		const isLive = call.responses?.asksForTools && targets.some(({ provider }) => provider.runsTools);
		const use = isLive ? undefined : cacheUse(call, modelSettings(settings, alias?.cache));
		const scope = { tenant: settings.shared ? "" : (call.keyId ?? ""), targets, headers: call.headers };
		const same = use && repeat && isSameCall(repeat, scope) ? repeat : undefined;
		const key = same ? same.key : use && routeKey(call, targets, scope.tenant, alias?.unsupported, this.#hash);
		record.cache = use?.looksUp && key ? "miss" : "bypass";
		if (!use || !key) return undefined;
		const position = use.looksUp ? this.#store.ring.find(key) : undefined;
		const lookup = { key, use, call, record, scope, route, repeat: same, position };
		if (!use.looksUp) return new Lead(this.#store, lookup, undefined);
		const kept = position === undefined ? undefined : this.#read(position, lookup);
		if (kept instanceof Promise) {
			return kept.then((entry) => (entry ? hit(entry, lookup) : this.#wait(joinFlight(this.#store, lookup), lookup)));
		}
		if (kept) return hit(kept, lookup);
		const joined = joinFlight(this.#store, lookup);
		return joined instanceof Lead && !this.#store.sharedStore ? joined : this.#wait(joined, lookup);
	}

	/** The entry there, where the call takes it. At once unless it is large: a hit is to cost as little as it can. */
	#read(position: number, lookup: CacheLookup): CacheEntry | undefined | Promise<CacheEntry | undefined> {
		const { key, call, scope, repeat } = lookup;
		if (repeat?.position === position) return usable(repeat.entry, lookup);
		const bytes = this.#store.ring.read(position);
		const decoded = bytes && decodeEntry(bytes);
		if (decoded instanceof Promise) return decoded.then((entry) => usable(entry, lookup));
		const entry = usable(decoded, lookup);
		if (entry && this.recentCalls.isWorthwhile(call)) this.recentCalls.remember(call, scope, { key, position, entry });
		return entry;
	}

	/** Waits for others where the call is on its way, here or at a replica. */
	#wait(joined: SingleFlight | Lead | undefined, lookup: CacheLookup): Found | Promise<Found> {
		if (joined instanceof SingleFlight) return this.#follow(joined, lookup);
		const { sharedStore } = this.#store;
		return joined && sharedStore ? this.#claim(sharedStore, joined, lookup) : joined;
	}

	/** Waits with others for an answer; where none came, the call is to be made for this caller alone. */
	async #follow(flight: SingleFlight, lookup: CacheLookup): Promise<Found> {
		const { call, record } = lookup;
		const leave = flight.join();
		const follower = flight.follow(answerForm(call));
		const ready: Promise<unknown> = follower ? flight.started : flight.result;
		const waited = await waiting(ready, call.client.signal, lookup);
		const takes = !flight.origin?.dropped || takesDropped(flight.origin, lookup);
		if (waited && follower && flight.origin && takes && follower.backlog > 0) {
			markHit(record, flight.origin, call);
			return followedResponse(flight, follower, call, record, leave);
		}
		if (follower) flight.unfollow(follower);
		leave();
		if (!waited) throw gaveUp(call);
		const entry = takes ? usable(await flight.result, lookup) : undefined;
		return entry ? hit(entry, lookup) : new Lead(this.#store, lookup, undefined);
	}

	/** What the other threads and replicas have, or the right to make the call. At once where that is known here. */
	#claim(level: SharedStore, lead: Lead, lookup: CacheLookup): Found | Promise<Found> {
		const claim = level.claim(lookup.key);
		const isKnown = !(claim instanceof Promise) && claim.is !== "elsewhere";
		return isKnown ? this.#claimed(claim, lead, lookup) : this.#awaitClaim(level, claim, lead, lookup);
	}

	async #awaitClaim(
		level: SharedStore,
		first: CallClaim | Promise<CallClaim>,
		lead: Lead,
		lookup: CacheLookup,
	): Promise<Found> {
		const { key, call } = lookup;
		const { signal } = lead.call.client;
		const left = new AbortController();
		signal.addEventListener("abort", () => left.abort());
		try {
			const along = lead.followed();
			const claiming = claimOrWait(level, first, key, left.signal, along);
			const isBegun = along?.begun.then(() => ({ is: "begun" }) as const);
			const waited = await waiting(isBegun ? Promise.race([claiming, isBegun]) : claiming, signal, lookup);
			if (waited && along?.hasBegun) return this.#readAlong(lead, along, claiming, lookup);
			if (!waited) {
				along?.leave();
				// Its time may be over, and its client still there: nobody waits for it any more.
				left.abort();
				void claiming.then((late) => "release" in late && late.release?.(undefined));
				throw gaveUp(call);
			}
			return await this.#claimed(waited.came as CallClaim, lead, lookup);
		} catch (thrown) {
			lead.fail();
			throw thrown;
		}
	}

	/** The stream of another thread's call has begun: this caller reads it along, and whoever else follows its lead. */
	#readAlong(lead: Lead, along: FollowedStream, claiming: Promise<CallClaim>, lookup: CacheLookup): Found {
		void claiming.then(async (claim) => {
			const entry = claim.is === "found" ? await soundEntry(claim, lookup) : undefined;
			lead.finishFollowed(entry, along);
		});
		const { call, record } = lookup;
		const { flight } = lead;
		const follower = flight.follow(answerForm(call));
		if (!follower || (flight.origin?.dropped && !takesDropped(flight.origin, lookup))) {
			if (follower) flight.unfollow(follower);
			flight.leave();
			return new Lead(this.#store, lookup, undefined);
		}
		markHit(record, flight.origin!, call);
		return followedResponse(flight, follower, call, record, flight.leave);
	}

	/** What comes of a claim: the answer, or the lead of the call. */
	#claimed(claim: CallClaim, lead: Lead, lookup: CacheLookup): Found | Promise<Found> {
		if ("release" in claim) lead.release = claim.release;
		const isHere = claim.is === "ours" || (claim.is === "found" && claim.isHere === true);
		const entry = claim.is === "found" ? soundEntry(claim, lookup) : isHere ? this.#lateEntry(lookup) : undefined;
		const given = (found: CacheEntry | undefined): Found => {
			if (!found) return lead;
			lead.finishShared(found, isHere);
			return hit(found, lookup);
		};
		return entry instanceof Promise ? entry.then(given) : given(entry);
	}

	/** What others have put into the ring between the look there and the claim. */
	#lateEntry(lookup: CacheLookup): CacheEntry | undefined | Promise<CacheEntry | undefined> {
		const position = this.#store.ring.find(lookup.key);
		if (position === undefined || position === lookup.position) return undefined;
		// Those who follow the lead read it later: what lies in the ring is good for a moment only.
		const lasting = (entry: CacheEntry | undefined) => entry && { ...entry, body: entry.body.slice() };
		const entry = this.#read(position, lookup);
		return entry instanceof Promise ? entry.then(lasting) : lasting(entry);
	}
}

async function claimOrWait(
	level: SharedStore,
	first: CallClaim | Promise<CallClaim>,
	key: RingKey,
	signal: AbortSignal,
	along: FollowedStream | undefined,
): Promise<CallClaim> {
	const claim = await first;
	return claim.is === "elsewhere" ? level.wait(key, signal, along) : claim;
}

/** The entry that others have, where the call takes it. */
function soundEntry(
	{ bytes, isHere }: FoundAnswer,
	lookup: CacheLookup,
): CacheEntry | undefined | Promise<CacheEntry | undefined> {
	const usableIn = (entry: CacheEntry | undefined) =>
		entry && (isHere || isSound(entry)) ? usable(entry, lookup) : undefined;
	const decoded = decodeEntry(bytes);
	return decoded instanceof Promise ? decoded.then(usableIn) : usableIn(decoded);
}

/** The entry, where the call takes one of its age, and one that was made as it was. */
function usable(entry: CacheEntry | undefined, lookup: CacheLookup): CacheEntry | undefined {
	if (!entry || !isFresh(entry.facts, lookup.use.maxAgeMs, Date.now())) return undefined;
	return !entry.facts.dropped || takesDropped(entry.facts, lookup) ? entry : undefined;
}

/** Whether the call, as its route is configured now, would have been made without these fields, too. */
function takesDropped({ provider: name, dropped = [] }: AnswerOrigin, { call, route }: CacheLookup): boolean {
	const served = route.targets.find(({ provider }) => provider.name === name);
	const terms = { dialect: call.dialect.id, model: route.alias?.unsupported, provider: served?.provider.unsupported };
	const leftOut = call.leftOut?.();
	return takesWithout(leftOut ? dropped.filter((name) => !leftOut.includes(name)) : dropped, terms);
}

function markHit(record: CallRecord, { dropped }: AnswerOrigin, call: ClientCall): void {
	record.cache = "hit";
	record.isKnown = true;
	if (dropped || call.leftOut) record.droppedFields = allDropped(call, dropped);
}

function hit(entry: CacheEntry, { call, record, repeat }: CacheLookup): Response {
	markHit(record, entry.facts, call);
	return cachedResponse(entry, call, record, entry === repeat?.entry);
}

/** What came; undefined where the client left or its time was over before. The time is not the router's own. */
async function waiting<T>(promise: Promise<T>, client: AbortSignal, { call, record }: CacheLookup) {
	const since = performance.now();
	record.liftIdleTimeout();
	const waited = await within(promise, client, timeLeft(call));
	record.waitedMs += performance.now() - since;
	return waited;
}

/** What a promise that never rejects came to; undefined where the client left, or `ms` passed, before. */
async function within<T>(promise: Promise<T>, client: AbortSignal, ms: number): Promise<{ came: T } | undefined> {
	if (client.aborted) return undefined;
	const { promise: over, resolve } = Promise.withResolvers<undefined>();
	const giveUp = () => resolve(undefined);
	client.addEventListener("abort", giveUp);
	const timer = Number.isFinite(ms) ? setTimeout(giveUp, ms) : undefined;
	try {
		return await Promise.race([promise.then((came) => ({ came })), over]);
	} finally {
		clearTimeout(timer);
		client.removeEventListener("abort", giveUp);
	}
}

function gaveUp({ client }: ClientCall): RouterError {
	if (client.signal.aborted) return new RouterError("cancelled", "The client left.");
	return new RouterError("upstream_timeout", "The same call of another caller gave no answer in this call's time.");
}
