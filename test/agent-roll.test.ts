/** A rolling change, step by step and in a world of accidents: which replicas are there, which serve, and that never too few do. */
import { describe, expect, test } from "bun:test";
import { firstGenerations } from "../src/agent/models/roll.ts";
import { random } from "./kit/random.ts";
import { Host, made, NEW, OLD, WAIT } from "./kit/roll-host.ts";

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

	test("for the reason that its container's log says, once that has been read", () => {
		const host = begun();
		host.broken.add(1);
		host.step();
		host.fail();
		host.fail();
		host.step({ problem: { reason: "its container ended", fix: "" }, isReadingLog: true });
		expect([host.model.roll?.phase, host.model.last]).toEqual(["starting", undefined]);
		host.step({ problem: { reason: "RuntimeError: CUDA error", fix: "router models load {name}" } });
		expect(host.model.last?.reason).toBe("RuntimeError: CUDA error. What to do: router models load m");
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

	test.each([
		["after its new container failed to start once", 1, 1],
		["after its canary failed once", 3, 1],
	])("where the model is unloaded %s: its next start is of what served", (_, steps, failures) => {
		const host = begun();
		host.run(steps);
		expect(host.model.roll?.phase).toBe(steps === 1 ? "starting" : "canary");
		for (let at = 0; at < failures; at++) host.fail();
		host.isUp = false;
		host.run(3);
		expect(host.model).toMatchObject({ current: OLD, replicas: [0], last: { result: "taken back", hash: "new" } });
		expect(host.model.last?.reason).toStartWith("it was unloaded");
		host.isUp = true;
		host.run();
		expect([host.hashes, host.model.roll]).toEqual([["old"], undefined]);
	});

	test("where its canary is found worse in the moment in which the model is unloaded", () => {
		const host = begun();
		host.run(3);
		host.analysis = { decision: "take back", reason: "bad" };
		host.isUp = false;
		host.run(3);
		expect(host.model).toMatchObject({ current: OLD, last: { result: "taken back", reason: "bad" } });
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

	test.each([2, 3, 8])(
		"without room for one more never has two of %d go at once, where a container frees its memory at its end",
		(count) => {
			const host = new Host(count, 0);
			host.wanted = NEW;
			host.capacity = count;
			host.run(120);
			expect(host.hashes).toEqual(Array.from({ length: count }, () => "new"));
			expect([host.most, host.fewestReady]).toEqual([count, count - 1]);
		},
	);

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

	test("is the next start's where the model is unloaded before a container of it was ready: nothing speaks against it", () => {
		const host = new Host(2);
		host.wanted = NEW;
		host.run(1);
		expect(host.model.roll?.phase).toBe("starting");
		host.isUp = false;
		host.run(3);
		expect([host.model.current, host.model.last, host.model.roll]).toEqual([NEW, undefined, undefined]);
		host.isUp = true;
		host.run();
		expect(host.hashes).toEqual(["new", "new"]);
	});

	test.each(["canary", "replacing"] as const)(
		"is the next start's where the model is unloaded while it is in its phase %s",
		(phase) => {
			const host = new Host(2);
			host.wanted = NEW;
			host.run(4);
			if (phase === "replacing") host.analysis = { decision: "promote", reason: "good" };
			host.step();
			expect(host.model.roll?.phase).toBe(phase);
			host.isUp = false;
			host.run(3);
			expect(host.model).toMatchObject({ current: NEW, replicas: [0, 1], last: { result: "promoted", hash: "new" } });
		},
	);

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

	test("is needed for a newer pinned image once nothing runs: the next start is of that, also where what ran was there before the agent", () => {
		const host = new Host();
		const newer = made("old", "image-newer");
		host.wanted = newer;
		host.model = firstGenerations(newer, 1, [{ replica: 0, image: "image-old" }]);
		host.run();
		expect(host.model.current.image).toBe("image-old");
		host.there.clear();
		host.step({ isUp: false });
		expect(host.model).toMatchObject({ current: newer, replicas: [0] });
	});

	test("has the next start be of a pinned image that was taken back; a newer one is used", () => {
		const host = new Host();
		host.wanted = made("old", "image-bad");
		host.isOrdered = true;
		host.run(3);
		host.analysis = { decision: "take back", reason: "bad" };
		host.run();
		expect(host.model.last).toMatchObject({ result: "taken back", image: "image-bad" });
		host.there.clear();
		host.step({ isUp: false });
		expect(host.model.current.image).toBe("image-old");
		host.wanted = made("old", "image-newer");
		host.there.clear();
		host.step({ isUp: false });
		expect(host.model.current.image).toBe("image-newer");
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
