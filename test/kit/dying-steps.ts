/** A worker that changes what it shares with the main thread, and stays before one of its steps on that memory, with all locks that it holds then. */
import { makeLearned, SharedLearnedUsage } from "../../src/accounts/usage/shared-learned-usage.ts";
import { CLAIM_BYTES, ClaimTable } from "../../src/cache/claim-table.ts";
import { SharingThreads } from "../../src/memory/recoverable-lock.ts";
import type { RingKey } from "../../src/memory/ring.ts";
import { type RingMemory, ringMemory, SharedRing } from "../../src/memory/shared-ring.ts";
import type { TextMemory } from "../../src/memory/shared-text.ts";
import { slotBytes } from "../../src/memory/slot-memory.ts";
import { SlotTable } from "../../src/memory/slot-table.ts";
import { type KeyMemory, makeKeys, SharedKeyRotation } from "../../src/proxy/shared-key-rotation.ts";
import { makeQueues, type QueueMemory, sharedQueues } from "../../src/proxy/shared-queues.ts";
import { makeSuspects, SharedSuspects } from "../../src/proxy/shared-suspects.ts";
import { makeRoutingMemory, type RoutingMemory, SharedRoutingState } from "../../src/routing/shared-routing-state.ts";

import { providerWith } from "./key-kinds.ts";
import { stay } from "./stay.ts";

declare const self: Worker;

/** All that is shared. */
export interface SharedThings {
	readonly routing: RoutingMemory;
	readonly slots: SharedArrayBuffer;
	readonly claims: SharedArrayBuffer;
	readonly ring: RingMemory;
	readonly queues: QueueMemory;
	readonly suspects: TextMemory;
	readonly keys: KeyMemory;
	readonly learned: SharedArrayBuffer;
}

/** What the worker is to do, and before which of its atomic operations it stays, from 0. */
export interface DyingSteps {
	readonly things: SharedThings;
	readonly what: keyof typeof WORKS;
	readonly step: number;
}

/** Two slots, so that a third id takes one from another. */
const SLOTS = { capacity: 2, cellBytes: 64 };
/** Behind the ids of threads. */
const SLOTS_AT = 64;

/** Makes it, unused. */
export function sharedThings(): SharedThings {
	return {
		routing: makeRoutingMemory(),
		slots: new SharedArrayBuffer(SLOTS_AT + slotBytes(SLOTS)),
		claims: new SharedArrayBuffer(CLAIM_BYTES),
		ring: ringMemory(64 * 1024),
		queues: makeQueues(),
		suspects: makeSuspects(),
		keys: makeKeys(),
		learned: makeLearned(),
	};
}

/** A thread's view of the slots: it writes its number plus 1 into the cells of each that it is given. */
export function slotsOf({ slots: memory }: SharedThings, thread: number): SlotTable<number> {
	const ints = new Int32Array(memory);
	const threads = new SharingThreads(ints, 0, thread);
	const table: SlotTable<number> = new SlotTable({
		...SLOTS,
		memory,
		begin: SLOTS_AT,
		threads,
		make: ({ cells }) => cells / 4,
		reset: ({ cells }) => void Atomics.store(ints, cells / 4, 0),
		isWell: () => true,
	});
	threads.onEnded = (ended) => table.freed(ended);
	return table;
}

/** A thread's view of what is known of targets. */
export const routingOf = ({ routing }: SharedThings, thread: number) =>
	new SharedRoutingState(routing, { thread, offset: 0 });

/** A thread's view of queues, and of one of two places. */
export function queueOf({ queues: memory }: SharedThings, thread: number) {
	const queues = sharedQueues(memory, { thread, offset: 0 });
	return { queues, queue: queues.queue("fast", { concurrency: 2, size: 9 }) };
}

/** A prompt, of which blocks are remembered. */
export const PROMPT = { characters: 1_000, blocks: new Int32Array([11, 12, 13]) };
/** The key of a value, or a call. */
export const keyOf = (name: number): RingKey => new Uint8Array(32).fill(name);

/** An engine dies under this call. */
export const dies = (suspects: SharedSuspects, fingerprint: string) =>
	suspects.died({
		...{ engine: "a", startedAt: -1_000_000, fingerprint, model: "m", call: "req" },
		...{ hasTokens: false, turn: undefined, wasWell: true },
	});

/** Has two keys. */
export const PROVIDER = providerWith("p", ["one", "two"]);

const WORKS = {
	/** Calls two targets that nobody has called, in one session, one of them in vain. */
	"a call"(things: SharedThings): void {
		const state = routingOf(things, 1);
		const first = state.opened("a/m", true, { prompt: PROMPT, session: "chat" });
		first.firstToken();
		first.closed({});
		state.opened("b/m", false, { prompt: PROMPT, session: "chat" }).closed({ failure: "transport" });
		state.pause("a/m", 10_000, "its key is out of use");
	},
	/** Gives one of two slots to a third id. */
	"the change of a slot's id"(things: SharedThings): void {
		const table = slotsOf(things, 1);
		for (const id of ["one", "two", "three"]) table.letGo(table.hold(id));
	},
	/** Three calls of which two may run, and each has its turn. */
	"a turn"(things: SharedThings): void {
		const { queue } = queueOf(things, 1);
		const tickets = [1, 2, 3].map(() => queue.enter(0, Number.POSITIVE_INFINITY));
		for (const ticket of tickets) if ("leave" in ticket) ticket.leave();
	},
	"a claim"({ claims }: SharedThings): void {
		const table = new ClaimTable(claims, 1);
		table.take(keyOf(1));
		table.take(keyOf(2));
		table.wait(keyOf(3));
		table.release(keyOf(1));
	},
	"a suspicion"({ suspects: memory }: SharedThings): void {
		const suspects = new SharedSuspects(memory, 1, 0);
		dies(suspects, "x");
		dies(suspects, "y");
		const turn = suspects.enter("m", 0);
		suspects.waitFor(turn, ["a"]);
		suspects.cameBack("a");
		suspects.begin(turn, "a", true);
		suspects.leave(turn);
	},
	"a refused key"({ keys: memory }: SharedThings): void {
		const accounts = new SharedKeyRotation(memory, 1, 0, () => 0).accountsOf(PROVIDER, 2);
		for (let turn = 0; turn < 2; turn++) {
			accounts.ended(accounts.take("m", 0)!, "m", { kind: "auth", status: 401, message: "no" }, 0);
		}
		accounts.ended(accounts.take("m", 60_000)!, "m", undefined, 60_000);
	},
	"an answer"({ learned: memory }: SharedThings): void {
		const learned = new SharedLearnedUsage(memory, 1, () => 0).of("a", "m");
		for (let call = 0; call < 9; call++) learned.learn({ answer: 100, surplus: 1 });
	},
	"a put"({ ring: memory }: SharedThings): void {
		const ring = new SharedRing(memory, 1);
		for (let name = 0; name < 3; name++) ring.put(keyOf(name), new Uint8Array(1_000).fill(name));
		ring.delete(keyOf(1));
		ring.find(keyOf(2));
	},
};

/** Has each atomic operation counted, and this thread stay before that one. */
function stayBefore(step: number, stay: () => never): void {
	let left = step;
	const counted = ["add", "compareExchange", "store", "sub"] as const;
	for (const name of counted) {
		const operation = Atomics[name] as (...all: unknown[]) => unknown;
		const stopping = (...all: unknown[]) => (left-- === 0 ? stay() : operation(...all));
		Object.assign(Atomics, { [name]: stopping });
	}
}

if (!Bun.isMainThread) {
	self.onmessage = ({ data: { things, what, step } }: MessageEvent<DyingSteps>) => {
		stayBefore(step, () => {
			self.postMessage("here");
			stay();
		});
		WORKS[what](things);
		self.postMessage("done");
	};
}
