/** Things that all threads know by an id, each with a slot of shared memory: what one thread remembers of where they are. */
import type { SharingThreads } from "./recoverable-lock.ts";
import { NO_SLOT, type SlotAddress, SlotMemory, type SlotOwner, type SlotSizes, slotKey } from "./slot-memory.ts";

/** Ids without a slot that a thread remembers, so as not to look for them again. */
const MOST_ABSENT = 2_000;

/** A thread's clock. */
export interface ThreadClock {
	/** The thread's number. */
	readonly thread: number;
	/** How far the clock of all threads, the main thread's `performance.now()`, is ahead of its own, ms. */
	readonly offset: number;
}

/** A slot that this thread has met. It is that id's as long as the generation is the slot's. */
export class TableSlot<T> implements SlotAddress {
	constructor(
		/** Empty: the one that ids share that find no room. */
		readonly id: string,
		readonly generation: number,
		readonly number: number,
		readonly cells: number,
		readonly holders: number,
		readonly value: T,
	) {}
}

/** A table. */
export interface SlotTableOptions<T> extends SlotSizes, SlotOwner {
	readonly memory: SharedArrayBuffer;
	/** Where it begins there, bytes; a multiple of 8. It takes `slotBytes`. */
	readonly begin: number;
	readonly threads: SharingThreads;
	/** What this thread works with at a slot, as long as that is the same id's. */
	make(address: SlotAddress): T;
}

/** One thread's view of the table. Nothing of it throws, or waits for longer than other threads take to change a slot. */
export class SlotTable<T> {
	readonly #slots: SlotMemory;
	readonly #known = new Map<string, TableSlot<T>>();
	readonly #byNumber: (TableSlot<T> | undefined)[];
	/** Ids that had no slot when the version was this. */
	readonly #absent = new Set<string>();
	#absentAt = 0;
	#noRoom: TableSlot<T> | undefined;

	constructor(private readonly options: SlotTableOptions<T>) {
		const { memory, begin, capacity, threads } = options;
		this.#slots = new SlotMemory(memory, begin, options, threads, options);
		this.#byNumber = new Array<TableSlot<T> | undefined>(capacity).fill(undefined);
	}

	/** Times that any slot was taken hold of; begins anew at 2³². */
	get uses(): number {
		return this.#slots.uses;
	}

	/** The slot of an id; undefined where it has none. */
	find(id: string): TableSlot<T> | undefined {
		const known = this.#known.get(id);
		if (known !== undefined && this.#slots.generation(known.holders) === known.generation) return known;
		return this.#look(id);
	}

	/**
	 * The slot of an id, given to it where it has none. It stays the id's until this thread has let it go as often. Where all others are held
	 * it is one that ids share, whose own id is empty.
	 */
	hold(id: string): TableSlot<T> {
		const known = this.#known.get(id);
		if (known !== undefined && this.#slots.hold(known.holders, known.generation)) return known;
		return this.#give(id);
	}

	letGo({ holders }: TableSlot<T>): void {
		this.#slots.letGo(holders);
	}

	/** The slot of this number; undefined where it is no id's, or that is too long to be read from it. */
	at(number: number): TableSlot<T> | undefined {
		const known = this.#byNumber[number];
		const { holders } = known ?? this.#slots.addressOf(number);
		const generation = this.#slots.generation(holders);
		if (known?.generation === generation) return known;
		const found = this.#slots.idAt(number);
		if (generation & 1 || !found?.isWhole) return undefined;
		// It may have been given away meanwhile.
		if (this.#slots.generation(holders) !== generation) return undefined;
		return this.#remember(found.id, generation, number);
	}

	/** All slots that are some id's; of long ids the beginning. */
	*all(): Iterable<readonly [id: string, address: SlotAddress]> {
		for (let number = 0; number < this.#slots.given; number++) {
			const found = this.#slots.idAt(number);
			if (found) yield [found.id, this.#slots.addressOf(number)];
		}
	}

	/** Of all slots that were ever given to an id, and of the one that ids share. */
	addresses(): Iterable<SlotAddress> {
		return this.#slots.addresses();
	}

	/** Where the slot of this number is. */
	addressOf(number: number): SlotAddress {
		return this.#slots.addressOf(number);
	}

	/** A thread has died: lets go what it held. By the main thread, before what is in the slots is given back. */
	freed(thread: number): void {
		this.#slots.freed(thread);
	}

	#look(id: string): TableSlot<T> | undefined {
		const slots = this.#slots;
		const { version } = slots;
		if (version !== this.#absentAt) {
			this.#absent.clear();
			this.#absentAt = version;
		} else if (this.#absent.has(id)) return undefined;
		const key = slotKey(id);
		const number = slots.numberOf(key);
		if (number !== NO_SLOT) {
			const generation = slots.generation(slots.addressOf(number).holders);
			// Compared again: it may have been given away in between.
			return (generation & 1) === 0 && slots.is(number, key) ? this.#remember(id, generation, number) : undefined;
		}
		if (this.#absent.size >= MOST_ABSENT) this.#absent.clear();
		this.#absent.add(id);
		return undefined;
	}

	#give(id: string): TableSlot<T> {
		const slots = this.#slots;
		const key = slotKey(id);
		slots.lock.acquire();
		try {
			let number = slots.numberOf(key);
			if (number === NO_SLOT) number = slots.give(key);
			const slot =
				number === NO_SLOT
					? this.#shared()
					: this.#remember(id, slots.generation(slots.addressOf(number).holders), number);
			// Slots change hands under the lock only.
			slots.hold(slot.holders, slot.generation);
			return slot;
		} finally {
			slots.lock.release();
		}
	}

	#shared(): TableSlot<T> {
		if (this.#noRoom === undefined) {
			const address = this.#slots.noRoom();
			const { number, cells, holders } = address;
			this.#noRoom = new TableSlot("", 0, number, cells, holders, this.options.make(address));
		}
		return this.#noRoom;
	}

	#remember(id: string, generation: number, number: number): TableSlot<T> {
		const before = this.#byNumber[number];
		const address = this.#slots.addressOf(number);
		// Of the same id this thread may have some under way.
		const value = before?.id === id ? before.value : this.options.make(address);
		const slot = new TableSlot(id, generation, number, address.cells, address.holders, value);
		if (before !== undefined) this.#known.delete(before.id);
		this.#byNumber[number] = slot;
		this.#known.set(id, slot);
		return slot;
	}
}
