/** What is known of each target, in memory that all threads share: each has its own view of it, and none asks another. */
import { SharingThreads } from "../memory/recoverable-lock.ts";
import { slotBytes } from "../memory/slot-memory.ts";
import { SlotTable, type TableSlot, type ThreadClock } from "../memory/slot-table.ts";
import type { Breaker } from "./breaker.ts";
import { SharedAttempt } from "./shared-attempt.ts";
import { breakerState } from "./shared-breaker.ts";
import { PREFIXES_BYTES, PrefixSlabs } from "./shared-prefixes.ts";
import { SESSIONS_BYTES, SharedSessions } from "./shared-sessions.ts";
import {
	breakerAt,
	freeTarget,
	resetTarget,
	SharedTarget,
	slabCellOf,
	TARGET_BYTES,
	type TargetMemory,
} from "./shared-target.ts";
import {
	MOST_TARGETS,
	type OpenAttempt,
	type PauseReason,
	type RoutingState,
	type TargetView,
	type Work,
} from "./target-state.ts";

const SIZES = { capacity: MOST_TARGETS, cellBytes: TARGET_BYTES };
/** The head, 32-bit cells: openings of breakers, ids of threads; the table of targets follows, then their prefixes, then sessions. */
const OPENINGS = 0;
const THREAD_IDS = 4;
const HEAD_BYTES = 64;
const PREFIXES_AT = HEAD_BYTES + slotBytes(SIZES);
const SESSIONS_AT = PREFIXES_AT + PREFIXES_BYTES;

/** Bytes of shared memory that it takes: some 28 MB of addresses, of which pages are used as targets, prompts and sessions come. All zero at first. */
export const ROUTING_STATE_BYTES = SESSIONS_AT + SESSIONS_BYTES;

/** A session says where it went by the slot of the target, plus 1, and by its generation, which is even. */
const SLOT_BITS = 11;
const GENERATION_MASK = 0xfffff;

/** One thread's view. */
export class SharedRoutingState implements RoutingState {
	readonly #ints: Int32Array<SharedArrayBuffer>;
	readonly #memory: TargetMemory;
	readonly #table: SlotTable<SharedTarget>;
	readonly #prefixes: PrefixSlabs;
	readonly #sessions: SharedSessions;
	readonly #unknown: SharedTarget;

	/**
	 * @param memory {@link ROUTING_STATE_BYTES} of it
	 * @param time this thread's clock, which never goes back, ms
	 */
	constructor(
		memory: SharedArrayBuffer,
		{ thread, offset }: ThreadClock,
		private readonly time: () => number = () => performance.now(),
	) {
		const ints = new Int32Array(memory);
		const threads = new SharingThreads(ints, THREAD_IDS, thread);
		threads.onEnded = (ended) => this.freed(ended);
		this.#ints = ints;
		this.#memory = {
			ints,
			floats: new Float64Array(memory),
			thread,
			threads,
			offset,
			time,
			prefixes: (slab) => this.#prefixes.cache(slab),
			opened: () => Atomics.add(ints, OPENINGS, 1),
		};
		this.#table = new SlotTable({
			memory,
			begin: HEAD_BYTES,
			threads,
			...SIZES,
			make: (address) => new SharedTarget(this.#memory, address),
			reset: (address) => {
				this.#prefixes.release(address.number);
				resetTarget(this.#memory, address);
			},
			isWell: (address) => breakerState(breakerAt(this.#memory, address)).state === "closed",
		});
		const slabCell = (number: number) => slabCellOf(this.#table.addressOf(number));
		this.#prefixes = new PrefixSlabs(ints, PREFIXES_AT / 4, threads, slabCell);
		this.#sessions = new SharedSessions(ints, SESSIONS_AT / 4, threads);
		this.#unknown = unknownTarget(this.#memory);
	}

	now(): number {
		return this.time();
	}

	of(target: string): TargetView {
		return this.#table.find(target)?.value ?? this.#unknown;
	}

	session(name: string): string | undefined {
		const target = this.#sessions.get(name);
		if (target === 0) return undefined;
		const slot = this.#table.at((target & ((1 << SLOT_BITS) - 1)) - 1);
		return slot && sessionTarget(slot) === target ? slot.id : undefined;
	}

	*breakers(): Iterable<readonly [string, Breaker["state"]]> {
		for (const [id, address] of this.#table.all()) {
			const { state, wasOpen } = breakerState(breakerAt(this.#memory, address));
			if (wasOpen) yield [id, state];
		}
	}

	get openings(): number {
		return Atomics.load(this.#ints, OPENINGS);
	}

	opened(target: string, isStream: boolean, work?: Work): OpenAttempt {
		const slot = this.#table.hold(target);
		return new SharedAttempt(this.#table, slot, isStream, work ? this.#bring(slot, work) : 0);
	}

	pause(target: string, ms: number, why: PauseReason): void {
		const slot = this.#table.hold(target);
		const { lock } = slot.value;
		lock.acquire();
		try {
			slot.value.pause(slot.value.now() + ms, why);
		} finally {
			lock.release();
		}
		this.#table.letGo(slot);
	}

	restarted(target: string): void {
		this.#table.find(target)?.value.prefixes?.clear();
	}

	/** A thread has died: gives back what its attempts were counted as, and what it was about to change is whole again. By the main thread. */
	freed(thread: number): void {
		this.#table.freed(thread);
		this.#prefixes.freed(thread);
		this.#sessions.freed(thread);
		for (const address of this.#table.addresses()) freeTarget(this.#memory, address, thread);
	}

	/** A target is given a prompt. How many characters of it it has to compute. */
	#bring(slot: TableSlot<SharedTarget>, { prompt, session }: Work): number {
		const { value: target, number } = slot;
		const uncached = target.prefixes?.uncached(prompt) ?? prompt.characters;
		// One that found no room has nothing of its own to remember.
		if (number === MOST_TARGETS) return uncached;
		if (prompt.blocks.length > 0) {
			this.#prefixes.use(number, this.#table.uses);
			target.prefixes?.add(prompt);
		}
		if (session !== undefined) this.#sessions.set(session, sessionTarget(slot));
		return uncached;
	}
}

function sessionTarget({ number, generation }: TableSlot<SharedTarget>): number {
	return (((generation >>> 1) & GENERATION_MASK) << SLOT_BITS) | (number + 1);
}

/** Of the same class as the others, so that who reads them meets one. */
function unknownTarget(memory: TargetMemory): SharedTarget {
	const own = new SharedArrayBuffer(HEAD_BYTES + TARGET_BYTES);
	const address = { number: 0, holders: 0, cells: HEAD_BYTES };
	const unknown = { ...memory, ints: new Int32Array(own), floats: new Float64Array(own) };
	resetTarget(unknown, address);
	return new SharedTarget(unknown, address);
}
