/**
 * A text that all threads of the process share, for what changes seldom: whoever changes it writes all of it anew, under one lock. It is read
 * without. There is room for two of them, and a number says which one is in force: of a thread that dies the one before stays.
 */
import { RecoverableLock, SharingThreads } from "./recoverable-lock.ts";

/** Cells: the lock, the version, signals, the lengths of both texts in bytes, ids of threads. */
const LOCK = 0;
const VERSION = 1;
const SIGNALS = 2;
const LENGTHS = 4;
const THREAD_IDS = 8;
const HEAD_CELLS = 20;
/** What each text begins with, bytes. */
const FIRST = 1_024;

/** Its memory: made once, and handed to each thread. */
export interface TextMemory {
	readonly head: SharedArrayBuffer;
	/** Growable. */
	readonly texts: readonly [SharedArrayBuffer, SharedArrayBuffer];
}

/** @param most the longest text, bytes */
export function textMemory(most: number): TextMemory {
	const text = () => new SharedArrayBuffer(FIRST, { maxByteLength: most });
	return { head: new SharedArrayBuffer(HEAD_CELLS * Int32Array.BYTES_PER_ELEMENT), texts: [text(), text()] };
}

/** One thread's view of it. */
export class SharedText {
	readonly #cells: Int32Array<SharedArrayBuffer>;
	readonly #texts: TextMemory["texts"];
	readonly #threads: SharingThreads;
	readonly #lock: RecoverableLock;

	/** @param thread the number of the thread that it is for */
	constructor({ head, texts }: TextMemory, thread: number) {
		this.#cells = new Int32Array(head);
		this.#texts = texts;
		this.#threads = new SharingThreads(this.#cells, THREAD_IDS, thread);
		this.#lock = new RecoverableLock(this.#cells, LOCK, this.#threads);
	}

	/** The main thread's: what is done where a worker has ended for whose lock it waits. It has to call `freed`. */
	set onEnded(free: (thread: number) => void) {
		this.#threads.onEnded = free;
	}

	/** Another one when the text is another; odd where it is marked. */
	get version(): number {
		return Atomics.load(this.#cells, VERSION);
	}

	/** What its writer has said besides; false of the one that nobody has written. */
	get isMarked(): boolean {
		return (this.version & 1) === 1;
	}

	/** The text, and its version; "" before it was ever written. */
	read(): { readonly text: string; readonly version: number } {
		for (;;) {
			const { version } = this;
			const place = placeOf(version);
			const memory = this.#texts[place]!;
			const length = Math.min(this.#cells[LENGTHS + place]!, memory.byteLength);
			// A copy: decoders take no shared memory.
			const text = Buffer.from(new Uint8Array(memory, 0, length).slice()).toString();
			// Its place is written to by the one after the next. Not a load: no processor moves what was read before behind this.
			if (version === Atomics.add(this.#cells, VERSION, 0)) return { text, version };
		}
	}

	/** Has no other thread write meanwhile. Nothing is awaited in it; not to be called in itself. */
	locked<T>(step: () => T): T {
		this.#lock.acquire();
		try {
			return step();
		} finally {
			this.#lock.release();
		}
	}

	/** Puts another text in its place, and returns its version; undefined where it is too long, or there is no memory for it. Under the lock. */
	write(text: string, isMarked: boolean): number | undefined {
		const bytes = Buffer.from(text);
		const next = (this.version >>> 1) + 1;
		const version = ((next << 1) | (isMarked ? 1 : 0)) >> 0;
		const place = placeOf(version);
		const memory = this.#texts[place]!;
		if (bytes.length > memory.maxByteLength) return undefined;
		try {
			if (bytes.length > memory.byteLength)
				memory.grow(Math.min(memory.maxByteLength, Math.max(bytes.length, 2 * memory.byteLength)));
		} catch {
			return undefined;
		}
		new Uint8Array(memory, 0, bytes.length).set(bytes);
		this.#cells[LENGTHS + place] = bytes.length;
		Atomics.store(this.#cells, VERSION, version);
		return version;
	}

	/** How often anybody has called `signal`; begins anew at 2³². */
	get signals(): number {
		return Atomics.load(this.#cells, SIGNALS);
	}

	/** Wakes who waits, in all threads. */
	signal(): void {
		Atomics.add(this.#cells, SIGNALS, 1);
		Atomics.notify(this.#cells, SIGNALS);
	}

	/** Resolves when there are other signals than so many, after so many ms in any case. */
	async signalled(signals: number, ms: number): Promise<void> {
		await Atomics.waitAsync(this.#cells, SIGNALS, signals, ms).value;
	}

	/** The main thread's: lets go what a thread held that has died. */
	freed(thread: number): void {
		if (this.#lock.takeFrom(thread)) this.#lock.release();
	}
}

/** Which of both texts a version is. */
const placeOf = (version: number): number => (version >>> 1) & 1;
