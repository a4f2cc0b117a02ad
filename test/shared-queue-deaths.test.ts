/** The line in front of a busy model that several threads keep together, when threads die at any moment; and whatever calls come and go in whatever order. */
import { describe, expect, test } from "bun:test";
import type { ModelQueue, QueueRefused, Ticket } from "../src/proxy/call-queue.ts";
import { Death, dyingBlocks } from "./kit/dying-blocks.ts";
import { QueueThreads } from "./kit/queue-threads.ts";
import { random } from "./kit/random.ts";

const BLOCKS = 300;
const FOREVER = Number.POSITIVE_INFINITY;
function ticket(entered: Ticket | QueueRefused): Ticket {
	if ("reason" in entered) throw new Error(entered.reason);
	return entered;
}
const enter = (line: ModelQueue, priority = 0) => ticket(line.enter(priority, FOREVER));
/** Lets what follows from promises that have resolved happen. */
async function settle(): Promise<void> {
	for (let turn = 0; turn < 3; turn++) await Promise.resolve();
}

const SETTINGS = { concurrency: 3, size: 50 };

/** A queue of two threads. One call of each runs, one of the dying thread's has got a place and not heard of it, two of its wait, and behind them one of the other's. */
async function busy() {
	const threads = new QueueThreads(BLOCKS);
	const [dying, living] = [1, 2].map((thread) => threads.of(thread).queues.queue("fast", SETTINGS)) as [
		ModelQueue,
		ModelQueue,
	];
	const running = { dying: enter(dying), living: enter(living) };
	const over = enter(living);
	threads.now = 10;
	const placed = enter(dying);
	const waiting = [enter(dying), enter(dying)] as const;
	threads.now = 20;
	const behind = enter(living);
	threads.now = 30;
	over.leave();
	expect(threads.signalled).toHaveLength(1);
	return { threads, dying, living, running, placed, waiting, behind };
}
type Busy = Awaited<ReturnType<typeof busy>>;

/** After the end of the dying thread all is as if it had never been. */
async function expectWhole({ threads, living, running, behind }: Busy): Promise<void> {
	threads.die(1);
	threads.deliverAll();
	await behind.turn;
	const third = living.enterNow();
	expect([third === undefined, living.hasRoom]).toEqual([false, false]);
	const waits = enter(threads.of(1).queues.queue("fast", SETTINGS));
	for (const each of [running.living, behind, third!]) each.leave();
	threads.deliverAll();
	await waits.turn;
	waits.leave();
	expect(living.waiting).toBe(0);
	expect(threads.free()).toBe(BLOCKS - 1);
}

describe("a thread that dies", () => {
	const OPERATIONS: readonly (readonly [string, (all: Busy) => unknown])[] = [
		[
			"runs a call at once",
			({ dying, waiting, placed }) => {
				for (const each of [...waiting, placed]) each.leave();
				dying.enterNow();
			},
		],
		["joins the queue", ({ dying }) => enter(dying)],
		["joins it in front of others", ({ dying }) => enter(dying, 3)],
		["comes back to it", ({ dying }) => dying.reenter(0, 0)],
		["ends a call, whose place is its own next one's", ({ running }) => running.dying.leave()],
		[
			"ends a call, whose place is another thread's then",
			({ waiting, running }) => {
				for (const each of waiting) each.leave();
				running.dying.leave();
			},
		],
		["leaves a place that it has got", ({ placed }) => placed.leave()],
		["leaves the queue", ({ waiting }) => waiting[0].leave()],
		["hears that a call may run", ({ threads }) => threads.deliver()],
	];
	test.each(OPERATIONS)("while it %s, at whatever write, gives back what it held", async (_, operation) => {
		let deaths = 0;
		for (let write = 0; ; write++) {
			const all = await busy();
			dyingBlocks(all.threads.of(1).blocks, write);
			try {
				operation(all);
				break;
			} catch (error) {
				if (!(error instanceof Death)) throw error;
				deaths++;
			}
			await expectWhole(all);
		}
		expect(deaths).toBeGreaterThan(1);
	});

	test("before it has said that another thread's call may run is not waited for", async () => {
		const all = await busy();
		const { threads, waiting, running } = all;
		for (const each of waiting) each.leave();
		threads.of(1).diesSignalling = true;
		expect(running.dying.leave).toThrow(Death);
		await expectWhole(all);
	});

	test("while it makes the queue, at whatever write, leaves it to others to make", () => {
		let deaths = 0;
		for (let write = 0; ; write++) {
			const threads = new QueueThreads(BLOCKS);
			const { blocks, queues } = threads.of(1);
			dyingBlocks(blocks, write);
			try {
				queues.queue("fast", SETTINGS);
				break;
			} catch (error) {
				if (!(error instanceof Death)) throw error;
				deaths++;
			}
			threads.die(1);
			const queue = threads.of(2).queues.queue("fast", SETTINGS);
			const entered = Array.from({ length: 54 }, () => queue.enter(0, FOREVER));
			expect(entered.findIndex((each) => "reason" in each)).toBe(53);
			expect(queue.waiting).toBe(50);
		}
		expect(deaths).toBeGreaterThan(5);
	});

	test("leaves the others in their order", async () => {
		const all = await busy();
		const { threads, living, running, behind } = all;
		const served: number[] = [];
		const priorities = [0, 2, 1, 3, 2];
		for (const priority of priorities) {
			threads.now++;
			const { turn, leave } = enter(living, priority);
			void turn.then(() => {
				served.push(priority);
				leave();
			});
		}
		threads.die(1);
		threads.deliverAll();
		// Three have a place at once, those with the highest priorities of all that wait.
		await settle();
		running.living.leave();
		await settle();
		threads.deliverAll();
		await settle();
		expect([served.slice(0, 3).sort(), served.slice(3)]).toEqual([
			[2, 2, 3],
			[1, 0],
		]);
		expect(await Promise.race([behind.turn.then(() => true), settle().then(() => false)])).toBe(true);
	});

	test("twice, or without anything, changes nothing", async () => {
		const all = await busy();
		all.threads.die(1);
		all.threads.die(3);
		await expectWhole(all);
	});
});

/** What a test knows of a call. */
interface Known {
	readonly ticket: Ticket;
	readonly thread: number;
	runs: boolean;
}

test.each([1, 2, 3, 4, 5, 6])(
	"never more run than may, everyone has a turn and no place is lost, whoever comes, goes, waits or dies: seed %d",
	async (seed) => {
		const { below, pick } = random(seed);
		const threads = new QueueThreads(BLOCKS);
		let concurrency = 3;
		const calls = new Set<Known>();
		const line = (thread: number) => threads.of(thread).queues.queue("fast", SETTINGS);
		const know = (ticket: Ticket, thread: number) => {
			const known: Known = { ticket, thread, runs: false };
			calls.add(known);
			void ticket.turn.then(() => {
				known.runs = calls.has(known);
			});
		};
		const count = (isRunning: boolean) => [...calls].filter(({ runs }) => runs === isRunning).length;
		let [deaths, served] = [0, 0];
		const over = (known: Known) => {
			calls.delete(known);
			if (known.runs) served++;
			known.ticket.leave();
		};
		const die = (thread: number) => {
			deaths++;
			for (const known of calls) if (known.thread === thread) calls.delete(known);
			threads.die(thread);
		};
		const steps = {
			comes(thread: number) {
				const entered = line(thread).enter(below(4), FOREVER);
				if ("turn" in entered) know(entered, thread);
			},
			"comes back": (thread: number) => know(line(thread).reenter(below(4), threads.now - below(1_000)), thread),
			"may not wait": (thread: number) => {
				const entered = line(thread).enterNow();
				if (entered) know(entered, thread);
			},
			goes: () => calls.size > 0 && over(pick([...calls])),
			hears: () => threads.deliver(below(Math.max(1, threads.signalled.length))),
		};
		/** Does it, and has the thread die in the midst now and then. */
		const doStep = (name: keyof typeof steps) => {
			const thread = 1 + below(4);
			// Only it may die: views of others are whole.
			const isDying = below(20) === 0 && name !== "goes" && name !== "hears";
			if (isDying) dyingBlocks(threads.of(thread).blocks, below(12));
			try {
				steps[name](thread);
			} catch (error) {
				if (!(error instanceof Death)) throw error;
			}
			if (isDying) die(thread);
		};
		for (let step = 0; step < 4_000; step++) {
			threads.now += below(50);
			doStep(pick(["comes", "comes", "comes back", "may not wait", "goes", "goes", "goes", "hears", "hears"]));
			if (below(100) === 0) die(1 + below(4));
			if (below(100) === 0) {
				// Of those that have got a place all have heard then.
				threads.deliverAll();
				await settle();
				concurrency = pick([2, 3, 4].filter((each) => each >= count(true)));
				threads.of(0).queues.configure([{ name: "fast", concurrency, queue: 50 }]);
			}
			await settle();
			expect(count(true)).toBeLessThanOrEqual(concurrency);
		}
		while (calls.size > 0) {
			threads.deliverAll();
			await settle();
			const running = [...calls].filter(({ runs }) => runs);
			expect(running).toHaveLength(Math.min(calls.size, concurrency));
			over(pick(running));
		}
		expect([deaths, served].map((each) => each > 50)).toEqual([true, true]);
		for (let call = 0; call < concurrency; call++) expect(line(1).enterNow()).toBeDefined();
		expect([line(2).enterNow(), threads.free()]).toEqual([undefined, BLOCKS - 1]);
	},
	60_000,
);
