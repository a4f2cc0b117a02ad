/** What agents report of their engines' prefix caches, as a router keeps it and chooses by it. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { Heartbeat, type ModelReport, type PrefixReport } from "../src/protocol/agent.ts";
import { BLOCK, type PrefixCache, promptOf } from "../src/routing/affinity.ts";
import { HELD_CELLS, HeldBlocks, HeldSlabs, MOST_HELD_BLOCKS, makeHeld } from "../src/routing/held-blocks.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";
import { encodeBlocks } from "../src/routing/routing-message.ts";
import { makePrefixes } from "../src/routing/shared-prefixes.ts";
import { makeRoutingMemory, SharedRoutingState } from "../src/routing/shared-routing-state.ts";
import { MOST_TARGETS } from "../src/routing/target-state.ts";
import { AgentPrefixes } from "../src/server/agents/agent-prefixes.ts";
import { fleetRig } from "./kit/fleet.ts";
import { random } from "./kit/random.ts";
import { call, replica, route } from "./kit/routes.ts";
import { ROUTING_KINDS } from "./kit/routing-kinds.ts";

const NONE = new Int32Array(0);
const all = (blocks: Int32Array) => ({ isAll: true, added: blocks, removed: NONE });
const text = (seed: number, blocks: number) =>
	Array.from({ length: blocks }, (_, at) => `${seed}-${at}`.padEnd(BLOCK, "abcdefg")).join("");

describe("a set of blocks", () => {
	test("is what a plain set is, whatever comes and goes, 0 and 1 among it", () => {
		for (let seed = 1; seed <= 10; seed++) {
			const { below } = random(seed);
			const held = HeldBlocks.for(200);
			const plain = new Set<number>();
			for (let step = 0; step < 5_000; step++) {
				const block = below(4) === 0 ? below(2) : (1 + below(400)) * 1_024;
				const isAdded = plain.size < 200 && below(2) === 0;
				if (isAdded) plain.add(block);
				else plain.delete(block);
				const changed = Int32Array.of(block);
				held.take({ isAll: false, added: isAdded ? changed : NONE, removed: isAdded ? NONE : changed });
			}
			const possible = [0, 1, ...Array.from({ length: 400 }, (_, at) => (1 + at) * 1_024)];
			expect(possible.filter((block) => held.has(block))).toEqual(possible.filter((block) => plain.has(block)));
			expect(held.count).toBe(plain.size);
		}
	});

	test("takes no more than it has room for, and says no of the rest", () => {
		const held = new HeldBlocks(new Int32Array(HELD_CELLS));
		held.take(all(Int32Array.from({ length: MOST_HELD_BLOCKS + 100 }, (_, at) => at * 7 + 5)));
		expect(held.count).toBe(MOST_HELD_BLOCKS);
		expect(held.has(MOST_HELD_BLOCKS * 7 + 5)).toBe(false);
		held.take(all(Int32Array.of(9)));
		expect([held.count, held.has(9), held.has(5)]).toEqual([1, true, false]);
	});

	test("of a slot that is another target's now is free, and nobody reads it as that one's", () => {
		const targets = new Int32Array(new SharedArrayBuffer(64));
		const memory = makeHeld();
		const slabs = new HeldSlabs(memory, targets, (number) => number);
		slabs.give(0)!.take(all(Int32Array.of(5, 6)));
		slabs.give(1)!.take(all(Int32Array.of(7)));
		const before = memory.byteLength;
		targets[0] = 0;
		expect(slabs.give(2)!.count).toBe(0);
		expect([memory.byteLength, targets[2], slabs.blocks(targets[1]! - 1).has(7)]).toEqual([before, 1, true]);
	});
});

test("a set that holds as many as it may is not made anew with each report", () => {
	const state = new LocalRoutingState();
	const set = () => (state.of("a/m").prefixes as PrefixCache).held;
	const many = Int32Array.from({ length: MOST_HELD_BLOCKS }, (_, at) => at * 40_503 + 5);
	for (let at = 0; at < many.length; at += 1_024) {
		state.reported("a/m", { isAll: at === 0, added: many.subarray(at, at + 1_024), removed: NONE });
	}
	const before = set();
	expect(before?.count).toBe(MOST_HELD_BLOCKS);
	state.reported("a/m", { isAll: false, added: Int32Array.of(6, 7), removed: many.subarray(0, 2) });
	expect([set() === before, before?.has(6), before?.count]).toEqual([true, true, MOST_HELD_BLOCKS]);
});

describe("where the machine has no memory left for what threads share", () => {
	const full = (memory: SharedArrayBuffer) =>
		new SharedArrayBuffer(memory.byteLength, { maxByteLength: memory.byteLength });

	test("a report of a target's blocks changes nothing, and its slot is let go", () => {
		const state = new SharedRoutingState({ ...makeRoutingMemory(), held: full(makeHeld()) }, { thread: 0, offset: 0 });
		const { blocks } = promptOf("", [text(1, 4)]);
		state.pause("a/m", 60_000, "asked to be left alone");
		state.reported("a/m", all(blocks));
		expect(state.of("a/m").prefixes!.uncached(promptOf("", [text(1, 4)]))).toBe(4 * BLOCK);
		// One that is held makes no room.
		for (let at = 0; at < MOST_TARGETS; at++) state.pause(`b/${at}`, 60_000, "asked to be left alone");
		expect(state.of("a/m").pausedFor).toBe("");
	});

	test("a target that is given a prompt has the memory of the one that was given its last longest ago", () => {
		const memory = { ...makeRoutingMemory(), prefixes: full(makePrefixes()) };
		const state = new SharedRoutingState(memory, { thread: 0, offset: 0 });
		const prompt = promptOf("", [text(1, 4)]);
		for (let at = 0; at < 50; at++) state.opened(`a/${at}`, true, { prompt }).closed({});
		expect(state.of("a/49").prefixes!.uncached(prompt)).toBeLessThan(BLOCK);
		expect(state.of("a/0").prefixes).toBeUndefined();
	});
});

describe.each(ROUTING_KINDS)("a router of %s", (_, { Clock }) => {
	const prompt = text(1, 40);
	const { blocks } = promptOf("", [prompt]);
	const way = route([replica("a/m"), replica("b/m")]);
	const first = (clock: InstanceType<typeof Clock>) => clock.plan(call(prompt), way, () => 0.5).targets[0]!.id;
	const opened = (clock: InstanceType<typeof Clock>, target: string) =>
		clock.state.opened(target, true, { prompt: promptOf("", [prompt]) }).closed({});

	test("sends a prompt where its agent says that it is, though it was sent elsewhere", () => {
		const clock = new Clock();
		clock.state.reported("b/m", all(blocks));
		expect(first(clock)).toBe("b/m");
		expect(clock.state.of("b/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(1);
		clock.state.reported("b/m", { isAll: false, added: NONE, removed: blocks.slice(30) });
		expect(clock.state.of("b/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(10 * BLOCK);
	});

	test("forgets at once what was evicted, whoever had guessed that it is there", () => {
		const clock = new Clock();
		opened(clock, "a/m");
		opened(clock, "b/m");
		clock.state.reported("a/m", all(blocks));
		clock.state.reported("b/m", all(blocks.slice(0, 8)));
		clock.state.reported("a/m", { isAll: false, added: NONE, removed: blocks });
		expect(clock.state.of("a/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(prompt.length);
		expect(first(clock)).toBe("b/m");
		// What it is given from now on counts until the next report.
		opened(clock, "a/m");
		expect(clock.state.of("a/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(1);
	});

	test("takes a restart, and the end of reports, as what it knew before", () => {
		const clock = new Clock();
		opened(clock, "a/m");
		clock.state.reported("a/m", all(blocks));
		clock.state.restarted("a/m");
		// Its agent says when that is gone.
		expect(clock.state.of("a/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(1);
		clock.state.reported("a/m", undefined);
		expect(clock.state.of("a/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(prompt.length);
		opened(clock, "a/m");
		expect(clock.state.of("a/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(1);
		clock.state.reported("z/m", undefined);
	});

	test("keeps as many blocks as an engine may have", () => {
		const clock = new Clock();
		const many = Int32Array.from({ length: 10_000 }, (_, at) => at * 40_503);
		for (let at = 0; at < many.length; at += 100) {
			clock.state.reported("a/m", { isAll: at === 0, added: many.subarray(at, at + 100), removed: NONE });
		}
		clock.state.reported("a/m", { isAll: false, added: blocks, removed: many.subarray(0, 5_000) });
		expect(clock.state.of("a/m").prefixes!.uncached(promptOf("", [prompt]))).toBe(1);
		const held = clock.state.of("a/m").prefixes!.held!;
		expect([held.count, held.has(many[7_000]!), held.has(many[10]!)]).toEqual([5_000 + blocks.length, true, false]);
	});
});

describe("reports of an agent", () => {
	const model = { name: "m", state: "ready" } as const;
	const models = new Map<string, ModelReport>([
		["m", model],
		["two", { name: "two", state: "ready", replicas: [0, 1].map((each) => ({ replica: each, state: "ready" })) }],
	]);
	const blocks = encodeBlocks(Int32Array.of(5, 6, 7));

	function agents() {
		const told: [string, number, number, boolean][] = [];
		const prefixes = new AgentPrefixes({
			reported: (target, report) =>
				void told.push([target, report?.added.length ?? -1, report?.removed.length ?? -1, report?.isAll === true]),
		});
		const take = (...reports: PrefixReport[]) => prefixes.take("gpu-1", models, reports);
		return { prefixes, take, told };
	}

	test("that come after a version which nobody has are asked for whole, and change nothing", () => {
		const { take, told } = agents();
		expect(take({ model: "m", replica: 0, version: 2, since: 1, added: blocks })).toEqual(["m#0"]);
		expect(told).toEqual([]);
		take({ model: "m", replica: 0, version: 3, added: blocks });
		expect(take({ model: "m", replica: 0, version: 4, since: 3, removed: blocks })).toEqual([]);
		expect(take({ model: "m", replica: 0, version: 6, since: 5, removed: blocks })).toEqual(["m#0"]);
		expect(told).toEqual([
			["local/gpu-1/m", 3, 0, true],
			["local/gpu-1/m", 0, 3, false],
		]);
	});

	test("of a model that it does not serve are passed over, those of several replicas are of each", () => {
		const { take, told } = agents();
		take(
			{ model: "other", replica: 0, version: 1, added: blocks },
			{ model: "two", replica: 1, version: 1, added: blocks },
		);
		expect(told).toEqual([["local/gpu-1/two#1", 3, 0, true]]);
	});

	test("are 5.4 bytes a block as text: 53 KB for 10,000, and a replica's most fit what a heartbeat takes", () => {
		expect(encodeBlocks(Int32Array.from({ length: 10_000 }, (_, at) => at * 40_503)).length).toBe(53_336);
		const check = TypeCompiler.Compile(Heartbeat);
		const most = encodeBlocks(new Int32Array(MOST_HELD_BLOCKS));
		const heartbeat = (added: string) => ({
			name: "gpu-1",
			models: ["m"],
			prefixes: [{ model: "m", replica: 0, version: 1, added }],
		});
		expect([check.Check(heartbeat(most)), check.Check(heartbeat(`${most}AAAA`))]).toEqual([true, false]);
	});

	describe("of a replica that is another target than before", () => {
		const replicas = (...numbers: number[]) =>
			new Map([["m", { ...model, replicas: numbers.map((replica) => ({ replica, state: "ready" as const })) }]]);

		test("leave nothing where it was", () => {
			const { prefixes, told } = agents();
			prefixes.take("gpu-1", replicas(0), [{ model: "m", replica: 0, version: 1, added: blocks }]);
			const news = [{ model: "m", replica: 0, version: 2, since: 1, added: blocks }];
			expect(prefixes.take("gpu-1", replicas(0, 1), news)).toEqual(["m#0"]);
			prefixes.take("gpu-1", replicas(0, 1), [{ model: "m", replica: 0, version: 3, added: blocks }]);
			expect(told.map(([target, added]) => [target, added])).toEqual([
				["local/gpu-1/m", 3],
				["local/gpu-1/m", -1],
				["local/gpu-1/m#0", 3],
			]);
		});

		test("do not take from the one that is left what it has", () => {
			const { prefixes, told } = agents();
			const whole = [0, 1].map((replica) => ({ model: "m", replica, version: 1, added: blocks }));
			prefixes.take("gpu-1", replicas(0, 1), whole);
			prefixes.take("gpu-1", replicas(1), [{ model: "m", replica: 1, version: 2, added: blocks }]);
			prefixes.take("gpu-1", replicas(1), [{ model: "m", replica: 0, version: 1 }]);
			expect(told.slice(2).map(([target, added]) => [target, added])).toEqual([
				["local/gpu-1/m#1", -1],
				["local/gpu-1/m", 3],
				["local/gpu-1/m#0", -1],
			]);
		});

		test("do not hide that the one that is left has nothing more", () => {
			const { prefixes, told } = agents();
			const whole = [0, 1].map((replica) => ({ model: "m", replica, version: 1, added: blocks }));
			prefixes.take("gpu-1", replicas(0, 1), whole);
			prefixes.take("gpu-1", replicas(1), [{ model: "m", replica: 1, version: 2, added: blocks }]);
			prefixes.take("gpu-1", replicas(1), [{ model: "m", replica: 0, version: 1 }]);
			prefixes.take("gpu-1", replicas(1), [{ model: "m", replica: 1, version: 3 }]);
			expect(told.at(-1)).toEqual(["local/gpu-1/m", 0, 0, true]);
		});

		test("or of a model that the agent has no more, leave nothing", () => {
			const { prefixes, told } = agents();
			prefixes.take("gpu-1", replicas(0), [{ model: "m", replica: 0, version: 1, added: blocks }]);
			prefixes.take("gpu-1", new Map(), [{ model: "m", replica: 0, version: 1 }]);
			expect(told.at(-1)).toEqual(["local/gpu-1/m", -1, -1, false]);
		});
	});

	test("of before it registered again do not count: it may be another process", async () => {
		const directory = mkdtempSync(join(tmpdir(), "prefixes-"));
		const rig = fleetRig(directory);
		await rig.register("gpu-1", ["m"]);
		const reports = [{ model: "m", replica: 0, version: 1, added: blocks }];
		await rig.registry.heartbeat(
			{ ...{ name: "gpu-1", instance: "gpu-1-a", models: ["m"] }, prefixes: reports },
			() => true,
		);
		const held = () => rig.targets.of("local/gpu-1/m").prefixes?.held?.count ?? 0;
		expect(held()).toBe(3);
		await rig.register("gpu-1", ["m"]);
		expect(held()).toBe(0);
		const news = [{ model: "m", replica: 0, version: 2, since: 1, added: blocks }];
		const heartbeat = { ...{ name: "gpu-1", instance: "gpu-1-a", models: ["m"] }, prefixes: news };
		expect(await rig.registry.heartbeat(heartbeat, () => true)).toEqual({ resend: ["m#0"] });
		rig.close();
		rmSync(directory, { recursive: true });
	});

	test("that end are not counted any more", () => {
		const { prefixes, take, told } = agents();
		take({ model: "m", replica: 0, version: 1, added: blocks });
		prefixes.take("gpu-1", models, undefined);
		prefixes.take("gpu-1", models, undefined);
		expect(told.slice(1)).toEqual([["local/gpu-1/m", -1, -1, false]]);
		expect(take({ model: "m", replica: 0, version: 2, since: 1 })).toEqual(["m#0"]);
	});
});
