/** A rolling change, step by step and in a world of accidents: which replicas are there, which serve, and that never too few do. */
import { describe, expect, test } from "bun:test";
import type { CanaryResult } from "../src/agent/models/canary-analysis.ts";
import {
	firstGenerations,
	type Generation,
	type ModelGenerations,
	nextGenerations,
	type RollInputs,
	type Room,
} from "../src/agent/models/roll.ts";
import { random } from "./kit/random.ts";

const made = (hash: string, image = `image-${hash}`): Generation => ({
	hash,
	image,
	spec: { name: "m", model: "org/m" },
});
const OLD = made("old");
const NEW = made("new");
const WAIT: CanaryResult = { decision: "wait", reason: "" };

/** Containers that are there at once and ready at the next step, unless it is said otherwise. */
class Host {
	model: ModelGenerations;
	wanted = OLD;
	isOrdered = false;
	isUp = true;
	analysis: CanaryResult = WAIT;
	room: Room = "yes";
	/** Replicas that never become ready. */
	broken = new Set<number>();
	/** Replicas that still have calls. */
	busy = new Set<number>();
	ready = new Set<number>();
	/** By replica: whose container it is. */
	there = new Map<number, string>();
	/** Most that were there at once, and the fewest that were ready. */
	most = 0;
	fewestReady: number;

	constructor(
		public count = 1,
		public share = 0.1,
	) {
		this.model = firstGenerations(OLD, count, []);
		for (const replica of this.model.replicas) {
			this.there.set(replica, OLD.hash);
			this.ready.add(replica);
		}
		this.fewestReady = count;
	}

	get serving(): number[] {
		return [...this.model.replicas, ...(this.model.roll?.replicas ?? [])].filter((each) => this.ready.has(each));
	}

	get hashes(): string[] {
		return [...this.there.values()].sort();
	}

	fail(): void {
		const { roll } = this.model;
		if (roll) this.model = { ...this.model, roll: { ...roll, failures: roll.failures + 1 } };
	}

	/** A tick of the agent; then what it asks for is done. */
	step(over: Partial<RollInputs> = {}): ModelGenerations {
		const seen: RollInputs = {
			wanted: this.wanted,
			count: this.count,
			share: this.share,
			isOrdered: this.isOrdered,
			isUp: this.isUp,
			now: 1000,
			isReady: (replica) => this.ready.has(replica),
			isThere: (replica) => this.there.has(replica),
			room: this.room,
			isPulled: true,
			analysis: () => this.analysis,
			...over,
		};
		this.model = nextGenerations(this.model, seen);
		this.isOrdered = false;
		const { replicas, leaving, roll, current } = this.model;
		for (const each of this.there.keys()) if (!this.broken.has(each)) this.ready.add(each);
		for (const each of leaving) {
			this.ready.delete(each);
			if (!this.busy.has(each)) this.there.delete(each);
		}
		const wants = [
			...replicas.map((each) => [each, current] as const),
			...(roll?.replicas ?? []).map((each) => [each, roll!.to] as const),
		];
		for (const [replica, { hash }] of wants) {
			const isSurge = roll?.replicas.includes(replica) === true;
			const hasRoom = this.room === "yes" || !isSurge || this.there.size < this.count;
			// One of another generation under its number is replaced, as the supervisor does.
			if (this.there.has(replica) && this.there.get(replica) !== hash) this.ready.delete(replica);
			if (this.there.has(replica) || hasRoom) this.there.set(replica, hash);
		}
		this.most = Math.max(this.most, this.there.size);
		this.fewestReady = Math.min(this.fewestReady, this.serving.length);
		return this.model;
	}

	/** Until a roll is over, or so many steps. */
	run(steps = 40): this {
		for (let at = 0; at < steps; at++) this.step();
		return this;
	}
}

describe("a roll is taken back", () => {
	const begun = (count = 1): Host => {
		const host = new Host(count);
		host.wanted = NEW;
		host.step();
		return host;
	};

	test("where its first container fails twice, and what served serves on", () => {
		const host = begun();
		host.broken.add(1);
		host.step();
		host.fail();
		host.step();
		expect(host.model.roll?.phase).toBe("starting");
		host.fail();
		host.step({ problem: { reason: "no such flag", fix: "" } });
		expect(host.model.last).toMatchObject({ result: "taken back", reason: "no such flag", hash: "new" });
		host.run();
		expect([host.hashes, host.model.roll, host.fewestReady]).toEqual([["old"], undefined, 1]);
	});

	test("where its canary is worse", () => {
		const host = begun();
		host.run(3);
		expect([host.model.roll?.phase, host.serving]).toEqual(["canary", [0, 1]]);
		host.analysis = { decision: "take back", reason: "it failed 3 of 3 calls, the old ones 0 of 30" };
		host.run();
		expect(host.model.last).toMatchObject({ result: "taken back", reason: host.analysis.reason });
		expect([host.hashes, host.model.replicas]).toEqual([["old"], [0]]);
	});

	test("where it will never fit, before anything is touched", () => {
		const host = begun();
		host.room = { reason: "m needs 80 GiB", fix: "" };
		host.there.delete(1);
		host.step();
		host.there.delete(1);
		host.step();
		expect(host.model.last).toMatchObject({ result: "taken back", reason: "m needs 80 GiB" });
		expect(host.serving).toEqual([0]);
	});

	test("where the configuration is changed back meanwhile", () => {
		const host = begun();
		host.run(3);
		host.wanted = OLD;
		host.run();
		expect([host.hashes, host.model.last?.reason]).toEqual([["old"], "its configuration was changed back"]);
	});

	test("once: not again by itself, but when it is ordered, and for another change", () => {
		const host = begun();
		host.run(3);
		host.analysis = { decision: "take back", reason: "bad" };
		host.run();
		host.analysis = WAIT;
		host.run();
		expect(host.model.roll).toBeUndefined();
		host.wanted = made("third");
		host.step();
		expect(host.model.roll?.to.hash).toBe("third");
		host.wanted = NEW;
		host.step();
		expect(host.model.roll?.to.hash).toBe("new");
		host.analysis = { decision: "take back", reason: "bad" };
		host.run();
		host.isOrdered = true;
		host.step();
		expect(host.model.roll?.to.hash).toBe("new");
	});

	test("without room too: the old container that had made room comes back", () => {
		const host = begun();
		host.room = "no";
		host.broken.add(1);
		host.run(4);
		expect(host.hashes).toEqual(["new"]);
		host.fail();
		host.fail();
		host.run();
		expect([host.hashes, host.serving.length, host.model.last?.result]).toEqual([["old"], 1, "taken back"]);
	});
});

describe("a roll of a good canary", () => {
	test.each([1, 2, 3, 8])(
		"replaces %d replicas one after the other, with one more than usual at most, and none less",
		(count) => {
			const host = new Host(count);
			host.wanted = NEW;
			host.run(4);
			expect(host.model.roll?.phase).toBe("canary");
			expect(host.hashes.filter((each) => each === "new")).toHaveLength(1);
			host.analysis = { decision: "promote", reason: "good" };
			host.run(80);
			expect(host.hashes).toEqual(Array.from({ length: count }, () => "new"));
			expect([host.most, host.fewestReady]).toEqual([count + 1, count]);
			expect(host.model.last).toMatchObject({ result: "promoted", reason: "good", hash: "new" });
			expect(host.model.current).toBe(NEW);
		},
	);

	test("waits for the calls of a container before the next one goes", () => {
		const host = new Host(2, 0);
		host.wanted = NEW;
		host.busy.add(1);
		host.run(20);
		expect([host.hashes, host.model.leaving]).toEqual([["new", "old", "old"], [1]]);
		host.busy.clear();
		host.run(20);
		expect(host.hashes).toEqual(["new", "new"]);
	});

	test("without room takes the place of one old container after the other", () => {
		const host = new Host(3, 0);
		host.wanted = NEW;
		host.room = "no";
		host.run(60);
		expect(host.hashes).toEqual(["new", "new", "new"]);
		expect([host.most, host.fewestReady]).toEqual([3, 2]);
	});

	test("without room for a second container of the only one replaces that one once its image is here", () => {
		const host = new Host(1);
		host.wanted = NEW;
		host.room = "no";
		for (let at = 0; at < 5; at++) host.step({ isPulled: false });
		expect(host.hashes).toEqual(["old"]);
		host.analysis = { decision: "promote", reason: "good" };
		host.run();
		expect([host.hashes, host.most]).toEqual([["new"], 1]);
	});

	test("gives its numbers free for the next roll", () => {
		const host = new Host(2, 0);
		for (const hash of ["a", "b", "c", "d"]) {
			host.wanted = made(hash);
			host.run(40);
			expect(host.hashes).toEqual([hash, hash]);
			expect(Math.max(...host.model.replicas)).toBeLessThan(5);
		}
	});
});

describe("no roll", () => {
	test("is begun for another pinned image alone: what runs keeps its own until a roll is ordered", () => {
		const host = new Host();
		host.wanted = made("old", "image-newer");
		host.run();
		expect(host.model).toMatchObject({ current: { image: "image-old" }, replicas: [0] });
		host.isOrdered = true;
		host.step();
		expect(host.model.roll?.to.image).toBe("image-newer");
	});

	test.each([
		["that is to be down", false],
		["of which nothing is ready", true],
	])("is needed for a model %s", (_, isUp) => {
		const host = new Host();
		host.isUp = isUp;
		host.wanted = NEW;
		host.step({ isReady: () => false });
		expect(host.model).toMatchObject({ current: NEW, replicas: [0] });
		expect(host.model.roll).toBeUndefined();
	});

	test("is needed to have more replicas, or fewer: those that go finish their calls", () => {
		const host = new Host(1);
		host.count = 3;
		host.step();
		expect(host.model.replicas).toEqual([0, 1, 2]);
		host.run(3);
		host.busy.add(2);
		host.count = 1;
		host.step();
		expect(host.model).toMatchObject({ replicas: [0], leaving: [1, 2] });
		host.run(2);
		expect(host.model.leaving).toEqual([2]);
	});
});

test("containers that run already keep their numbers and their image", () => {
	const running = [
		{ replica: 3, image: "image-older" },
		{ replica: 1, image: "image-older" },
	];
	expect(firstGenerations(OLD, 3, running)).toEqual({
		current: { ...OLD, image: "image-older" },
		replicas: [0, 1, 3],
		leaving: [],
	});
});

test("whatever happens: no two replicas have one number, a model is never without any, and a roll ends with one generation", () => {
	for (let seed = 1; seed <= 200; seed++) {
		const draw = random(seed);
		const host = new Host(1 + draw.below(4), draw.pick([0, 0.1, 1]));
		for (let at = 0; at < 150; at++) {
			const what = draw.below(12);
			if (what === 0) host.wanted = made(`h${draw.below(4)}`);
			if (what === 1) host.isOrdered = true;
			if (what === 2) host.analysis = { decision: draw.pick(["wait", "promote", "take back"] as const), reason: "why" };
			if (what === 3) host.room = draw.pick(["yes", "no", "unknown"] as const);
			if (what === 4) host.fail();
			host.step();
			const { replicas, leaving, roll } = host.model;
			const all = [...replicas, ...leaving, ...(roll?.replicas ?? [])];
			expect(new Set(all).size).toBe(all.length);
			expect(replicas.length + (roll?.replicas.length ?? 0)).toBeGreaterThan(0);
		}
		host.analysis = { decision: "promote", reason: "good" };
		host.room = "yes";
		host.run(60);
		expect([seed, host.model.roll, host.there.size]).toEqual([seed, undefined, host.count]);
		expect(new Set(host.hashes)).toEqual(new Set([host.model.current.hash]));
	}
});
