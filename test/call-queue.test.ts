/** The line in front of a busy model: who is let in, who is told no, and that everyone has a turn. Over simulated time. */
import { describe, expect, test } from "bun:test";
import { CallQueue, type Ticket } from "../src/proxy/call-queue.ts";
import { HedgeBudget } from "../src/proxy/hedge-budget.ts";
import { random as seeded } from "./kit/random.ts";

let now = 0;
const queue = (concurrency: number, size: number) => {
	now = 0;
	return new CallQueue({ concurrency, size }, () => now);
};
const enter = (line: CallQueue, priority = 0, withinMs = Number.POSITIVE_INFINITY) => line.enter(priority, withinMs);
const ticket = (line: CallQueue, priority = 0): Ticket => {
	const entered = enter(line, priority);
	if ("reason" in entered) throw new Error(entered.reason);
	return entered;
};
/** Whose turn it is, by name, in the order in which turns came. */
async function turns(line: CallQueue, names: Record<string, number>, run: () => void): Promise<string[]> {
	const order: string[] = [];
	const leaves: Promise<void>[] = [];
	for (const [name, priority] of Object.entries(names)) {
		now += 1;
		const { turn, leave } = ticket(line, priority);
		leaves.push(
			turn.then(() => {
				order.push(name);
				leave();
			}),
		);
	}
	run();
	await Promise.all(leaves);
	return order;
}

test("as many run at once as may; the next waits until one has run", async () => {
	const line = queue(2, 10);
	const [one, two, three] = [ticket(line), ticket(line), ticket(line)];
	await Promise.all([one.turn, two.turn]);
	expect(line.waiting).toBe(1);
	one.leave();
	await three.turn;
	expect(line.waiting).toBe(0);
	two.leave();
	three.leave();
});

test("who left twice made room once, and who left the line is not let in", async () => {
	const line = queue(1, 10);
	const first = ticket(line);
	const gone = ticket(line);
	const last = ticket(line);
	gone.leave();
	first.leave();
	first.leave();
	await last.turn;
	expect(enter(line)).toHaveProperty("turn");
	expect(line.waiting).toBe(1);
});

test("higher priorities go first, equal ones in the order of their coming", async () => {
	const line = queue(1, 10);
	const running = ticket(line);
	const order = await turns(line, { low: -1, plain: 0, high: 5, second: 5, later: 0 }, () => running.leave());
	expect(order).toEqual(["high", "second", "plain", "later", "low"]);
});

test("a call that has waited long is not passed any more: a step of priority is worth ten seconds", async () => {
	const line = queue(1, 10);
	const running = ticket(line);
	const order: string[] = [];
	const low = ticket(line, 0);
	now = 10_001;
	const high = ticket(line, 1);
	const done = Promise.all([
		low.turn.then(() => {
			order.push("low");
			low.leave();
		}),
		high.turn.then(() => void order.push("high")),
	]);
	running.leave();
	await done;
	expect(order).toEqual(["low", "high"]);
});

describe("a full line", () => {
	test("refuses, and says when those in it will have been served", () => {
		const line = queue(2, 3);
		const running = [ticket(line), ticket(line)];
		now = 4_000;
		for (const each of running) each.leave();
		const [one] = [ticket(line), ticket(line), ticket(line), ticket(line), ticket(line)];
		expect(line.waiting).toBe(3);
		// Two run at once for 4 s each: three that wait need 6 s.
		expect(enter(line)).toEqual({ reason: "full", retryAfterMs: 6_000 });
		one!.leave();
		expect(line.waiting).toBe(2);
	});

	test("of size 0 refuses whoever can't run at once", () => {
		const line = queue(1, 0);
		ticket(line);
		expect(enter(line)).toMatchObject({ reason: "full", retryAfterMs: 2_000 });
	});
});

describe("a deadline", () => {
	test("that can't be met is refused before it has waited", () => {
		const line = queue(1, 10);
		const first = ticket(line);
		now = 3_000;
		first.leave();
		ticket(line);
		expect(enter(line, 0, 2_999)).toEqual({ reason: "late", retryAfterMs: 3_000 });
		expect(enter(line, 0, 3_000)).toHaveProperty("turn");
		expect(enter(line, 0, 5_999)).toMatchObject({ reason: "late" });
		// Ahead of the one that waits.
		expect(enter(line, 9, 3_000)).toHaveProperty("turn");
	});

	test("is not refused on a guess: no call has ended yet", () => {
		const line = queue(1, 10);
		ticket(line);
		expect(enter(line, 0, 1)).toHaveProperty("turn");
	});
});

test("settings that change hold from the next call on", async () => {
	const line = queue(1, 10);
	const running = ticket(line);
	const waiting = [ticket(line), ticket(line)];
	line.settings = { concurrency: 3, size: 10 };
	running.leave();
	await Promise.all(waiting.map(({ turn }) => turn));
	expect(line.waiting).toBe(0);
});

test("everyone has a turn, never more at once than may, whoever leaves when", async () => {
	const random = seeded(8).next;
	const line = queue(3, 1_000);
	let running = 0;
	let served = 0;
	let gone = 0;
	const inside: Ticket[] = [];
	for (let step = 0; step < 3_000; step++) {
		now += random() * 100;
		if (random() < 0.5) {
			const entered = ticket(line, Math.floor(random() * 5));
			if (random() < 0.1 && line.waiting > 0) {
				const before = line.waiting;
				entered.leave();
				gone++;
				expect(line.waiting).toBeLessThanOrEqual(before);
				continue;
			}
			void entered.turn.then(() => {
				running++;
				served++;
				inside.push(entered);
			});
		} else if (inside.length > 0) {
			running--;
			inside.splice(Math.floor(random() * inside.length), 1)[0]!.leave();
		}
		await Promise.resolve();
		expect(running).toBeLessThanOrEqual(3);
	}
	while (inside.length > 0) {
		running--;
		inside.pop()!.leave();
		await Promise.resolve();
		await Promise.resolve();
	}
	expect([line.waiting, running]).toEqual([0, 0]);
	expect(served).toBeGreaterThan(gone);
});

test("hedges are never more than every twentieth call, and are saved up to ten", () => {
	const budget = new HedgeBudget();
	let calls = 0;
	let hedges = 0;
	for (; calls < 2_000; ) {
		calls++;
		budget.call();
		if (budget.take()) hedges++;
		expect(hedges).toBeLessThanOrEqual(calls * 0.05);
	}
	expect(hedges).toBe(100);
	for (let call = 0; call < 10_000; call++) budget.call();
	let burst = 0;
	while (budget.take()) burst++;
	expect(burst).toBe(10);
});
