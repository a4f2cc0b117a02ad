/** Claims among the threads of a process: of equal calls in several of them one is made. In front of those among routers. */
import type { RingKey, ValueRing } from "../memory/ring.ts";
import { MOST_THREADS } from "../memory/shared-lock.ts";
import type { StreamFailure } from "./answer-form.ts";
import { ClaimTable, claimId, type EndedClaim } from "./claim-table.ts";
import type { CallClaim, Release, SharedStore } from "./shared-store.ts";
import { keyText, type SingleFlight } from "./single-flight.ts";
import { type FollowedStream, SentStreams, type StreamMessage } from "./thread-streams.ts";

/** What one thread says to another that waits: a call is over. */
interface EndMessage {
	/** Of the call: `claimId`. Undefined: a thread has died, and any call that is waited for may be over. */
	readonly id: string | undefined;
	/** Its answer is in the memory that both share. */
	readonly isStored: boolean;
	/** The thread that has died. */
	readonly dead?: number;
}

/** What threads say to each other of calls: one is over, or what its stream brings. */
export type ClaimMessage = EndMessage | StreamMessage;

/** Carries these messages from thread to thread: the memory that they share tells nobody that it has changed. */
export interface ClaimPort {
	/** Returns at once. To a thread that has ended it does nothing. */
	post(thread: number, message: ClaimMessage): void;
	/** Hears what is posted to this thread. Set by whoever wants to. */
	onMessage: ((message: ClaimMessage) => void) | undefined;
}

/** Makes one whose messages go out by `post`. What comes in is to be given to its `onMessage`. */
export const claimPort = (post: ClaimPort["post"]): ClaimPort => ({ post, onMessage: undefined });

/** Calls that a thread had claimed which has died: routers wait for them, too. */
export type AbandonedCalls = (thread: number, keys: readonly RingKey[]) => void;

/** A thread among those that share a table of claims. */
export interface ClaimingThread {
	/** Its number, as ports know it. */
	readonly thread: number;
	/** Of the table. */
	readonly claims: SharedArrayBuffer;
	readonly port: ClaimPort;
	/** Where all of them keep answers. */
	readonly ring: ValueRing;
	/** The main thread's: told of the calls that a thread had claimed which has died. */
	readonly abandoned?: AbandonedCalls | undefined;
}

const ELSEWHERE: CallClaim = { is: "elsewhere" };
const UNAVAILABLE: CallClaim = { is: "unavailable" };

/** One thread's view of them. */
export class ThreadStore implements SharedStore {
	readonly #claims: ClaimTable;
	readonly #port: ClaimPort;
	readonly #ring: ValueRing;
	readonly #abandoned: AbandonedCalls | undefined;
	/** By id of a call: those that wait for it. */
	readonly #waiting = new Map<string, Set<(isStored: boolean, dead?: number) => void>>();
	/** By the text of a call's key: where its stream goes, and the thread that makes it. */
	readonly #followed = new Map<string, { readonly along: FollowedStream; readonly maker: number }>();
	readonly #sent: SentStreams;
	readonly #thread: number;
	/** Calls that another router makes, and whether this thread has claimed them among the threads. */
	readonly #beyond = new Map<string, boolean>();

	/**
	 * @param next claims among routers
	 * @param flights calls that this thread makes, by the text of their keys
	 */
	constructor(
		{ thread, claims, port, ring, abandoned }: ClaimingThread,
		private readonly next: SharedStore | undefined,
		flights: ReadonlyMap<string, SingleFlight>,
	) {
		this.#thread = thread;
		this.#sent = new SentStreams((to, message) => port.post(to, message), flights);
		this.#claims = new ClaimTable(claims, thread);
		this.#port = port;
		this.#ring = ring;
		this.#abandoned = abandoned;
		this.#claims.onEnded = (ended) => this.freed(ended);
		port.onMessage = (message) => {
			if ("isStored" in message) this.#over(message);
			else if ("from" in message) this.#sent.take(message);
			else this.#take(message);
		};
	}

	claim(key: RingKey): CallClaim | Promise<CallClaim> {
		const taken = this.#claims.take(key);
		if (taken === "elsewhere") return ELSEWHERE;
		const isOurs = taken === "ours";
		if (this.next) return this.#claimBeyond(this.next, key, isOurs);
		return isOurs ? { is: "ours", release: this.#releaseOf(key) } : UNAVAILABLE;
	}

	async wait(key: RingKey, signal: AbortSignal, along?: FollowedStream): Promise<CallClaim> {
		const id = claimId(key);
		for (;;) {
			const isOurs = this.#beyond.get(id);
			if (isOurs !== undefined) {
				this.#beyond.delete(id);
				return this.#together(await this.next!.wait(key, signal), key, isOurs);
			}
			const bytes = await this.#heard(key, id, signal, along);
			if (bytes) return { is: "found", bytes, isHere: true };
			if (signal.aborted || along?.hasBegun || along?.hasLeft) return ELSEWHERE;
			const claim = await this.claim(key);
			if (claim.is !== "elsewhere") return claim;
		}
	}

	put(key: RingKey, bytes: Uint8Array, ttlMs: number): void {
		this.next?.put(key, bytes, ttlMs);
	}

	/**
	 * A thread has died: what it made is made by those that waited for it. All that wait are told, whatever for: it may have given a claim back
	 * before it died, and not have said so any more.
	 */
	freed(thread: number): void {
		const keys = this.#claims.freed(thread);
		if (keys.length > 0) this.#abandoned?.(thread, keys);
		for (let to = 1; to < MOST_THREADS; to++) this.#port.post(to, { id: undefined, isStored: false, dead: thread });
	}

	async #claimBeyond(next: SharedStore, key: RingKey, isOurs: boolean): Promise<CallClaim> {
		const claim = await next.claim(key);
		if (claim.is !== "elsewhere") return this.#together(claim, key, isOurs);
		this.#beyond.set(claimId(key), isOurs);
		return claim;
	}

	/** What came of asking among routers, with the claim among threads, which ends with it. */
	#together(claim: CallClaim, key: RingKey, isOurs: boolean): CallClaim {
		if (!isOurs) return claim;
		const release = this.#releaseOf(key);
		switch (claim.is) {
			case "found":
				return { ...claim, release };
			case "ours":
				return {
					is: "ours",
					release(kept) {
						claim.release(kept);
						release(kept);
					},
				};
			case "unavailable":
				return { is: "ours", release };
			case "elsewhere":
				release(undefined);
				return claim;
		}
	}

	#releaseOf(key: RingKey): Release {
		return (kept) => {
			const ended = this.#claims.release(key);
			if (ended) this.#tell(ended, kept !== undefined);
		};
	}

	#tell({ id, waiting }: EndedClaim, isStored: boolean): void {
		for (const thread of waiting) this.#port.post(thread, { id, isStored });
	}

	#over({ id, isStored, dead }: EndMessage): void {
		if (dead !== undefined) this.#sent.freed(dead);
		const calls = id === undefined ? this.#waiting.values() : [this.#waiting.get(id) ?? []];
		for (const wakes of calls) for (const wake of wakes) wake(isStored, dead);
	}

	/** Something of a stream has come. */
	#take(message: Exclude<StreamMessage, { from: number }>): void {
		const { id } = message;
		const followed = this.#followed.get(id);
		if (!followed) return;
		const { along, maker } = followed;
		if (message.stream === "end") along.end(message.failure);
		else {
			const say = () => this.#port.post(maker, { id, from: this.#thread, stream: "taken" });
			void along.take(message.origin, message.pieces).then(say);
		}
	}

	/**
	 * Waits until the thread that makes the call says that it is over, and its stream, where that has begun, has come to its end. The answer, where
	 * it has put one into the ring.
	 */
	async #heard(
		key: RingKey,
		id: string,
		signal: AbortSignal,
		along: FollowedStream | undefined,
	): Promise<Uint8Array | undefined> {
		const { promise, resolve } = Promise.withResolvers<boolean>();
		let maker: number | undefined;
		const wake = (isStored: boolean, dead?: number) => {
			if (dead !== undefined && along?.hasBegun) {
				// The death of any other thread is no matter of a stream's.
				if (dead !== maker) return;
				along.end(BROKEN_OFF);
			}
			resolve(isStored);
		};
		const giveUp = () => {
			along?.end(undefined);
			resolve(false);
		};
		const wakes = this.#waiting.get(id) ?? new Set();
		// Before it is asked for: nothing is missed then.
		this.#waiting.set(id, wakes.add(wake));
		signal.addEventListener("abort", giveUp);
		if (along) along.onLeft = giveUp;
		try {
			maker = signal.aborted || along?.hasLeft ? undefined : this.#claims.wait(key);
			if (maker === undefined) return undefined;
			if (along) this.#join(keyText(key), along, maker);
			const isStored = await promise;
			if (along?.hasBegun) await along.ended;
			const position = isStored ? this.#ring.find(key) : undefined;
			return position === undefined ? undefined : this.#ring.read(position);
		} finally {
			signal.removeEventListener("abort", giveUp);
			wakes.delete(wake);
			if (wakes.size === 0) this.#waiting.delete(id);
			if (along && maker !== undefined) this.#leave(keyText(key), maker);
		}
	}

	#join(id: string, along: FollowedStream, maker: number): void {
		this.#followed.set(id, { along, maker });
		this.#port.post(maker, { id, from: this.#thread, stream: "join", form: along.form });
	}

	#leave(id: string, maker: number): void {
		this.#followed.delete(id);
		this.#port.post(maker, { id, from: this.#thread, stream: "leave" });
	}
}

/** What a stream ends with whose thread has died. */
const BROKEN_OFF: StreamFailure = { status: 502, error: "upstream_error", isCut: true };
