/** Hardware that is paid by the hour works for all threads at once: their shares are together the time that it worked. */
import { expect, test } from "bun:test";
import { HardwareClocks, type Meter } from "../src/accounts/usage/hardware-clocks.ts";
import { makeHardwareClocks, SharedHardwareClocks } from "../src/accounts/usage/shared-hardware-clocks.ts";
import { random } from "./kit/random.ts";

/** Threads whose clocks began at other times, over one clock. */
function views(offsets: readonly number[]) {
	const clock = { now: 100_000 };
	const memory = makeHardwareClocks();
	const all = offsets.map(
		(offset, thread) => new SharedHardwareClocks(memory, thread, offset, () => clock.now - offset),
	);
	return { clock, all };
}

test("shares of calls of several threads are what they would be in one", () => {
	const { below, pick } = random(5);
	const { clock, all } = views([0, 40_000, 7]);
	const alone = new HardwareClocks(() => clock.now);
	const running: (readonly [shared: Meter, alone: Meter])[] = [];
	for (let step = 0; step < 20_000; step++) {
		clock.now += below(50);
		if (running.length < 6 && below(2) === 0) {
			const target = pick(["a", "b"]);
			running.push([pick(all).start(target), alone.start(target)]);
		} else if (running.length > 0) {
			const at = below(running.length);
			const [shared, own] = running[at]!;
			expect(shared.ms()).toBeCloseTo(own.ms(), 6);
			if (below(2) === 0) continue;
			shared.stop();
			own.stop();
			running.splice(at, 1);
			clock.now += below(3);
			expect(shared.ms()).toBeCloseTo(own.ms(), 6);
			shared.stop();
		}
	}
});

test("calls of a thread that has died have no share from then on", () => {
	const { clock, all } = views([0, 10, 20]);
	const [main, one, two] = all;
	const dead = one!.start("a");
	const other = two!.start("a");
	clock.now += 100;
	expect([dead.ms(), other.ms()]).toEqual([50, 50]);
	main!.freed(1);
	clock.now += 100;
	expect(other.ms()).toBe(150);
	other.stop();
	// Nobody is left: the next one begins anew.
	clock.now += 1_000;
	const next = one!.start("a");
	clock.now += 30;
	expect(next.ms()).toBe(30);
});

test("more targets than there is room for are measured by each thread for itself", () => {
	const { clock, all } = views([0, 0]);
	const meters = Array.from({ length: 3_000 }, (_, at) => all[at % 2]!.start(`target-${at}`));
	clock.now += 10;
	expect(meters.every((meter) => meter.ms() === 10)).toBe(true);
	for (const meter of meters) meter.stop();
	const [first, second] = all.map((each) => each.start("one"));
	clock.now += 10;
	expect([first!.ms(), second!.ms()]).toEqual([5, 5]);
});
