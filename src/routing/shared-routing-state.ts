/** What is known of each target, in memory that all threads share: each has its own view of it, and none asks another. */
import { SharingThreads } from "../memory/recoverable-lock.ts";
import { slotBytes } from "../memory/slot-memory.ts";
import { SlotTable, type TableSlot, type ThreadClock } from "../memory/slot-table.ts";
import type { Breaker } from "./breaker.ts";
import { ConversationTable, makeConversations } from "./conversation-table.ts";
import { type HeldReport, HeldSlabs, makeHeld } from "./held-blocks.ts";
import type { SessionHash } from "./named-sessions.ts";
import { SharedAttempt } from "./shared-attempt.ts";
import { breakerState } from "./shared-breaker.ts";
import { makePrefixes, PrefixSlabs } from "./shared-prefixes.ts";
import { SESSIONS_BYTES, SharedSessions } from "./shared-sessions.ts";
import {
	breakerAt,
	freeTarget,
	heldCellOf,
	ownLoadOf,
	resetTarget,
	SharedTarget,
	setOthersOf,
	slabCellOf,
	TARGET_BYTES,
	type TargetMemory,
} from "./shared-target.ts";
import {
	MOST_SESSIONS,
	MOST_TARGETS,
	NO_LOAD,
	type OpenAttempt,
	type PauseReason,
	type RoutingListener,
	type RoutingState,
	type TargetHealth,
	type TargetLoad,
	type TargetView,
	type Work,
} from "./target-state.ts";

const SIZES = { capacity: MOST_TARGETS, cellBytes: TARGET_BYTES };
/** The head, 32-bit cells: openings of breakers, ids of threads; sessions follow, then the table of targets. */
const OPENINGS = 0;
const THREAD_IDS = 4;
const HEAD_BYTES = 64;
const SESSIONS_AT = HEAD_BYTES;
const TARGETS_AT = SESSIONS_AT + SESSIONS_BYTES;
/** Targets that there is memory for at first: JavaScriptCore counts it as memory of each thread's heap. */
const FIRST_TARGETS = 32;

/** Memory that threads share. All zero at first. */
export interface RoutingMemory {
	/** Sessions and targets: 1.2 MB, and 11 where it has grown for as many targets as there may be. */
	readonly targets: SharedArrayBuffer;
	/** What replicas have in their prefix caches. */
	readonly prefixes: SharedArrayBuffer;
	/** What their engines say they have. */
	readonly held: SharedArrayBuffer;
	/** Which conversations vendors' prompt caches have. */
	readonly conversations: SharedArrayBuffer;
}

/** Makes it. */
export const makeRoutingMemory = (): RoutingMemory => ({
	targets: new SharedArrayBuffer(TARGETS_AT + slotBytes(SIZES, FIRST_TARGETS), {
		maxByteLength: TARGETS_AT + slotBytes(SIZES),
	}),
	prefixes: makePrefixes(),
	held: makeHeld(),
	conversations: makeConversations(),
});

/** A session says where it went by the slot of the target, plus 1, and by its generation, which is even. */
const SLOT_BITS = 11;
const GENERATION_MASK = 0xfffff;

/** One thread's view. What is exchanged with other routers is the main thread's: ./exchanged-threads.ts. */
export class SharedRoutingState implements RoutingState {
	/** Told of what changes by this thread. */
	listener: RoutingListener | undefined;
	readonly conversations: ConversationTable;
	readonly #ints: Int32Array<SharedArrayBuffer>;
	readonly #memory: TargetMemory;
	readonly #table: SlotTable<SharedTarget>;
	readonly #prefixes: PrefixSlabs;
	readonly #held: HeldSlabs;
	readonly #sessions: SharedSessions;
	readonly #unknown: SharedTarget;

	/**
	 * @param memory see {@link makeRoutingMemory}
	 * @param time this thread's clock, which never goes back, ms
	 */
	constructor(
		{ targets: memory, prefixes, held, conversations }: RoutingMemory,
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
			prefixes: (slab, set) => this.#prefixes.cache(slab, set < 0 ? undefined : this.#held.blocks(set)),
			opened: () => Atomics.add(ints, OPENINGS, 1),
		};
		this.#table = new SlotTable({
			memory,
			begin: TARGETS_AT,
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
		this.#prefixes = new PrefixSlabs(prefixes, ints, threads, slabCell);
		this.#held = new HeldSlabs(held, ints, (number) => heldCellOf(this.#table.addressOf(number)));
		this.#sessions = new SharedSessions(ints, SESSIONS_AT / 4, threads);
		this.#unknown = unknownTarget(this.#memory);
		this.conversations = new ConversationTable(conversations, () => time() + offset);
		this.conversations.onKept = (key, ms) => this.listener?.conversationKept(key, ms);
	}

	now(): number {
		return this.time();
	}

	of(target: string): TargetView {
		return this.#table.find(target)?.value ?? this.#unknown;
	}

	session(name: string): string | undefined {
		const target = this.#sessions.get(name);
		return target === 0 ? undefined : this.#sessionTarget(target);
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
		const { listener } = this;
		const uncached = work ? this.#bring(slot, work) : 0;
		listener?.loadChanged(target);
		return new SharedAttempt(this.#table, slot, isStream, uncached, listener);
	}

	pause(target: string, ms: number, why: PauseReason): void {
		this.#changing(target, ({ value }) => value.pause(value.now() + ms, why));
	}

	restarted(target: string): void {
		this.forgetPrompts(target);
		this.listener?.promptsGone(target);
	}

	/** By the main thread, to which agents report. */
	reported(target: string, report: HeldReport | undefined): void {
		if (!report) {
			const slot = this.#table.find(target);
			if (slot) Atomics.store(this.#ints, heldCellOf(this.#table.addressOf(slot.number)), 0);
			return;
		}
		this.#holding(target, (slot) => {
			if (!hasRoom(slot)) return;
			this.#prefixes.use(slot.number, this.#table.uses);
			this.#held.give(slot.number);
			slot.value.prefixes?.report(report);
		});
	}

	/** The part of a target's load that is this router's own. */
	ownLoad(target: string): TargetLoad {
		const slot = this.#table.find(target);
		return slot ? ownLoadOf(this.#memory, slot) : NO_LOAD;
	}

	/** The same of all targets where it has calls under way. */
	*ownLoads(): Iterable<readonly [string, TargetLoad]> {
		for (const [id, address] of this.#table.all()) {
			const load = ownLoadOf(this.#memory, address);
			if (load.inFlight > 0) yield [id, load];
		}
	}

	/** The main thread's: the part that is other routers', from now on. */
	setOthers(target: string, load: TargetLoad): void {
		const slot = load.inFlight > 0 ? this.#table.hold(target) : this.#table.find(target);
		if (!slot) return;
		if (hasRoom(slot)) setOthersOf(this.#memory, slot, load);
		else this.#table.letGo(slot);
	}

	/** Another router gave a target a prompt of these blocks. */
	learnPrompt(target: string, blocks: Int32Array): void {
		this.#holding(target, (slot) => {
			if (!hasRoom(slot)) return;
			this.#prefixes.use(slot.number, this.#table.uses);
			slot.value.prefixes?.add({ blocks });
		});
	}

	/** A target's prefix cache is empty. */
	forgetPrompts(target: string): void {
		this.#table.find(target)?.value.prefixes?.clear();
	}

	/** Where the last call of a session went. */
	learnSession(session: string, target: string): void {
		this.#holding(target, (slot) => {
			if (hasRoom(slot)) this.#sessions.set(session, sessionTarget(slot));
		});
	}

	/** By hash: the memory has no names. */
	sessions(): readonly [] {
		return [];
	}

	/** Where the last calls of sessions went, the most recent last. */
	*hashedSessions(): Iterable<readonly [hash: SessionHash, target: string]> {
		for (const [hash, cell] of this.#sessions.all().slice(-MOST_SESSIONS)) {
			const target = this.#sessionTarget(cell);
			if (target !== undefined) yield [hash, target];
		}
	}

	/** The last call of the session of this hash went there. */
	learnHashedSession(hash: SessionHash, target: string): void {
		this.#holding(target, (slot) => {
			if (hasRoom(slot)) this.#sessions.setHashed(hash, sessionTarget(slot));
		});
	}

	/** Of all targets of which something is known, but those whose ids are too long to be read. */
	*healths(): Iterable<readonly [target: string, health: TargetHealth]> {
		for (const [, { number }] of this.#table.all()) {
			const slot = this.#table.at(number);
			if (slot) yield [slot.id, slot.value];
		}
	}

	/** Another process has found that out. */
	learnHealth(target: string, health: TargetHealth): void {
		this.#changing(target, (slot) => {
			if (hasRoom(slot)) slot.value.learn(health);
		});
	}

	/** Blocks that targets were given, of the target that was given some last first, the most recent block first. */
	*prompts(): Iterable<readonly [string, () => Int32Array]> {
		for (const number of this.#prefixes.owners(this.#table.uses)) {
			const slot = this.#table.at(number);
			const prefixes = slot?.value.prefixes;
			if (slot && prefixes) yield [slot.id, () => prefixes.recent()];
		}
	}

	/** A thread has died: gives back what its attempts were counted as, and what it was about to change is whole again. By the main thread. */
	freed(thread: number): void {
		this.#table.freed(thread);
		this.#prefixes.freed(thread);
		this.#sessions.freed(thread);
		for (const address of this.#table.addresses()) freeTarget(this.#memory, address, thread);
	}

	/** Holds a target's slot for this step alone, and lets it go whatever comes of that. */
	#holding(target: string, step: (slot: TableSlot<SharedTarget>) => void): void {
		const slot = this.#table.hold(target);
		try {
			step(slot);
		} finally {
			this.#table.letGo(slot);
		}
	}

	/** The same, under the target's lock. */
	#changing(target: string, step: (slot: TableSlot<SharedTarget>) => void): void {
		this.#holding(target, (slot) => {
			const { lock } = slot.value;
			lock.acquire();
			try {
				step(slot);
			} finally {
				lock.release();
			}
		});
	}

	/** Where a session went that says so by this number; undefined where that target is forgotten. */
	#sessionTarget(cell: number): string | undefined {
		const slot = this.#table.at((cell & ((1 << SLOT_BITS) - 1)) - 1);
		return slot && sessionTarget(slot) === cell ? slot.id : undefined;
	}

	/** A target is given a prompt. How many characters of it it has to compute. */
	#bring(slot: TableSlot<SharedTarget>, { prompt, session }: Work): number {
		const { value: target, number } = slot;
		const uncached = target.prefixes?.uncached(prompt) ?? prompt.characters;
		if (!hasRoom(slot)) return uncached;
		if (prompt.blocks.length > 0) {
			this.#prefixes.use(number, this.#table.uses);
			target.prefixes?.add(prompt);
			this.listener?.promptGiven(slot.id, prompt.blocks);
		}
		if (session !== undefined) {
			this.#sessions.set(session, sessionTarget(slot));
			this.listener?.sessionMoved(session, slot.id);
		}
		return uncached;
	}
}

/** One that found no room has nothing of its own to remember. */
const hasRoom = ({ number }: TableSlot<SharedTarget>): boolean => number !== MOST_TARGETS;

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
