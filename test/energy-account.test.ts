/** The energy that engines draw, and the calls that get it. */
import { describe, expect, test } from "bun:test";
import { ACCOUNT_NUMBERS, EnergyAccount, type EnergyMark } from "../src/accounts/usage/energy-account.ts";
import { LocalEnergyMeters, MOST_ENGINES } from "../src/accounts/usage/energy-meters.ts";
import { GPU_NUMBERS, GpuEnergy } from "../src/accounts/usage/gpu-energy.ts";
import { makeEnergyMeters, SharedEnergyMeters } from "../src/accounts/usage/shared-energy-meters.ts";
import { random } from "./kit/random.ts";

/** An engine on a GPU of its own, which draws so much, W. */
function engineOf(watts: number) {
	const gpu = new GpuEnergy(new Float64Array(GPU_NUMBERS));
	const engine = new EnergyAccount(new Float64Array(ACCOUNT_NUMBERS));
	gpu.setPower(watts, 1_000);
	engine.setGpus([gpu], 1_000);
	return { engine, gpu };
}
const on = (watts: number) => [{ gpu: "0", watts }];

describe("an engine of 300 W", () => {
	const drawing = () => engineOf(300).engine;

	test("gives nothing to an attempt that takes no time, and all that it draws meanwhile to one that is alone", () => {
		const engine = drawing();
		expect(engine.end(0, engine.begin(0, 2_000), 100, 2_000)).toBe(0);
		expect(engine.end(0, engine.begin(0, 5_000), 100, 7_000)).toBe(600);
		expect(engine.sums(7_000)).toEqual({ given: 600, idle: 300 * 4 });
	});

	test("shares by tokens among two that run at once", () => {
		const engine = drawing();
		// What attempts make here: 50 tokens a second.
		engine.end(0, engine.begin(0, 2_000), 100, 4_000);
		const [one, other] = [engine.begin(0, 4_000), engine.begin(0, 4_000)];
		expect(engine.end(0, one, 300, 6_000)).toBeCloseTo(600 * 0.75, 6);
		expect(engine.end(0, other, 100, 6_000)).toBeCloseTo(600 * 0.25, 6);
	});

	test("gives an attempt nothing of what was drawn before it began", () => {
		const engine = drawing();
		engine.end(0, engine.begin(0, 2_000), 50, 3_000);
		const long = engine.begin(0, 3_000);
		const short = engine.begin(0, 103_000);
		expect(engine.end(0, short, 50, 104_000)).toBeCloseTo(150, 6);
		expect(engine.end(0, long, 5_000, 104_000)).toBeCloseTo(300 * 101 - 150, 6);
	});

	test("gives equal shares where nobody counts tokens", () => {
		const engine = drawing();
		const [one, other] = [engine.begin(0, 2_000), engine.begin(0, 2_000)];
		expect(engine.end(0, one, undefined, 4_000)).toBeCloseTo(300, 6);
		expect(engine.end(0, other, undefined, 4_000)).toBeCloseTo(300, 6);
	});

	test("counts as it draws: more, less, and nothing where that is not known any more", () => {
		const { engine, gpu } = engineOf(300);
		const mark = engine.begin(0, 2_000);
		gpu.setPower(100, 3_000);
		engine.setGpus([], 5_000);
		expect(engine.end(0, mark, 1, 60_000)).toBe(300 + 200);
	});
});

test("at each moment at which nothing runs attempts have got the power times the time while anything ran, and the rest was idle", () => {
	for (let seed = 1; seed <= 200; seed++) {
		const { below, next } = random(seed);
		const { engine, gpu } = engineOf(0);
		let [now, watts, busy, idle] = [1_000, 0, 0, 0];
		let given = 0;
		const running: { mark: EnergyMark; thread: number }[] = [];
		const pass = (ms: number) => {
			if (running.length > 0) busy += (watts * ms) / 1_000;
			else idle += (watts * ms) / 1_000;
			now += ms;
		};
		const end = (at: number) => {
			const [{ mark, thread }] = running.splice(at, 1) as [(typeof running)[number]];
			const share = engine.end(thread, mark, below(4) === 0 ? undefined : below(2_000), now)!;
			expect(share).toBeGreaterThanOrEqual(0);
			given += share;
			expect(given).toBeLessThanOrEqual(busy * (1 + 1e-9) + 1e-6);
			if (running.length === 0) expect(given).toBeCloseTo(busy, 6);
		};
		for (let step = 0; step < 120; step++) {
			pass(below(3) === 0 ? 0 : next() * 5_000);
			const what = below(10);
			if (what === 0) {
				watts = below(3) * 350;
				gpu.setPower(watts, now);
			} else if (what < 6 || running.length === 0) {
				const thread = below(3);
				running.push({ mark: engine.begin(thread, now), thread });
			} else end(below(running.length));
		}
		while (running.length > 0) {
			pass(next() * 1_000);
			end(0);
		}
		const sums = engine.sums(now);
		expect(sums.given).toBeCloseTo(busy, 6);
		expect(sums.idle).toBeCloseTo(idle, 6);
	}
});

test("among many calls at once those of twice the tokens get about twice the energy", () => {
	const { below, next } = random(9);
	const { engine } = engineOf(400);
	const got = [0, 0];
	const counts = [0, 0];
	const running: { mark: EnergyMark; kind: number; endsAt: number }[] = [];
	for (let now = 2_000; now < 400_000; now += 20) {
		while (running.length < 16) {
			running.push({ mark: engine.begin(0, now), kind: below(2), endsAt: now + 1_000 + next() * 2_000 });
		}
		for (let at = running.length - 1; at >= 0; at--) {
			const { mark, kind, endsAt } = running[at]!;
			if (endsAt > now) continue;
			running.splice(at, 1);
			got[kind]! += engine.end(0, mark, (1 + kind) * 100, now)!;
			counts[kind]!++;
		}
	}
	const ratio = got[1]! / counts[1]! / (got[0]! / counts[0]!);
	expect(ratio).toBeWithin(1.7, 2.3);
});

describe("meters", () => {
	test("know nothing of engines of which nothing was said, and nobody has to ask", () => {
		for (const meters of [new LocalEnergyMeters(), new SharedEnergyMeters(makeEnergyMeters(), 0, 0)]) {
			expect([meters.isKnown, meters.start("a"), meters.sums().size]).toEqual([false, undefined, 0]);
			meters.setGpus("a", on(100));
			expect([meters.isKnown, meters.start("b")]).toEqual([true, undefined]);
			expect(meters.start("a")).toBeDefined();
		}
	});

	test.each([
		["one thread", (time: () => number) => new LocalEnergyMeters(time)],
		["several threads", (time: () => number) => new SharedEnergyMeters(makeEnergyMeters(), 0, 0, time)],
	])("of %s have room for new engines once old ones rest, and none for more than may draw at once", (_, metersOf) => {
		let now = 1_000;
		const meters = metersOf(() => now);
		const names = Array.from({ length: MOST_ENGINES }, (_, at) => `old-${at}`);
		const own = (gpu: string, watts: number) => [{ gpu, watts }];
		for (const name of names) meters.setGpus(name, own(name, 100));
		meters.setGpus("new", own("new", 300));
		expect([meters.start("new"), meters.sums().size]).toEqual([undefined, MOST_ENGINES]);
		// The first ends while a call runs there, of the others the third rests longest.
		const call = meters.start("old-0")!;
		for (const name of ["old-0", "old-2", "old-1"]) meters.setGpus(name, []);
		meters.setGpus("none yet", []);
		expect(meters.start("none yet")).toBeUndefined();
		meters.setGpus("new", own("new", 300));
		const other = meters.start("new")!;
		now += 2_000;
		expect([other.end(10), call.end(10)]).toEqual([600, 0]);
		const { size } = meters.sums();
		const known = ["old-0", "old-1", "old-2", "new"].map((name) => meters.sums().has(name));
		expect([size, known]).toEqual([MOST_ENGINES, [true, true, false, true]]);
		for (let roll = 0; roll < 3 * MOST_ENGINES; roll++) {
			meters.setGpus(`roll-${roll}`, own(`roll-${roll}`, 100));
			expect(meters.start(`roll-${roll}`)?.end(1)).toBe(0);
			meters.setGpus(`roll-${roll}`, []);
		}
	});

	test("of several threads share one account; what one that dies would have got goes to the others", () => {
		const memory = makeEnergyMeters();
		let now = 1_000;
		const [main, one, two] = [0, 1, 2].map((thread) => new SharedEnergyMeters(memory, thread, 0, () => now)) as [
			SharedEnergyMeters,
			SharedEnergyMeters,
			SharedEnergyMeters,
		];
		main.setGpus("a", on(200));
		expect(one.isKnown).toBe(true);
		const dies = one.start("a");
		const lives = two.start("a")!;
		expect(dies).toBeDefined();
		now += 3_000;
		main.freed(1);
		now += 1_000;
		expect(lives.end(10)).toBeCloseTo(800, 6);
		const last = one.start("a")!;
		now += 1_000;
		expect(last.end(10)).toBeCloseTo(200, 6);
		two.start("a");
		now += 1_000;
		main.freed(2);
		now += 1_000;
		expect(main.sums()).toEqual(new Map([["a", { given: 1_000, idle: 400 }]]));
	});
});
