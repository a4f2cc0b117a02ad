/** What the threads of a process share takes memory as it is used: the garbage collector of each counts all that there is of it. */
import { expect, test } from "bun:test";
import { makeRoutingMemory, SharedRoutingState } from "../src/routing/shared-routing-state.ts";
import { MOST_TARGETS } from "../src/routing/target-state.ts";
import { createSharedMemory } from "../src/server/threads/shared-memory.ts";
import { configure } from "./kit/configure.ts";

/** All of it, bytes. */
function sizeOf(shared: unknown): number {
	if (shared instanceof SharedArrayBuffer) return shared.byteLength;
	if (typeof shared !== "object" || shared === null || ArrayBuffer.isView(shared)) return 0;
	return Object.values(shared).reduce<number>((sum, part) => sum + sizeOf(part), 0);
}

test("it begins with less than 5 MB, and with a cache of any size with less than 8", () => {
	expect(sizeOf(createSharedMemory(configure({}).config, 8))).toBeLessThan(5e6);
	const cached = configure({ yaml: "cache: { enabled: true, memory: 2GB }" }).config;
	expect(sizeOf(createSharedMemory(cached, 8))).toBeLessThan(8e6);
});

test("targets that came before there was memory for more are known to all threads after it has grown, with what calls they have", () => {
	const memory = makeRoutingMemory();
	const [one, two, idle] = [1, 2, 3].map((thread) => new SharedRoutingState(memory, { thread, offset: 0 }));
	const before = memory.targets.byteLength;
	const first = one!.opened("first", true);
	expect(idle!.of("first").inFlight).toBe(1);
	const open = Array.from({ length: MOST_TARGETS - 1 }, (_, at) => (at % 2 ? one! : two!).opened(`box/${at}`, true));
	expect(memory.targets.byteLength).toBeGreaterThan(4 * before);
	expect(memory.targets.byteLength).toBe(memory.targets.maxByteLength);
	for (const state of [one!, two!, idle!]) {
		expect(state.of("first")).toMatchObject({ inFlight: 1, waiting: 1 });
		const found = Array.from({ length: MOST_TARGETS - 1 }, (_, at) => state.of(`box/${at}`).inFlight);
		expect(found).toEqual(Array(MOST_TARGETS - 1).fill(1));
	}
	first.closed({});
	for (const attempt of open) attempt.closed({});
	expect([...idle!.ownLoads()]).toEqual([]);
	expect(idle!.of("first")).toMatchObject({ inFlight: 0, waiting: 0 });
});

test("where the system has no memory for more targets, those that were used least make room", () => {
	const memory = makeRoutingMemory();
	memory.targets.grow = () => {
		throw new RangeError("Out of memory");
	};
	const state = new SharedRoutingState(memory, { thread: 1, offset: 0 });
	const before = memory.targets.byteLength;
	for (let at = 0; at < 200; at++) {
		const attempt = state.opened(`box/${at}`, true);
		expect(state.of(`box/${at}`).inFlight).toBe(1);
		attempt.closed({});
	}
	expect(memory.targets.byteLength).toBe(before);
});
