/** When the heap is made larger for long bodies, which the garbage collector would else run for. */
import { expect, test } from "bun:test";
import { HeapRoom } from "../src/http/request-body.ts";

const ROOM = 64 * 1024 * 1024;
/** Length from which on a body is long, bytes. */
const LONG = 32 * 1024;

/** Room, and how often all garbage was collected for it. */
function counted() {
	const told = { collections: 0 };
	const room = new HeapRoom(() => told.collections++);
	/** Bodies of calls that end, or of such as keep theirs. */
	const take = (count: number, length: number, isGivenBack = true) => {
		for (let at = 0; at < count; at++) {
			room.count(length);
			if (isGivenBack && length >= LONG) room.givenBack(length);
		}
	};
	return { room, told, take };
}

test("calls with short bodies get none", () => {
	const { room, told, take } = counted();
	take(10_000, 31_000);
	expect([room.size, told.collections]).toEqual([0, 0]);
});

test("a few long ones among many short ones get none, and nothing is collected for them", () => {
	const { room, told, take } = counted();
	for (let round = 0; round < 200; round++) {
		take(5, 200_000);
		take(95, 1000);
	}
	expect([room.size, told.collections]).toEqual([0, 0]);
});

test("long ones whose memory is not given back, as those of streams, get none: they are what is to be collected", () => {
	const { room, told, take } = counted();
	take(10_000, 200_000, false);
	take(1000, 2_000_000, false);
	expect([room.size, told.collections]).toEqual([0, 0]);
});

test("the room goes once long ones come whose memory is not given back", () => {
	const { room, told, take } = counted();
	take(256, 200_000);
	expect(room.size).toBe(ROOM);
	take(512, 200_000, false);
	expect([room.size, told.collections]).toEqual([0, 1]);
});

test("long ones that are under way for some time get room all the same", () => {
	const { room, told, take } = counted();
	take(100, 2_000_000, false);
	for (let at = 0; at < 1000; at++) {
		room.count(2_000_000);
		room.givenBack(2_000_000);
	}
	expect([room.size, told.collections]).toEqual([ROOM, 0]);
});

test("long ones get room, which goes with all that piled up once short ones have come for a while", () => {
	const { room, told, take } = counted();
	take(255, 200_000);
	expect(room.size).toBe(0);
	take(1, 200_000);
	expect(room.size).toBe(ROOM);
	take(10_000, 200_000);
	expect([room.size, told.collections]).toEqual([ROOM, 0]);
	take(512, 1000);
	expect([room.size, told.collections]).toEqual([0, 1]);
	take(512, 1000);
	expect([room.size, told.collections]).toEqual([0, 1]);
});

test("of very long ones fewer are enough", () => {
	const { room, take } = counted();
	take(33, 2_000_000);
	expect(room.size).toBe(0);
	take(1, 2_000_000);
	expect(room.size).toBe(ROOM);
});

test("it does not come and go while there are as many of the one as of the other", () => {
	const { room, told, take } = counted();
	take(256, 200_000);
	for (let round = 0; round < 100; round++) {
		take(40, 200_000);
		take(216, 1000);
	}
	expect([room.size, told.collections]).toEqual([ROOM, 0]);
});

test("it takes no memory", () => {
	const { room, take } = counted();
	const before = process.memoryUsage.rss();
	take(256, 200_000);
	expect([room.size, process.memoryUsage.rss() - before < ROOM / 2]).toEqual([ROOM, true]);
});
