/** What targets have refused of what the router adds to calls, as all threads of the process know it: see `refused-additions.ts`. */
import { SharedCopy } from "../memory/shared-copy.ts";
import { type TextMemory, textMemory } from "../memory/shared-text.ts";
import type { Addition } from "../providers/failure.ts";
import { RefusedAdditions, type RefusedView } from "./refused-additions.ts";

/** The most that is kept, bytes: a thousand targets with names of some hundred characters take less. */
const MOST_BYTES = 1024 * 1024;

/** Its memory: some KB until a target refuses something. */
export const makeRefused = (): TextMemory => textMemory(MOST_BYTES);

/** By target: what, and until when that is remembered, on the clock of all threads, ms. */
type Record = readonly (readonly [target: string, refused: readonly (readonly [name: Addition, until: number])[]])[];

/** One thread's view of it. */
export class SharedRefusedAdditions implements RefusedView {
	readonly #targets = new Map<string, Map<Addition, number>>();
	readonly #own: RefusedAdditions;
	readonly #copy: SharedCopy;

	/**
	 * @param memory of {@link makeRefused}
	 * @param thread the number of this thread
	 * @param offset how far the clock of all threads is ahead of this thread's, ms
	 * @param now this thread's clock, ms
	 */
	constructor(
		memory: TextMemory,
		thread: number,
		private readonly offset: number,
		now: () => number = () => performance.now(),
	) {
		this.#own = new RefusedAdditions(now, this.#targets);
		const copied = {
			take: (text: string) => this.#take(JSON.parse(text) as Record),
			write: () => JSON.stringify(this.#record()),
			isMarked: () => this.#targets.size > 0,
			shorten: () => this.#targets.delete(this.#targets.keys().next().value ?? ""),
		};
		this.#copy = new SharedCopy(memory, thread, copied, (ended) => this.freed(ended));
	}

	get hasAny(): boolean {
		return this.#copy.isMarked;
	}

	of(target: string): ReadonlySet<Addition> | undefined {
		this.#copy.look();
		return this.#own.of(target);
	}

	add(target: string, name: Addition): void {
		this.#copy.change(() => this.#own.add(target, name));
	}

	/** The main thread's: lets go what a thread held that has died. */
	freed(thread: number): void {
		this.#copy.freed(thread);
	}

	#take(record: Record): void {
		this.#targets.clear();
		for (const [target, refused] of record) {
			this.#targets.set(target, new Map(refused.map(([name, until]) => [name, until - this.offset])));
		}
	}

	#record(): Record {
		const all = (refused: ReadonlyMap<Addition, number>) =>
			[...refused].map(([name, until]) => [name, until + this.offset] as const);
		return [...this.#targets].map(([target, refused]) => [target, all(refused)] as const);
	}
}
