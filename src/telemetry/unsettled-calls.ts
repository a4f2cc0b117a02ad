/**
 * Calls of a worker thread that have not settled, or not been written to its queue yet (`event-queue.ts`), in memory that the main thread reads
 * when the worker has died: whose they were, and when they came. Nobody reads it before.
 */
import type { CallSettled, NamedCall, Sink } from "./events.ts";

/** A slot: its state, two lengths, when the call came; its id; and JSON of the rest. Bytes. */
const SLOT = 1024;
const STATE = 0;
const ID_LENGTH = 1;
const TEXT_LENGTH = 2;
const STARTED_AT = 2;
const ID = 24;
const MOST_ID = 40;
const TEXT = ID + MOST_ID;
const MOST_TEXT = SLOT - TEXT;
const OPEN = 1;
/** Slots that there is memory for at first, and at most: of calls above that nothing is known. */
const FIRST_SLOTS = 64;
const MOST_SLOTS = 16_384;

/** Memory for one worker. It grows with the calls that run at once. */
export function makeUnsettledCalls(): SharedArrayBuffer {
	return new SharedArrayBuffer(FIRST_SLOTS * SLOT, { maxByteLength: MOST_SLOTS * SLOT });
}

/** What is written of a call besides its id. */
type UnsettledCall = Pick<
	CallSettled,
	"operation" | "stream" | "requested" | "model" | "key" | "keyId" | "team" | "user"
>;

/** The worker's view. */
export class UnsettledCalls implements Pick<Sink, "callNamed"> {
	#bytes!: Buffer;
	#numbers!: Float64Array;
	#cells!: Int32Array;
	/** By the call's id. */
	readonly #slots = new Map<string, number>();
	/** The one that was free last is used first: what it says is mostly what the next call has, too. */
	readonly #free: number[] = [];
	/** What each slot says. */
	readonly #written: UnsettledCall[] = [];

	/** @param offset how far the main thread's `performance.now()` is ahead of this thread's, ms */
	constructor(
		private readonly memory: SharedArrayBuffer,
		private readonly offset: number,
	) {
		this.#look();
	}

	callNamed(call: NamedCall): void {
		const { id } = call;
		if (id.length > MOST_ID) return;
		const slot = this.#free.pop() ?? this.#another();
		if (slot === undefined) return;
		this.#slots.set(id, slot);
		const begin = slot * SLOT;
		const cell = begin / 4;
		const written = this.#written[slot];
		if (!written || !isSame(written, call)) this.#describe(slot, call);
		this.#bytes.write(id, begin + ID, id.length, "latin1");
		this.#cells[cell + ID_LENGTH] = id.length;
		this.#numbers[begin / 8 + STARTED_AT] = call.startedAt + this.offset;
		Atomics.store(this.#cells, cell + STATE, OPEN);
	}

	/** The call is over, and what it came to is where the main thread reads it, or counted as lost. */
	close(id: string): void {
		const slot = this.#slots.get(id);
		if (slot === undefined) return;
		Atomics.store(this.#cells, (slot * SLOT) / 4 + STATE, 0);
		this.#slots.delete(id);
		this.#free.push(slot);
	}

	#describe(slot: number, { operation, stream, requested, label, isKnown, caller, user }: NamedCall): void {
		const { id: keyId, name: key, team } = caller ?? {};
		const written: UnsettledCall = {
			operation,
			stream,
			requested,
			model: isKnown ? label : "unknown",
			keyId,
			key,
			team,
			user,
		};
		const text = JSON.stringify(written);
		const begin = slot * SLOT + TEXT;
		// Names of clients' own are what may be long.
		const isLong = text.length * 3 > MOST_TEXT && Buffer.byteLength(text) > MOST_TEXT;
		const short = isLong ? JSON.stringify({ operation, stream, model: "unknown", keyId, key, team }) : text;
		this.#cells[(slot * SLOT) / 4 + TEXT_LENGTH] = this.#bytes.write(short, begin, MOST_TEXT);
		this.#written[slot] = written;
	}

	#another(): number | undefined {
		const slot = this.#written.length;
		if (slot >= MOST_SLOTS) return undefined;
		if ((slot + 1) * SLOT > this.memory.byteLength) {
			try {
				this.memory.grow(Math.min(MOST_SLOTS * SLOT, 2 * this.memory.byteLength));
			} catch {
				// The machine has no more: the call goes on without a slot.
				return undefined;
			}
			this.#look();
		}
		this.#written.push(NOTHING);
		return slot;
	}

	#look(): void {
		// Of a fixed length, which is written to faster than one that grows along.
		const { byteLength } = this.memory;
		this.#bytes = Buffer.from(this.memory, 0, byteLength);
		this.#numbers = new Float64Array(this.memory, 0, byteLength / 8);
		this.#cells = new Int32Array(this.memory, 0, byteLength / 4);
	}
}

/** No call has this model. */
const NOTHING: UnsettledCall = { operation: "chat", stream: false, model: "" };

function isSame(
	written: UnsettledCall,
	{ operation, stream, requested, label, isKnown, caller, user }: NamedCall,
): boolean {
	return (
		written.model === (isKnown ? label : "unknown") &&
		written.keyId === caller?.id &&
		written.requested === requested &&
		written.user === user &&
		written.stream === stream &&
		written.operation === operation &&
		written.key === caller?.name &&
		written.team === caller?.team
	);
}

/**
 * The calls that were open when their worker died, as they are settled then.
 * @param now `performance.now()` of this thread, the main one
 */
export function callsLeftUnsettled(memory: SharedArrayBuffer, now: number): CallSettled[] {
	const bytes = Buffer.from(new Uint8Array(memory));
	const left: CallSettled[] = [];
	for (let begin = 0; begin < bytes.length; begin += SLOT) {
		if (bytes.readInt32LE(begin + 4 * STATE) !== OPEN) continue;
		const text = bytes.toString("utf8", begin + TEXT, begin + TEXT + bytes.readInt32LE(begin + 4 * TEXT_LENGTH));
		left.push({
			...(JSON.parse(text) as UnsettledCall),
			id: bytes.toString("latin1", begin + ID, begin + ID + bytes.readInt32LE(begin + 4 * ID_LENGTH)),
			provider: "none",
			status: 500,
			attempts: 0,
			ms: now - bytes.readDoubleLE(begin + 8 * STARTED_AT),
			error: "worker_ended",
		});
	}
	return left;
}
