/** Claims among the threads of a process: of equal calls in several of them one is made. In front of those among routers. */
import type { RingKey, ValueRing } from "../memory/ring.ts";
import { MOST_THREADS } from "../memory/shared-lock.ts";
import type { ThreadPort } from "../memory/thread-port.ts";
import { ClaimTable, claimId, type EndedClaim } from "./claim-table.ts";
import type { CallClaim, Release, SharedStore } from "./shared-store.ts";

/** What one thread says to another that waits: a call is over. */
export interface ClaimMessage {
	/** Of the call: `claimId`. Undefined: a thread has died, and any call that is waited for may be over. */
	readonly id: string | undefined;
	/** Its answer is in the memory that both share. */
	readonly isStored: boolean;
}

/** Carries these messages from thread to thread. */
export type ClaimPort = ThreadPort<ClaimMessage>;

/** A thread among those that share a table of claims. */
export interface ClaimingThread {
	/** Its number, as ports know it. */
	readonly thread: number;
	/** Of the table. */
	readonly claims: SharedArrayBuffer;
	readonly port: ClaimPort;
	/** Where all of them keep answers. */
	readonly ring: ValueRing;
}

const ELSEWHERE: CallClaim = { is: "elsewhere" };
const UNAVAILABLE: CallClaim = { is: "unavailable" };

/** One thread's view of them. */
export class ThreadStore implements SharedStore {
	readonly #claims: ClaimTable;
	readonly #port: ClaimPort;
	readonly #ring: ValueRing;
	/** By id of a call: those that wait for it. */
	readonly #waiting = new Map<string, Set<(isStored: boolean) => void>>();
	/** Calls that another router makes, and whether this thread has claimed them among the threads. */
	readonly #beyond = new Map<string, boolean>();

	/** @param next claims among routers */
	constructor(
		{ thread, claims, port, ring }: ClaimingThread,
		private readonly next: SharedStore | undefined,
	) {
		this.#claims = new ClaimTable(claims, thread);
		this.#port = port;
		this.#ring = ring;
		this.#claims.onEnded = (ended) => this.freed(ended);
		port.onMessage = ({ id, isStored }) => {
			const calls = id === undefined ? this.#waiting.values() : [this.#waiting.get(id) ?? []];
			for (const wakes of calls) for (const wake of wakes) wake(isStored);
		};
	}

	claim(key: RingKey): CallClaim | Promise<CallClaim> {
		const taken = this.#claims.take(key);
		if (taken === "elsewhere") return ELSEWHERE;
		const isOurs = taken === "ours";
		if (this.next) return this.#claimBeyond(this.next, key, isOurs);
		return isOurs ? { is: "ours", release: this.#releaseOf(key) } : UNAVAILABLE;
	}

	async wait(key: RingKey, signal: AbortSignal): Promise<CallClaim> {
		const id = claimId(key);
		for (;;) {
			const isOurs = this.#beyond.get(id);
			if (isOurs !== undefined) {
				this.#beyond.delete(id);
				return this.#together(await this.next!.wait(key, signal), key, isOurs);
			}
			const bytes = await this.#heard(key, id, signal);
			if (bytes) return { is: "found", bytes, isHere: true };
			if (signal.aborted) return ELSEWHERE;
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
		this.#claims.freed(thread);
		for (let to = 1; to < MOST_THREADS; to++) this.#port.post(to, { id: undefined, isStored: false });
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

	/** Waits until the thread that makes the call says that it is over. The answer, where it has put one into the ring. */
	async #heard(key: RingKey, id: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
		const { promise, resolve } = Promise.withResolvers<boolean>();
		const giveUp = () => resolve(false);
		const wakes = this.#waiting.get(id) ?? new Set();
		// Before it is asked for: nothing is missed then.
		this.#waiting.set(id, wakes.add(resolve));
		signal.addEventListener("abort", giveUp);
		try {
			const isStored = !signal.aborted && this.#claims.wait(key) && (await promise);
			const position = isStored ? this.#ring.find(key) : undefined;
			return position === undefined ? undefined : this.#ring.read(position);
		} finally {
			signal.removeEventListener("abort", giveUp);
			wakes.delete(resolve);
			if (wakes.size === 0) this.#waiting.delete(id);
		}
	}
}
