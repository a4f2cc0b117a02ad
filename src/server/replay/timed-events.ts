/** Events in the order of their times: of those of one time, in that in which they were added. A binary heap. */

interface TimedEvent {
	readonly at: number;
	readonly order: number;
	readonly run: () => void;
}

const isBefore = (one: TimedEvent, other: TimedEvent): boolean =>
	one.at < other.at || (one.at === other.at && one.order < other.order);

/** What is yet to happen. */
export class TimedEvents {
	readonly #heap: TimedEvent[] = [];
	#added = 0;

	/** When the next one happens; infinite where there is none. */
	get next(): number {
		return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
	}

	add(at: number, run: () => void): void {
		const heap = this.#heap;
		const event = { at, order: this.#added++, run };
		let place = heap.push(event) - 1;
		while (place > 0) {
			const parent = (place - 1) >> 1;
			if (!isBefore(event, heap[parent]!)) break;
			heap[place] = heap[parent]!;
			place = parent;
		}
		heap[place] = event;
	}

	/** Takes the next one out; undefined where there is none. */
	take(): (() => void) | undefined {
		const heap = this.#heap;
		const [first] = heap;
		const last = heap.pop();
		if (!first || !last || heap.length === 0) return first?.run;
		let place = 0;
		for (let child = 1; child < heap.length; child = 2 * place + 1) {
			if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
			if (!isBefore(heap[child]!, last)) break;
			heap[place] = heap[child]!;
			place = child;
		}
		heap[place] = last;
		return first.run;
	}
}
