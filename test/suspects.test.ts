/** Calls that engines may have died of: who is suspected, who is refused, who is free, and where each may go. */
import { describe, expect, test } from "bun:test";
import { type SuspectSituation, type SuspectTarget, suspectStep } from "../src/proxy/suspect-step.ts";
import type { RouteTarget } from "../src/routing/route.ts";
import { SUSPECT_KINDS, suspectHolder } from "./kit/suspect-kinds.ts";

describe.each(SUSPECT_KINDS)("known to %s:", (_, make) => {
	const holder = () => suspectHolder(make);

	describe("when an engine dies", () => {
		test("nobody need ask before; from then on everybody has to", () => {
			const { suspects, dies } = holder();
			expect(suspects.hasAny).toBe(false);
			dies("x");
			expect(suspects.hasAny).toBe(true);
		});

		test("calls without a token are suspected, those with one are bystanders; it is one death however many report it", () => {
			const { suspects, events, dies } = holder();
			expect(["x", "y"].map((each) => dies(each))).toEqual(["suspect", "suspect"]);
			expect(dies("z", { hasTokens: true })).toBe("bystander");
			expect(dies("x")).toBe("suspect");
			expect(["x", "y", "z"].map((each) => suspects.stateOf(each))).toEqual(["suspect", "suspect", "clear"]);
			expect(events.map(({ what }) => what)).toEqual(["died"]);
		});

		test("its image explains it where that is on trial: no call is suspected, however often", () => {
			const { suspects, dies, events } = holder();
			const target = { id: "gpu-1/m#2", isCanary: true } as RouteTarget;
			expect([dies("x", { target }), dies("x", { target, engine: "b" })]).toEqual(["bystander", "bystander"]);
			expect(suspects.stateOf("x")).toBe("clear");
			expect(events.map(({ what }) => what)).toEqual(["died", "died"]);
			expect(dies("x", { engine: "c" })).toBe("suspect");
		});

		test("a call that came to the dead one only then has done nothing, as long as its server still answers", () => {
			const { clock, suspects, dies } = holder();
			dies("x");
			for (let late = 0; late < 10; late++) {
				clock.now += 10_000;
				expect(dies("y", { startedAt: clock.now - 1, wasWell: false })).toBe("bystander");
			}
			expect(suspects.stateOf("y")).toBe("clear");
			clock.now += 15_000;
			expect(dies("y", { startedAt: clock.now - 1, wasWell: false })).toBe("suspect");
		});

		test("a call that waited for its restart, and then met its death, may be the cause of that one", () => {
			const { clock, suspects, dies, events } = holder();
			dies("x");
			clock.now += 5_000;
			expect(dies("y", { startedAt: clock.now - 1_000, wasWell: false })).toBe("suspect");
			expect(dies("z", { startedAt: clock.now - 900, wasWell: false })).toBe("suspect");
			expect(suspects.stateOf("y")).toBe("suspect");
			expect(events.length).toBe(2);
		});

		test("a call that came when it was found to be back may be the cause, however soon that one dies", () => {
			const { clock, suspects, dies } = holder();
			dies("x");
			clock.now += 2_000;
			suspects.cameBack("a");
			clock.now += 100;
			expect(dies("y", { startedAt: clock.now - 50, wasWell: false })).toBe("suspect");
		});

		test("one that had answered since dies anew", () => {
			const { clock, dies, events } = holder();
			dies("x");
			clock.now += 1_000;
			expect(dies("y", { startedAt: clock.now - 1, wasWell: true })).toBe("suspect");
			expect(events.length).toBe(2);
		});

		test("an attempt that broke without a word was there if it began before the death", () => {
			const { clock, suspects, dies } = holder();
			dies("x");
			expect(suspects.diedSince("a", clock.now - 1)).toBe(true);
			expect(suspects.diedSince("a", clock.now)).toBe(false);
			expect(suspects.diedSince("b", 0)).toBe(false);
		});
	});

	describe("an engine that has died", () => {
		test("is back when its agent says so again, or says so long after its death", () => {
			const { clock, suspects, dies } = holder();
			dies("x");
			suspects.reportedReady("a", false);
			clock.now += 1_999;
			suspects.reportedReady("a", false);
			expect(suspects.isDead("a")).toBe(true);
			clock.now += 1;
			suspects.reportedReady("a", false);
			expect(suspects.isDead("a")).toBe(false);
			dies("y");
			suspects.reportedReady("a", true);
			expect(suspects.isDead("a")).toBe(false);
			suspects.reportedReady("b", true);
		});

		test("is back when it has answered a call that came after its death, and no other", () => {
			const { clock, suspects, dies } = holder();
			dies("x");
			suspects.hasAnswered("a", clock.now - 1);
			suspects.hasAnswered("b", clock.now);
			expect(suspects.isDead("a")).toBe(true);
			suspects.hasAnswered("a", clock.now);
			expect(suspects.isDead("a")).toBe(false);
		});
	});

	describe("a call that is there at a second death", () => {
		test("is refused from then on; all others that were there are free", () => {
			const { suspects, dies, diesOnTrial, events } = holder();
			for (const each of ["x", "y", "z"]) dies(each);
			expect(diesOnTrial("x")).toBe("refused");
			expect(["x", "y", "z"].map((each) => suspects.stateOf(each))).toEqual(["refused", "clear", "clear"]);
			expect(events.at(-1)).toMatchObject({ what: "convicted", target: "a", calls: ["req_x", "req_x"] });
			expect(dies("late one", { startedAt: 0 })).toBe("bystander");
		});

		test("explains that death, too: who was beside it is a bystander", () => {
			const { clock, suspects, dies } = holder();
			for (const each of ["x", "y"]) dies(each);
			const turn = suspects.enter("m", clock.now);
			suspects.begin(turn, "b", false);
			clock.now += 100;
			const there = { engine: "b", startedAt: clock.now - 1 };
			expect(dies("fresh", there)).toBe("bystander");
			expect(dies("x", { ...there, turn })).toBe("refused");
			expect(dies("fresh", there)).toBe("bystander");
		});

		test("is refused though it was never tried alone: the same call at two engines", () => {
			const { dies } = holder();
			expect([dies("x", { engine: "a" }), dies("x", { engine: "b" })]).toEqual(["suspect", "refused"]);
		});

		test("is refused for as long as the setting says, then forgotten", () => {
			const { clock, suspects, dies, diesOnTrial } = holder();
			suspects.refuseMs = 60_000;
			dies("x");
			diesOnTrial("x");
			clock.now += 59_999;
			suspects.prune();
			expect([suspects.stateOf("x"), suspects.refusalOf("x").leftMs]).toEqual(["refused", 1]);
			clock.now += 1;
			suspects.prune();
			expect(suspects.stateOf("x")).toBe("clear");
		});

		test("is not remembered where the setting is off", () => {
			const { suspects, dies, diesOnTrial } = holder();
			suspects.refuseMs = 0;
			dies("x");
			expect(diesOnTrial("x")).toBe("refused");
			suspects.prune();
			expect(suspects.stateOf("x")).toBe("clear");
		});
	});

	test("a first token clears a call, and another death begins anew", () => {
		const { clock, suspects, dies } = holder();
		dies("x");
		suspects.clear("x");
		expect([suspects.stateOf("x"), suspects.concerns("m")]).toEqual(["clear", false]);
		clock.now += 60_000;
		expect(dies("x")).toBe("suspect");
	});

	test("what nobody waits for is forgotten, and then nobody need ask", () => {
		const { clock, suspects, dies } = holder();
		dies("x");
		clock.now += 600_000;
		suspects.prune();
		expect([suspects.hasAny, suspects.isDead("a")]).toEqual([false, false]);
	});

	test("no more than a thousand calls are remembered", () => {
		const { suspects, dies } = holder();
		for (let at = 0; at < 1_100; at++) dies(`call ${at}`);
		expect([suspects.stateOf("call 0"), suspects.stateOf("call 1099")]).toEqual(["clear", "suspect"]);
	});
});

describe("a suspected call", () => {
	const engine: SuspectTarget = {
		...{ kind: "engine", isHealthy: true, isWhereItDied: false, isBack: true, inFlight: 0, isTried: false },
	};
	const dead: SuspectTarget = { ...engine, isHealthy: false, isWhereItDied: true, isBack: false, isTried: true };
	const vendor: SuspectTarget = { ...engine, kind: "vendor", isHealthy: false };
	const gateway: SuspectTarget = { ...engine, kind: "gateway" };
	const step = (targets: readonly SuspectTarget[], more: Partial<SuspectSituation> = {}) =>
		suspectStep({ targets, hasTurn: true, isFree: false, leftMs: 60_000, backInMs: undefined, ...more });
	const at = (index: number, isAlone = false) => ({ do: "try", index, isAlone }) as const;
	const waits = (reserves: boolean) => ({ do: "wait", reserves }) as const;

	test("is never sent to the last healthy engine", () => {
		expect(step([dead, engine])).toEqual(waits(true));
		expect(step([dead, engine], { hasTurn: false })).toEqual(waits(true));
		expect(step([dead, dead, engine])).toEqual(waits(true));
		expect(step([engine])).toEqual({ do: "refuse" });
	});

	test("waits for the engine that died of it where it can't be sent, which is then the one that is left", () => {
		const gone: SuspectTarget = { ...dead, kind: "elsewhere", isTried: false };
		expect(step([engine, gone])).toEqual(waits(true));
		expect(step([engine, gone], { backInMs: 60_000 })).toEqual({ do: "refuse" });
		const back = { ...gone, isBack: true, isHealthy: true };
		expect(step([engine, back])).toEqual(at(0));
		expect(step([engine, back], { hasTurn: false })).toEqual(waits(false));
		expect(step([{ ...engine, isHealthy: false }, back])).toEqual(waits(true));
	});

	test("is tried at a second engine while a third is left, when it is its turn", () => {
		expect(step([dead, engine, engine])).toEqual(at(1));
		expect(step([dead, engine, engine], { hasTurn: false })).toEqual(waits(false));
		expect(step([dead, engine, gateway])).toEqual(at(1));
		expect(step([engine, { ...engine, isWhereItDied: true }])).toEqual(at(1));
	});

	test("is tried alone where an engine is back, once nothing runs there", () => {
		const back = { ...dead, isBack: true };
		expect(step([back, engine])).toEqual(at(0, true));
		expect(step([back])).toEqual(at(0, true));
		expect(step([back], { hasTurn: false })).toEqual(waits(true));
		expect(step([{ ...back, inFlight: 1 }])).toEqual(waits(true));
	});

	test("goes to a vendor rather than wait", () => {
		expect(step([dead, engine, vendor])).toEqual(at(2));
		expect(step([dead, { ...vendor, isTried: true }])).toEqual(waits(true));
	});

	test("is refused when its time is up, or is before the engine will be back", () => {
		expect(step([dead], { leftMs: 0 })).toEqual({ do: "refuse" });
		expect(step([dead], { backInMs: 60_000 })).toEqual({ do: "refuse" });
		expect(step([dead], { backInMs: 59_999 })).toEqual(waits(true));
		expect(step([{ ...gateway, isHealthy: false, isWhereItDied: true }])).toEqual({ do: "refuse" });
	});

	test("that another one has freed goes wherever an engine serves, beside others", () => {
		expect(step([dead, engine], { isFree: true, hasTurn: false })).toEqual(at(1));
		expect(step([{ ...dead, isBack: true, inFlight: 9 }], { isFree: true, hasTurn: false })).toEqual(at(0));
		expect(step([dead], { isFree: true })).toEqual(waits(false));
	});
});
