/** The memory of the cache: what is in use stays, what is not makes room, and the bound holds whatever comes. */
import { describe, expect, test } from "bun:test";
import { Ring } from "../src/memory/ring.ts";
import { ringMemory, SharedRing } from "../src/memory/shared-ring.ts";
import { random } from "./kit/random.ts";

const keyOf = (name: string | number) => new Bun.CryptoHasher("sha256").update(String(name)).digest();
const filled = (text: string, length: number) => Buffer.alloc(length, text);

const STORAGES: readonly [string, (limit: number) => Ring | SharedRing][] = [
	["of one thread", (limit) => new Ring(limit)],
	["that threads share", (limit) => new SharedRing(ringMemory(limit), 1)],
];

describe.each(STORAGES)("a ring %s", (_storage, make) => {
	test("gives back what was put, newest first", () => {
		const ring = make(64 * 1024);
		expect(ring.get(keyOf("a"))).toBeUndefined();
		ring.put(keyOf("a"), Buffer.from("one"));
		ring.put(keyOf("b"), Buffer.from(""));
		ring.put(keyOf("a"), Buffer.from("two"));
		expect([ring.get(keyOf("a")), ring.get(keyOf("b")), ring.count]).toEqual(
			[Buffer.from("two"), Buffer.of(), 2].map((each) => (each instanceof Buffer ? new Uint8Array(each) : each)),
		);
		ring.delete(keyOf("a"));
		expect([ring.get(keyOf("a")), ring.count]).toEqual([undefined, 1]);
	});

	test("what it took is a copy: its giver may change its own", () => {
		const ring = make(4096);
		const mine = Buffer.from("mine");
		ring.put(keyOf("a"), mine);
		mine.fill("x");
		expect(Buffer.from(ring.get(keyOf("a"))!).toString()).toBe("mine");
	});

	test("takes no value that would push out too many others", () => {
		const ring = make(64 * 1024);
		ring.put(keyOf("a"), Buffer.from("small"));
		expect(ring.put(keyOf("b"), Buffer.alloc(ring.largest + 1))).toBe(false);
		expect(ring.put(keyOf("c"), Buffer.alloc(ring.largest))).toBe(true);
		expect(ring.get(keyOf("a"))).toBeDefined();
	});

	test("the least recently used make room", () => {
		const ring = make(128 * 1024);
		for (let index = 0; index < 5000; index++) {
			ring.put(keyOf(index), filled("v", 300));
			// Asked for again and again.
			ring.get(keyOf(7));
		}
		expect(ring.get(keyOf(7))).toEqual(new Uint8Array(filled("v", 300)));
		expect(ring.get(keyOf(8))).toBeUndefined();
		// The others are the latest, without a gap. Those of the younger half are not moved by being asked for.
		const others = ring.count - 1;
		expect(others).toBeGreaterThan(300);
		for (let index = 4999; index > 4999 - others / 3; index--) expect(ring.get(keyOf(index))).toBeDefined();
		expect(ring.get(keyOf(4999 - others))).toBeUndefined();
	});

	test("the very oldest of a full ring makes no room once it is asked for", () => {
		const ring = make(4096);
		// 30 records of 128 bytes are all that the ring takes: the next goes where the first lies.
		for (let index = 0; index < 30; index++) ring.put(keyOf(index), filled("v", 88));
		expect([ring.count, ring.used]).toEqual([30, 30 * 128]);
		const place = ring.find(keyOf(0))!;
		ring.put(keyOf("next"), filled("v", 88));
		expect([ring.find(keyOf(0)), ring.find(keyOf(1))]).toEqual([place, undefined]);
	});

	describe("whatever comes, in whatever order", () => {
		test.each([1, 2, 3])("every value it has is the last that was put (seed %p)", (seed) => {
			const source = random(seed);
			const ring = make(16 * 1024);
			const model = new Map<string, Uint8Array>();
			for (let round = 0; round < 20_000; round++) {
				const name = String(source.below(300));
				const what = source.below(10);
				if (what < 5) {
					const value = new Uint8Array(filled(name, source.below(what === 0 ? 1800 : 120)));
					if (ring.put(keyOf(name), value)) model.set(name, value);
				} else if (what < 6) {
					ring.delete(keyOf(name));
					model.delete(name);
				} else {
					const found = ring.get(keyOf(name));
					if (found) expect(found).toEqual(model.get(name)!);
				}
			}
			const held = [...model].filter(([name]) => ring.get(keyOf(name)));
			expect(held.length).toBe(ring.count);
			expect(ring.used).toBeLessThanOrEqual(ring.limit);
		});

		test("tiny values fill the index before the bytes, and none is lost silently", () => {
			const ring = make(8192);
			for (let index = 0; index < 3000; index++) ring.put(keyOf(index), Buffer.of(1));
			expect(ring.count).toBeGreaterThan(50);
			for (let index = 3000 - ring.count; index < 3000; index++)
				expect(ring.get(keyOf(index))).toEqual(Uint8Array.of(1));
		});
	});

	describe("a place", () => {
		test("is another one for every value, also after coming round", () => {
			const ring = make(16 * 1024);
			const seen = new Set<number>();
			for (let index = 0; index < 2000; index++) {
				ring.put(keyOf(index % 5), filled("v", 100 + (index % 7)));
				const place = ring.find(keyOf(index % 5))!;
				expect(seen.has(place)).toBe(false);
				seen.add(place);
				expect(ring.read(place)!.length).toBe(100 + (index % 7));
			}
		});

		test("stays as long as the value does, and changes when that is moved", () => {
			const ring = make(16 * 1024);
			ring.put(keyOf("a"), Buffer.from("one"));
			const place = ring.find(keyOf("a"))!;
			expect(ring.find(keyOf("a"))).toBe(place);
			let moved = place;
			for (let index = 0; moved === place; index++) {
				ring.put(keyOf(index), filled("v", 300));
				moved = ring.find(keyOf("a"))!;
			}
			expect(Buffer.from(ring.read(moved)!).toString()).toBe("one");
			ring.delete(keyOf("a"));
			expect(ring.find(keyOf("a"))).toBeUndefined();
		});
	});

	test("a large ring grows once, and keeps what it has", () => {
		const ring = make(16 * 1024 * 1024);
		const value = (index: number) => new Uint8Array(filled(String(index), 1000));
		// Up to where the first block ends, and past that.
		for (let index = 0; index < 9000; index++) {
			ring.put(keyOf(index), value(index));
			if (index % 1000 === 0) expect(ring.get(keyOf(0))).toEqual(value(0));
		}
		expect(ring.count).toBe(9000);
		for (let index = 0; index < 9000; index += 100) expect(ring.get(keyOf(index))).toEqual(value(index));
	});

	test.each([8, 16, 24, 1000].map((more) => 8 * 1024 * 1024 + more))(
		"a ring just larger than its first block comes round there (%p)",
		(size) => {
			// The index takes one part in 16 at most, rounded down to a power of two.
			const ring = make(size + 2 ** Math.floor(Math.log2(size / 16)));
			for (let index = 0; index < 20_000; index++) {
				ring.put(keyOf(index), filled("v", 900 + (index % 40)));
				expect(ring.get(keyOf(index))!.length).toBe(900 + (index % 40));
			}
		},
	);

	test("a limit that no block of memory can have is used as far as one can", () => {
		const ring = make(8_000_000_000);
		// Past where the first block ends.
		for (let index = 0; index < 9000; index++) ring.put(keyOf(index), filled("v", 1000));
		expect(ring.count).toBe(9000);
		expect(ring.get(keyOf(0))).toEqual(new Uint8Array(filled("v", 1000)));
	});

	test("1 M distinct answers take the configured memory, not more", () => {
		const limit = 64_000_000;
		// In a process of its own, which makes no garbage: what it grows by is the ring.
		const script = `
			import { Ring } from "${import.meta.dir}/../src/memory/ring.ts";
			import { ringMemory, SharedRing } from "${import.meta.dir}/../src/memory/shared-ring.ts";
			const make = ${make};
			const key = new Uint8Array(32), head = new DataView(key.buffer);
			const values = [200, 700, 1100, 1600].map((length) => new Uint8Array(length).fill(120));
			const rss = () => { Bun.gc(true); return process.memoryUsage.rss(); };
			const fill = (ring, count) => {
				for (let i = 0; i < count; i++) {
					head.setUint32(0, Math.imul(i, 2654435761) >>> 0);
					head.setUint32(4, i);
					ring.put(key, values[i % 4]);
				}
			};
			fill(make(65536), 1_000_000);
			const before = rss();
			const ring = make(${limit});
			fill(ring, 1_000_000);
			console.log(JSON.stringify({ grown: rss() - before, count: ring.count }));
		`;
		const { stdout } = Bun.spawnSync([process.execPath, "-e", script]);
		const { grown, count } = JSON.parse(stdout.toString());
		expect(count).toBeGreaterThan(40_000);
		expect(grown).toBeGreaterThan(limit / 2);
		expect(grown).toBeLessThan(limit * 1.1);
	});
});
