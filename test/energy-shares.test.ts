/** The energy of GPUs that several engines are on, and of engines that are on several GPUs: which calls get it. */
import { describe, expect, test } from "bun:test";
import {
	type EnergyMeter,
	type EnergyMeters,
	LocalEnergyMeters,
	MOST_GPUS,
	MOST_GPUS_OF_ENGINE,
} from "../src/accounts/usage/energy-meters.ts";
import { makeEnergyMeters, SharedEnergyMeters } from "../src/accounts/usage/shared-energy-meters.ts";
import { random } from "./kit/random.ts";

/** GPUs of 200 W each unless it says otherwise. */
const on = (...gpus: string[]) => gpus.map((gpu) => ({ gpu, watts: 200 }));

describe.each([
	["one thread", (time: () => number): EnergyMeters => new LocalEnergyMeters(time)],
	["several threads", (time: () => number): EnergyMeters => new SharedEnergyMeters(makeEnergyMeters(), 0, 0, time)],
])("meters of %s", (_, metersOf) => {
	function started() {
		const clock = { now: 1_000 };
		const meters = metersOf(() => clock.now);
		/** A call that is alone, J. */
		const lone = (engine: string, ms: number) => {
			const call = meters.start(engine)!;
			clock.now += ms;
			return call.end(50);
		};
		return { clock, meters, lone };
	}

	test("give nothing to a call whose engine was on no GPU to its end, and all since it is on one to the call it is loaded for", () => {
		const { clock, meters, lone } = started();
		meters.setGpus("new", []);
		expect(lone("new", 500)).toBeUndefined();
		expect(meters.sums()).toEqual(new Map());
		const call = meters.start("new")!;
		clock.now += 3_000;
		meters.setGpus("new", on("0"));
		clock.now += 1_960;
		expect(call.end(20)).toBeCloseTo(200 * 1.96, 6);
	});

	test("give each of five lone calls in turn to two replicas of one GPU all that it draws meanwhile, however late a report is", () => {
		const { clock, meters, lone } = started();
		for (const replica of ["m#0", "m#1"]) meters.setGpus(replica, on("0"));
		const got: (number | undefined)[] = [];
		for (const at of [0, 1, 0, 1, 0]) {
			got.push(lone(`m#${at}`, 830));
			clock.now += 600;
		}
		for (const each of got) expect(each).toBeCloseTo(166, 6);
		expect(lone("m#1", 4_290)).toBeCloseTo(858, 6);
		const sums = [...meters.sums().values()];
		expect(sums.reduce((sum, { given }) => sum + given, 0)).toBeCloseTo(5 * 166 + 858, 6);
		expect(sums.map(({ idle }) => idle)).toEqual([expect.closeTo(300, 6), expect.closeTo(300, 6)]);
	});

	test("give calls that overlap on two replicas of one GPU equal parts while they do, and by tokens within one", () => {
		const { clock, meters } = started();
		for (const replica of ["m#0", "m#1"]) meters.setGpus(replica, on("0"));
		const long = meters.start("m#0")!;
		clock.now += 1_000;
		const [large, small] = [meters.start("m#1")!, meters.start("m#1")!];
		clock.now += 2_000;
		// Nobody knows yet how fast this engine is: the one that ends first counts as the others do.
		const shares = [large.end(300)!, small.end(100)!];
		expect(shares[0]! + shares[1]!).toBeCloseTo(200, 6);
		clock.now += 1_000;
		expect(long.end(10)).toBeCloseTo(200 + 200 + 200, 6);
		const [two, one] = [meters.start("m#1")!, meters.start("m#1")!];
		clock.now += 2_000;
		const rates = [two.end(200)!, one.end(100)!];
		expect(rates[0]! + rates[1]!).toBeCloseTo(400, 6);
		expect(rates[0]!).toBeGreaterThan(rates[1]!);
	});

	test("give a call on two GPUs both, but for the part of the one that is another's meanwhile", () => {
		const { clock, meters, lone } = started();
		meters.setGpus("big", on("0", "1"));
		meters.setGpus("small", on("1"));
		expect(lone("big", 1_000)).toBeCloseTo(400, 6);
		const [big, small] = [meters.start("big")!, meters.start("small")!];
		clock.now += 1_000;
		expect(small.end(1)).toBeCloseTo(100, 6);
		clock.now += 1_000;
		expect(big.end(1)).toBeCloseTo(300 + 400, 6);
	});

	test("give the calls together each GPU's power times the time in which calls ran on it, wherever engines go meanwhile", () => {
		for (let seed = 1; seed <= 60; seed++) {
			const { below, next } = random(seed);
			const { clock, meters } = started();
			const watts = [200, 350, 70];
			const places = new Map<string, number[]>();
			const running: { readonly call: EnergyMeter; readonly engine: string }[] = [];
			let [busy, idle, given] = [0, 0, 0];
			const pass = (ms: number) => {
				clock.now += ms;
				for (const [gpu, each] of watts.entries()) {
					const joules = (each * ms) / 1_000;
					const here = [...places].filter(([, gpus]) => gpus.includes(gpu));
					if (here.some(([name]) => running.some(({ engine }) => engine === name))) busy += joules;
					else if (here.length > 0) idle += joules;
				}
			};
			const place = (engine: string, gpus: number[]) => {
				places.set(engine, gpus);
				for (const [each, its] of places) {
					meters.setGpus(
						each,
						its.map((gpu) => ({ gpu: `${gpu}`, watts: watts[gpu]! })),
					);
				}
			};
			for (const engine of ["a", "b", "c"]) place(engine, [below(3)]);
			for (let step = 0; step < 120; step++) {
				pass(next() * 3_000);
				const engine = "abc"[below(3)]!;
				const what = below(10);
				if (what === 0)
					place(
						engine,
						[0, 1, 2].filter(() => below(2) === 0),
					);
				else if (what === 1) {
					watts[below(3)] = below(400);
					place(engine, places.get(engine)!);
				} else if (what < 6) running.push({ call: meters.start(engine)!, engine });
				else if (running.length > 0) given += running.splice(below(running.length), 1)[0]!.call.end(below(500))!;
				expect(given).toBeLessThanOrEqual(busy + 1e-6);
			}
			for (const { call } of running.splice(0)) given += call.end(below(500))!;
			expect(given).toBeCloseTo(busy, 5);
			const sums = [...meters.sums().values()];
			expect(sums.reduce((sum, each) => sum + each.given, 0)).toBeCloseTo(busy, 5);
			expect(sums.reduce((sum, each) => sum + each.idle, 0)).toBeCloseTo(idle, 5);
		}
	});

	test("count an engine on as many GPUs as a host may have, and no more GPUs than there is room for until some are free", () => {
		const { meters, lone } = started();
		const all = (engine: number) => on(...Array.from({ length: MOST_GPUS_OF_ENGINE }, (_, at) => `${engine}#${at}`));
		const engines = MOST_GPUS / MOST_GPUS_OF_ENGINE;
		for (let engine = 0; engine < engines; engine++) meters.setGpus(`${engine}`, all(engine));
		expect(lone("0", 1_000)).toBeCloseTo(200 * MOST_GPUS_OF_ENGINE, 4);
		meters.setGpus("more", all(engines));
		expect(lone("more", 1_000)).toBeUndefined();
		meters.setGpus("0", []);
		meters.setGpus("more", all(engines));
		expect(lone("more", 1_000)).toBeCloseTo(200 * MOST_GPUS_OF_ENGINE, 4);
	});
});

test("a GPU that a thread's calls ran on when it died is its other engines' alone from then on", () => {
	const memory = makeEnergyMeters();
	let now = 1_000;
	const [main, dies, lives] = [0, 1, 2].map((thread) => new SharedEnergyMeters(memory, thread, 0, () => now)) as [
		SharedEnergyMeters,
		SharedEnergyMeters,
		SharedEnergyMeters,
	];
	for (const engine of ["a", "b"]) main.setGpus(engine, on("0"));
	expect(dies.start("a")).toBeDefined();
	const call = lives.start("b")!;
	now += 1_000;
	main.freed(1);
	now += 1_000;
	expect(call.end(10)).toBeCloseTo(100 + 200, 6);
	now += 1_000;
	const sums = [...main.sums().values()];
	expect(sums).toEqual([
		{ given: 0, idle: expect.closeTo(100 + 100, 6) },
		{ given: expect.closeTo(300, 6), idle: expect.closeTo(100, 6) },
	]);
});
