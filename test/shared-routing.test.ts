/** What is known of targets, in memory that several workers share: what one of them does the others know, exactly, also when one dies. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type Breaker, CLOSED, LEAST_GAP_MS, PROBE_MS } from "../src/routing/breaker.ts";
import { SharedBreaker, writeBreaker } from "../src/routing/shared-breaker.ts";
import { OFFSETS, RoutingThread, RoutingThreads } from "./kit/routing-threads.ts";

const TARGETS = ["a/m", "b/m", "c/m", "d/m", "e/m"];
const PROMPT = "x".repeat(1_000);
/** Of it only what fills no block of 256 characters has to be computed again. */
const REST = 1_000 - 768;

let workers: RoutingThread[];
let threads: RoutingThreads;

beforeAll(async () => {
	workers = [];
	// One after the other: Bun's workers don't like to be started at once.
	for (let number = 1; number <= 4; number++) {
		const worker = new RoutingThread(number);
		await RoutingThreads.over(worker);
		workers.push(worker);
	}
});
afterAll(async () => {
	for (const worker of workers) await worker.end();
});
beforeEach(async () => {
	threads = await RoutingThreads.over(...workers);
});

const views = (target: string) => threads.all(() => ["view", target]);

describe("calls under way", () => {
	test("are counted exactly, whatever four workers do at once and however many names they make up", async () => {
		await threads.all(({ number }) => ["hammer", TARGETS, 4_000, number]);
		for (const target of TARGETS) {
			expect(threads.main.of(target)).toMatchObject({ inFlight: 10, waiting: 10, queuedCharacters: 1_000 });
		}
		expect((await views("c/m")).map(({ inFlight }) => inFlight)).toEqual([10, 10, 10, 10]);
		await threads.all(() => ["closeAll", {}]);
		for (const target of TARGETS) {
			const nothing = { inFlight: 0, waiting: 0, queuedCharacters: 0, waitingSince: undefined };
			expect(threads.main.of(target)).toMatchObject(nothing);
		}
	});

	test("are known with the oldest that waits, whichever worker has it, on each one's own clock", async () => {
		threads.now = 100_000;
		const oldest = await workers[2]!.tell("open", "a/m", true);
		threads.now = 101_000;
		await workers[0]!.tell("open", "a/m", true);
		await workers[2]!.tell("open", "a/m", true);
		const waited = async () => (await views("a/m")).map(({ waitingSince, now }) => now - waitingSince!);
		expect(await waited()).toEqual([1_000, 1_000, 1_000, 1_000]);
		threads.now = 103_000;
		await workers[2]!.tell("firstToken", oldest);
		expect(await waited()).toEqual([2_000, 2_000, 2_000, 2_000]);
		expect(threads.main.of("a/m")).toMatchObject({ inFlight: 3, waiting: 2, waitingSince: 101_000 });
	});

	test("at more targets than there is room for are made all the same, and those that found room are counted", () => {
		const state = threads.main;
		const open = Array.from({ length: 2_100 }, (_, at) => state.opened(`box/${at}`, true));
		expect([state.of("box/0").inFlight, state.of("box/1999").inFlight]).toEqual([1, 1]);
		expect([state.of("box/2000").inFlight, state.of("box/2099").inFlight]).toEqual([0, 0]);
		for (const attempt of open) attempt.closed({});
		expect(state.of("box/0").inFlight).toBe(0);
		state.opened("box/2099", true);
		expect(state.of("box/2099").inFlight).toBe(1);
	});
});

describe("a target's health", () => {
	test("a breaker opens by failures of several workers, and all of them know", async () => {
		for (const worker of workers)
			await worker.tell("close", await worker.tell("open", "a/m", true), { failure: "timeout" });
		expect(threads.main.of("a/m").breaker).toMatchObject({ state: "closed", consecutive: 4 });
		await workers[1]!.tell("close", await workers[1]!.tell("open", "a/m", true), { failure: "timeout" });
		expect((await views("a/m")).map(({ breaker }) => breaker.state)).toEqual(["open", "open", "open", "open"]);
		expect([...threads.main.breakers()]).toEqual([["a/m", "open"]]);
		expect(threads.main.openings).toBe(1);
	});

	test("it opens once, however many failures come at once", async () => {
		await threads.all(() => ["fail", "a/m", 50]);
		expect([threads.main.openings, threads.main.of("a/m").breaker.state]).toEqual([1, "open"]);
	});

	test("of four workers' attempts after its pause one is the probe", async () => {
		const rounds = await threads.all(() => ["probe", 300]);
		const probes = rounds[0]!.map((_, round) => rounds.filter((each) => each[round]).length);
		expect(probes).toEqual(new Array(300).fill(1));
	});

	test("a probe of one worker brings it back for all, by its first token", async () => {
		for (let at = 0; at < 5; at++) threads.main.opened("a/m", true).closed({ failure: "timeout" });
		threads.now = 5_000;
		const probe = await workers[3]!.tell("open", "a/m", true);
		const other = await workers[2]!.tell("open", "a/m", true);
		await workers[2]!.tell("firstToken", other);
		expect((await views("a/m")).map(({ breaker }) => breaker.state)).toEqual(new Array(4).fill("probing"));
		await workers[3]!.tell("firstToken", probe);
		expect((await views("a/m")).map(({ breaker }) => breaker.state)).toEqual(new Array(4).fill("closed"));
		const sinceClosed = (await views("a/m")).map(({ breaker, now }) => now - breaker.closedAt);
		expect(sinceClosed).toEqual([0, 0, 0, 0]);
	});

	test("is read whole while another worker changes it", async () => {
		const ints = new Int32Array(threads.parts.breaker);
		const floats = new Float64Array(threads.parts.breaker);
		const address = { ints, floats, sequence: 1, prober: 2, cells: 2 };
		writeBreaker(address, { ...CLOSED, closedAt: 1e6 + 1 });
		const breaker = new SharedBreaker(address, 0, 0);
		// What is seen while the other worker is interrupted in a change is what was seen before.
		expect(breaker.view.closedAt).toBe(1e6 + 1);
		const flipping = workers[0]!.tell("flip");
		const seen = new Set<string>();
		let torn: Breaker | undefined;
		for (let look = 0; !torn && (look < 300_000 || seen.size < 3); look++) {
			const { view } = breaker;
			const { state, pauseMs, probeAt, probedAt, closedAt } = view;
			seen.add(state);
			const isWhole = {
				open: (probeAt - pauseMs) % 2e6 === 0 && closedAt === Number.NEGATIVE_INFINITY,
				probing: probedAt % 2e6 === 1e6 && probeAt === probedAt + PROBE_MS,
				closed: probeAt === 0 && probedAt === Number.NEGATIVE_INFINITY && closedAt % 2e6 === 1e6 + 1,
			}[state];
			if (!isWhole) torn = view;
		}
		threads.told = 1;
		await flipping;
		expect(torn).toBeUndefined();
	});

	test("times, pauses and refused connections are known to all, on each one's own clock", async () => {
		threads.now = 50_000;
		const stream = await workers[0]!.tell("open", "a/m", true);
		const whole = await workers[1]!.tell("open", "a/m", false);
		threads.now = 50_300;
		await workers[0]!.tell("firstToken", stream);
		await workers[1]!.tell("close", whole, { tokens: 40 });
		await workers[0]!.tell("close", stream, { failure: "rate", status: 429, retryAfterMs: 7_000 });
		for (const { means, pausedUntil, pausedFor, now } of await views("a/m")) {
			expect([means, pausedUntil - now, pausedFor]).toEqual([[300, 300, 40], 7_000, "asked to be left alone"]);
		}
		await workers[2]!.tell("pause", "a/m", 9_000);
		for (const { pausedUntil, pausedFor, now } of await views("a/m")) {
			expect([pausedUntil - now, pausedFor]).toEqual([9_000, "its key is out of use"]);
		}
		await workers[3]!.tell("close", await workers[3]!.tell("open", "a/m", true), { failure: "transport" });
		expect((await views("a/m")).map(({ isUnreachable }) => isUnreachable)).toEqual([true, true, true, true]);
	});
});

describe("sessions and prompts", () => {
	test("a session is known to all workers, also to those that have never called its target", async () => {
		await workers[0]!.tell("open", "gpu-1/m", true, PROMPT, "chat-1");
		const of = (name: string) => threads.all(() => ["session", name]);
		expect(await of("chat-1")).toEqual(new Array(4).fill("gpu-1/m"));
		expect(await of("chat-2")).toEqual(new Array(4).fill(undefined));
		await workers[3]!.tell("open", "gpu-2/m", true, PROMPT, "chat-1");
		expect(await of("chat-1")).toEqual(new Array(4).fill("gpu-2/m"));
	});

	test("of endlessly many sessions the last ten thousand are remembered", () => {
		const state = threads.main;
		const blocks = new Int32Array(0);
		const name = (at: number) => `session ${at}`;
		for (let at = 0; at < 100_000; at++) {
			state.opened(TARGETS[at % 5]!, true, { prompt: { characters: 1, blocks }, session: name(at) }).closed({});
		}
		for (let at = 90_000; at < 100_000; at++) expect(state.session(name(at))).toBe(TARGETS[at % 5]!);
		const remembered = Array.from({ length: 100_000 }, (_, at) => state.session(name(at))).filter(Boolean);
		expect(remembered.length).toBeLessThanOrEqual(65_536);
		expect(state.session(name(0))).toBeUndefined();
	});

	test("a session goes with its target, when that is forgotten and its slot is another's", () => {
		const state = threads.main;
		const prompt = { characters: 1, blocks: new Int32Array(0) };
		state.opened("gpu-1/m", true, { prompt, session: "chat-1" }).closed({});
		for (let at = 0; at < 3_000; at++) state.opened(`box/${at}`, true).closed({});
		expect(state.session("chat-1")).toBeUndefined();
	});

	test("a prompt that one worker has sent is in the target's cache for all, until one says that it was started anew", async () => {
		const uncached = () => threads.all(() => ["uncached", "gpu-1/m", PROMPT]);
		expect(await uncached()).toEqual(new Array(4).fill(undefined));
		await workers[1]!.tell("open", "gpu-1/m", true, PROMPT);
		expect(await uncached()).toEqual(new Array(4).fill(REST));
		await workers[2]!.tell("restarted", "gpu-1/m");
		expect(await uncached()).toEqual(new Array(4).fill(1_000));
		await workers[3]!.tell("open", "gpu-1/m", true, PROMPT);
		await workers[0]!.tell("close", await workers[0]!.tell("open", "gpu-1/m", true), { failure: "transport" });
		expect(await uncached()).toEqual(new Array(4).fill(1_000));
	});
});

describe("a worker that dies", () => {
	test("gives back what its calls were counted as, and its probe is over", async () => {
		const worker = new RoutingThread(4);
		threads = await RoutingThreads.over(worker, workers[0]!);
		const { main } = threads;
		for (let at = 0; at < 5; at++) main.opened("b/m", true).closed({ failure: "timeout" });
		threads.now = 9_000;
		for (const target of ["a/m", "a/m", "b/m"]) await worker.tell("open", target, true, PROMPT, "chat-1");
		threads.now = 10_000;
		await workers[0]!.tell("open", "a/m", true, PROMPT);
		expect(main.of("a/m")).toMatchObject({ inFlight: 3, waiting: 3, waitingSince: 9_000 });
		expect(main.of("b/m").breaker.state).toBe("probing");
		threads.now = 10_500;
		await worker.end();
		main.freed(4);
		const own = await workers[0]!.tell("view", "a/m");
		expect(own).toMatchObject({ inFlight: 1, waiting: 1, waitingSince: 10_000 - OFFSETS[1], queuedCharacters: REST });
		expect(main.of("b/m")).toMatchObject({ inFlight: 0, waiting: 0, queuedCharacters: 0 });
		expect(main.of("b/m").breaker).toMatchObject({ state: "open", probeAt: 9_000 + LEAST_GAP_MS });
		// What its calls had told stays.
		expect(main.session("chat-1")).toBe("b/m");
	});

	test("in the middle of whatever it does keeps nobody waiting and leaves nothing counted", async () => {
		for (let round = 0; round < 12; round++) {
			const worker = new RoutingThread(4);
			threads = await RoutingThreads.over(worker);
			const { main } = threads;
			const own = main.opened("a/m", true);
			void worker.tell("hammerOn", "a/m");
			while (threads.told < 200 + round * 37) await Bun.sleep(1);
			await worker.end();
			main.freed(4);
			expect(main.of("a/m")).toMatchObject({ inFlight: 1, waiting: 1, queuedCharacters: 0 });
			own.firstToken();
			own.closed({});
			main.opened("a/m", true, { prompt: { characters: 5, blocks: new Int32Array([1]) }, session: "s" }).closed({});
			main.opened("new/m", true).closed({ failure: "timeout" });
			expect(main.of("a/m")).toMatchObject({ inFlight: 0, waiting: 0, queuedCharacters: 0, waitingSince: undefined });
			expect([main.session("s"), main.of("new/m").breaker.consecutive]).toEqual(["a/m", 1]);
		}
	});
});
