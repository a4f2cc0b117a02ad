/** Something of which each thread has a copy, made of a text that all of them share: see `shared-text.ts`. For what changes seldom. */
import { SharedText, type TextMemory } from "./shared-text.ts";

/** What a text says. */
export interface Copied {
	/** Makes the copy what the text says. */
	take(text: string): void;
	/** The copy as a text. */
	write(): string;
	/** Said of it to who does not read it: there is something to look for. */
	isMarked(): boolean;
	/** The text has no room: forgets some of it. False where there is nothing to forget. */
	shorten(): boolean;
}

/** One thread's copy. */
export class SharedCopy {
	readonly #text: SharedText;
	#version = 0;
	/** Signals that there had been when this thread looked last. */
	#signals = 0;

	/**
	 * @param thread the number of the thread that it is for
	 * @param onEnded the main thread's: gives back what a worker that has ended held, with `freed`
	 */
	constructor(
		memory: TextMemory,
		thread: number,
		private readonly copied: Copied,
		onEnded: (thread: number) => void,
	) {
		this.#text = new SharedText(memory, thread);
		this.#text.onEnded = onEnded;
	}

	/** There is something to look for. */
	get isMarked(): boolean {
		return this.#text.isMarked;
	}

	/** See {@link SharedText.signals}. */
	get signals(): number {
		return this.#signals;
	}

	/** Sees to it that the copy is as all threads have it. */
	look(): void {
		// Before the version: what changes from now on is not missed.
		this.#signals = this.#text.signals;
		if (this.#text.version === this.#version) return;
		const { text, version } = this.#text.read();
		this.copied.take(text);
		this.#version = version;
	}

	/** Changes it, one thread at a time. Where there is no room for it this thread alone has it. */
	change<T>(step: () => T): T {
		return this.#text.locked(() => {
			this.look();
			const result = step();
			this.#version = this.#write();
			return result;
		});
	}

	/** Wakes who waits for a change, in all threads. */
	signal(): void {
		this.#text.signal();
	}

	/** Resolves when there are other signals than so many, after so many ms in any case. */
	signalled(signals: number, ms: number): Promise<void> {
		return this.#text.signalled(signals, ms);
	}

	/** The main thread's: lets go what a thread held that has died. */
	freed(thread: number): void {
		this.#text.freed(thread);
	}

	#write(): number {
		for (;;) {
			const version = this.#text.write(this.copied.write(), this.copied.isMarked());
			if (version !== undefined) return version;
			if (!this.copied.shorten()) return this.#text.version;
		}
	}
}
