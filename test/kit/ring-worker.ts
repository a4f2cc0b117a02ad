/** A thread that works on a ring which threads share, as it is told to. */
import { SharedLock } from "../../src/memory/shared-lock.ts";
import { type RingMemory, SharedRing } from "../../src/memory/shared-ring.ts";
import { random } from "./random.ts";

declare const self: {
	onmessage: ((event: MessageEvent<RingTask>) => void) | undefined;
	postMessage(message: RingReport): void;
};

/** What to do. */
export type RingTask =
	/** Puts a value by each name. */
	| { readonly is: "put"; readonly memory: RingMemory; readonly thread: number; readonly names: readonly string[] }
	/** Puts and finds, at random. */
	| {
			readonly is: "play";
			readonly memory: RingMemory;
			readonly thread: number;
			readonly rounds: number;
			/** How long values are at most, bytes. */
			readonly longest: number;
	  }
	/** Takes the lock, as for a put, writes over index and values, and keeps the lock. */
	| { readonly is: "hold"; readonly memory: RingMemory; readonly thread: number };

/** What came of it. */
export interface RingReport {
	/** Values that it found, and those of them that were not one of those put by that name, whole. */
	readonly found: number;
	readonly wrong: number;
}

/** The key of a name. */
export const ringKey = (name: string | number): Uint8Array =>
	new Bun.SHA256().update(`key ${name}`).digest() as Uint8Array;

/** A value by a name: which name, how long it is, a number of its own, and bytes that follow from these. */
export function ringValue(name: number, length: number, serial: number): Uint8Array {
	const value = new Uint8Array(Math.max(12, length));
	new Uint32Array(value.buffer, 0, 3).set([name, value.length, serial]);
	value.fill((name * 31 + serial) & 0xff, 12);
	return value;
}

/** Whether it is one, by that name. */
export function isRingValue(name: number, value: Uint8Array): boolean {
	const [of, length, serial] = new Uint32Array(value.slice(0, 12).buffer);
	return of === name && Buffer.from(value).equals(ringValue(name, length!, serial!));
}

const NAMES = 200;

function play({ memory, thread, rounds, longest }: Extract<RingTask, { is: "play" }>): RingReport {
	const ring = new SharedRing(memory, thread);
	const source = random(thread);
	let found = 0;
	let wrong = 0;
	for (let round = 0; round < rounds; round++) {
		const name = source.below(NAMES);
		if (source.below(3) === 0) ring.put(ringKey(name), ringValue(name, source.below(longest), thread * rounds + round));
		else {
			const value = ring.get(ringKey(name));
			if (value) found++;
			if (value && !isRingValue(name, value)) wrong++;
		}
	}
	return { found, wrong };
}

function hold({ memory, thread }: Extract<RingTask, { is: "hold" }>): never {
	new SharedLock(new Int32Array(memory.index, 0, 2), 0, thread).acquire();
	// Behind lock, ids of threads and state.
	new Uint8Array(memory.index, 84).fill(0x55);
	new Uint8Array(memory.values).fill(0x55, 0, 1000);
	self.postMessage({ found: 0, wrong: 0 });
	for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
}

if (!Bun.isMainThread) {
	self.onmessage = ({ data: task }) => {
		if (task.is === "play") self.postMessage(play(task));
		else if (task.is === "hold") hold(task);
		else {
			const ring = new SharedRing(task.memory, task.thread);
			for (const name of task.names) ring.put(ringKey(name), Buffer.from(`the value of ${name}`));
			self.postMessage({ found: 0, wrong: 0 });
		}
	};
}
