/** What upstreams have signed of their models' thoughts, in memory that all threads of the process share: a tool loop's turns come to any of them. */
import { type RingMemory, ringMemory, SharedRing } from "../../memory/shared-ring.ts";
import { type StoredThoughts, THINKING_BYTES, thoughtKey, type UpstreamThinking } from "./request-inputs.ts";

/** Its memory: made once, and handed to each thread. Takes no memory before it is written to. */
export interface SharedThinkingMemory {
	readonly ring: RingMemory;
	/** A cell for the upstreams whose names come to it: 1 where one of them has brought something. */
	readonly flags: SharedArrayBuffer;
}

/** Two upstreams with one cell cost calls to the one a look for what there is not. */
const FLAGS = 1024;
/** Any text as it is, two bytes a UTF-16 unit. */
const ENCODING = "utf16le";

/** @param limit bytes */
export function sharedThinkingMemory(limit = THINKING_BYTES): SharedThinkingMemory {
	return {
		ring: ringMemory(limit),
		flags: new SharedArrayBuffer(FLAGS * Int32Array.BYTES_PER_ELEMENT),
	};
}

/** One thread's view of it. */
export class SharedThinking implements StoredThoughts {
	readonly #ring: SharedRing;
	readonly #flags: Int32Array;

	/** @param thread the number of the thread that it is for */
	constructor({ ring, flags }: SharedThinkingMemory, thread: number) {
		this.#ring = new SharedRing(ring, thread);
		this.#flags = new Int32Array(flags);
	}

	of(upstream: string): UpstreamThinking {
		const flags = this.#flags;
		const ring = this.#ring;
		const flag = Bun.hash.xxHash32(upstream) % FLAGS;
		return {
			get hasAny() {
				return Atomics.load(flags, flag) === 1;
			},
			get(call, id) {
				const value = ring.get(hashOf(thoughtKey(upstream, call, id)));
				return value && Buffer.from(value.buffer, value.byteOffset, value.length).toString(ENCODING);
			},
			put(call, { id, value }) {
				ring.put(hashOf(thoughtKey(upstream, call, id)), Buffer.from(value, ENCODING));
				Atomics.store(flags, flag, 1);
			},
		};
	}

	/** Lets go what a thread held that has died. */
	freed(thread: number): void {
		this.#ring.freed(thread);
	}
}

const hashOf = (key: string): Uint8Array => new Bun.SHA256().update(key).digest() as Uint8Array;
