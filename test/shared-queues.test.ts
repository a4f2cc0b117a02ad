/** The line in front of a busy model that several threads keep together, over simulated time and threads. */
import { describe, expect, test } from "bun:test";
import { CallQueue, type ModelQueue, type QueueRefused, type Ticket } from "../src/proxy/call-queue.ts";
import { QueueThreads } from "./kit/queue-threads.ts";
import { random } from "./kit/random.ts";

const SETTINGS = { concurrency: 2, size: 100 };
const FOREVER = Number.POSITIVE_INFINITY;

/** The queue as these threads see it, from 1 on. */
function lines(count: number, settings = SETTINGS, blocks?: number) {
	const threads = new QueueThreads(blocks);
	const views = Array.from({ length: count }, (_, at) => threads.of(at + 1).queues.queue("fast", settings));
	return { threads, views, one: views[0]!, two: views[1]! };
}
function ticket(entered: Ticket | QueueRefused): Ticket {
	if ("reason" in entered) throw new Error(entered.reason);
	return entered;
}
const enter = (line: ModelQueue, priority = 0) => ticket(line.enter(priority, FOREVER));
/** Whether its turn has come. */
async function hasTurn({ turn }: Ticket): Promise<boolean> {
	return Promise.race([turn.then(() => true), Promise.resolve().then(() => Promise.resolve(false))]);
}
const turns = (tickets: readonly Ticket[]) => Promise.all(tickets.map(hasTurn));

describe("over several threads", () => {
	test("as many run at once as may; who waits has its turn when its thread has heard of it", async () => {
		const { threads, one, two } = lines(2);
		const [first, second] = [enter(one), enter(two)];
		expect([one.hasRoom, two.hasRoom]).toEqual([false, false]);
		const [third, fourth] = [enter(two), enter(one)];
		expect([one.waiting, two.waiting]).toEqual([1, 1]);
		expect(await turns([first, second, third, fourth])).toEqual([true, true, false, false]);
		first.leave();
		first.leave();
		expect(await turns([third, fourth])).toEqual([false, false]);
		// Its place is taken, before it has heard of it.
		expect(one.enterNow()).toBeUndefined();
		threads.deliverAll();
		expect(await turns([third, fourth])).toEqual([true, false]);
		second.leave();
		threads.deliverAll();
		expect(await turns([fourth])).toEqual([true]);
		expect([one.waiting, two.waiting]).toEqual([0, 0]);
	});

	test("a call that fails when it hears of its place keeps none of its thread waiting", async () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 10 });
		const running = enter(two);
		const { queues } = threads.of(1);
		const hear = () => {
			throw new Error("its own fault");
		};
		queues.waiters.set(-1, { begin: () => {}, hear });
		const waiting = enter(one);
		running.leave();
		expect(() => queues.hear()).toThrow("its own fault");
		expect(await hasTurn(waiting)).toBe(true);
	});

	test("as many wait as may, of all of them", () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 3 });
		const running = enter(one);
		threads.now = 4_000;
		running.leave();
		enter(two);
		for (const line of [one, two, one]) enter(line);
		expect(two.enter(9, FOREVER)).toEqual({ reason: "full", retryAfterMs: 12_000 });
	});

	test("a call is refused whose turn would come too late, by what calls of all threads took", () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 10 });
		const running = enter(one);
		expect(two.enter(0, 1)).toHaveProperty("turn");
		threads.now = 3_000;
		running.leave();
		threads.deliverAll();
		expect(one.enter(0, 2_999)).toEqual({ reason: "late", retryAfterMs: 3_000 });
		expect(two.enter(0, 3_000)).toHaveProperty("turn");
		expect(one.enter(0, 5_999)).toEqual({ reason: "late", retryAfterMs: 6_000 });
		expect(one.enter(1, 3_000)).toHaveProperty("turn");
	});

	test("a place that a call has got whose client has left meanwhile goes to the next", async () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 10 });
		const running = enter(one);
		const [gone, next] = [enter(two), enter(one)];
		running.leave();
		gone.leave();
		gone.leave();
		threads.deliverAll();
		expect(await turns([next])).toEqual([true]);
		next.leave();
		expect([one.hasRoom, await hasTurn(gone)]).toEqual([true, false]);
	});

	test("a signal that comes late, or twice, lets nobody in", async () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 10 });
		const running = enter(one);
		const gone = enter(two);
		running.leave();
		gone.leave();
		const [late] = threads.signalled;
		const again = enter(one);
		// In the block in which the other one waited.
		const waiting = enter(two);
		threads.deliverAll();
		expect(await hasTurn(waiting)).toBe(false);
		again.leave();
		threads.signalled.push(late!);
		threads.deliverAll();
		expect(await hasTurn(waiting)).toBe(true);
		waiting.leave();
		expect(one.hasRoom).toBe(true);
	});

	test("a call that gave its place back is behind nobody who came later, and is never refused", async () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 1 });
		threads.now = 5_000;
		const running = enter(one);
		const waiting = enter(two);
		// It came at 4 s, by a clock that is 2 s behind.
		const again = two.reenter(0, 2_000);
		running.leave();
		threads.deliverAll();
		expect(await turns([again, waiting])).toEqual([true, false]);
	});

	test("a queue that is made anew by a reload keeps who runs and who waits; those for whom there is room then run at once", async () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 10 });
		enter(one);
		const waiting = [enter(one), enter(two), enter(one), enter(two)];
		const model = { name: "fast" };
		threads.of(0).queues.configure([{ ...model, concurrency: 4, queue: 2 }]);
		threads.deliverAll();
		expect(await turns(waiting)).toEqual([true, true, true, false]);
		expect(two.enter(0, FOREVER)).toHaveProperty("turn");
		expect(one.enter(0, FOREVER)).toMatchObject({ reason: "full" });
		// What a thread that has not heard of it yet says changes nothing; without `concurrency` who waits still has a turn.
		expect(threads.of(3).queues.queue("fast", { concurrency: 99, size: 99 }).hasRoom).toBe(false);
		threads.of(0).queues.configure([model]);
		waiting[0]!.leave();
		threads.deliverAll();
		expect(await hasTurn(waiting[3]!)).toBe(true);
	});

	test("a thread tells others only, and hears at once of its own", async () => {
		const { threads, one } = lines(2, { concurrency: 1, size: 9 });
		const running = enter(one);
		const [next, last] = [enter(one), enter(one)];
		running.leave();
		running.leave();
		expect([await turns([next, last]), threads.signalled]).toEqual([[true, false], []]);
	});

	test("who came first goes first, also where threads are not sure what time it is", async () => {
		const { threads, one, two } = lines(2, { concurrency: 1, size: 9 });
		threads.wrong.set(1, 20).set(2, -20);
		const running = enter(one);
		const tickets: Ticket[] = [];
		for (const line of [one, two, one, two]) {
			threads.now += 5;
			tickets.push(enter(line));
		}
		const order: number[] = [];
		for (const [at, { turn, leave }] of tickets.entries()) {
			void turn.then(() => {
				order.push(at);
				leave();
			});
		}
		running.leave();
		for (let turn = 0; turn < 20; turn++) {
			threads.deliverAll();
			await Promise.resolve();
		}
		expect(order).toEqual([0, 1, 2, 3]);
	});

	test("queues of other models are others", () => {
		const { threads, one } = lines(1, { concurrency: 1, size: 10 });
		enter(one);
		expect(threads.of(2).queues.queue("slow", SETTINGS).hasRoom).toBe(true);
	});
});

describe("where there is no memory", () => {
	test("for one more call to wait it is refused, and one that gave its place back waits in vain", async () => {
		const { one } = lines(1, SETTINGS, 4);
		const running = [enter(one), enter(one)];
		for (let call = 0; call < 3; call++) enter(one);
		expect(one.enter(0, FOREVER)).toEqual({ reason: "full", retryAfterMs: 100_000 });
		const again = one.reenter(0, 0);
		running[0]!.leave();
		expect(await hasTurn(again)).toBe(false);
		again.leave();
		expect(enter(one)).toHaveProperty("turn");
	});

	test("for one more queue each thread has its own", () => {
		const threads = new QueueThreads(1);
		threads.of(1).queues.queue("fast", SETTINGS);
		const [one, two] = [1, 2].map((thread) => threads.of(thread).queues.queue("slow", { concurrency: 1, size: 9 }));
		expect([one!.enterNow(), two!.enterNow(), one!.enterNow()].map((each) => each !== undefined)).toEqual([
			true,
			true,
			false,
		]);
	});
});

test.each([1, 2, 3, 4])(
	"whatever calls come, wait and go, of three threads, is decided as by one alone where signals take no time: seed %d",
	async (seed) => {
		const { below, pick } = random(seed);
		const settings = { concurrency: 3, size: 12 };
		const { threads, views } = lines(3, settings);
		const alone = new CallQueue(settings, () => threads.now);
		const open: { readonly name: number; readonly shared: Ticket; readonly alone: Ticket }[] = [];
		const order: { readonly shared: number[]; readonly alone: number[] } = { shared: [], alone: [] };
		const reasons: string[] = [];
		for (let step = 0; step < 20_000; step++) {
			threads.now += 1 + below(400);
			const thread = below(3);
			const priority = below(3);
			const kind = pick(["come", "come", "leave", "leave", "now", "again"]);
			if (kind === "leave") {
				const [over] = open.splice(below(open.length), 1);
				over?.shared.leave();
				over?.alone.leave();
			} else {
				const cameAt = threads.now - below(30_000);
				const withinMs = pick([FOREVER, 100 + below(8_000)]);
				const ask = (line: ModelQueue, offset: number) => {
					if (kind === "now") return line.enterNow();
					return kind === "come" ? line.enter(priority, withinMs) : line.reenter(priority, cameAt - offset);
				};
				const [shared, expected] = [ask(views[thread]!, (thread + 1) * 1_000), ask(alone, 0)];
				if (shared && expected && "turn" in shared && "turn" in expected) {
					const name = step;
					open.push({ name, shared, alone: expected });
					void shared.turn.then(() => order.shared.push(name));
					void expected.turn.then(() => order.alone.push(name));
				} else {
					expect(shared).toEqual(expected);
					if (shared && "reason" in shared) reasons.push(shared.reason);
				}
			}
			threads.deliverAll();
			expect(views.reduce((sum, { waiting }) => sum + waiting, 0)).toBe(alone.waiting);
			expect(views.map(({ hasRoom }) => hasRoom)).toEqual(Array(3).fill(alone.hasRoom));
		}
		await Promise.resolve();
		expect(order.shared).toEqual(order.alone);
		const [full, late] = ["full", "late"].map((reason) => reasons.filter((each) => each === reason).length);
		expect(order.alone.length).toBeGreaterThan(2_000);
		expect([full! > 100, late! > 100]).toEqual([true, true]);
	},
);
