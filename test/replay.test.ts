/** What a replay of past calls says, beside what really happened: ten minutes of calls, live under one policy and live under another. */
import { describe, expect, test } from "bun:test";
import { chargeFor } from "../src/accounts/usage/rates.ts";
import { recordedCall } from "../src/server/replay/recorded-call.ts";
import { RecordedTraffic } from "../src/server/replay/recorded-traffic.ts";
import { changeOf, type ReplayReport, replayReport } from "../src/server/replay/report.ts";
import { replayTraffic } from "../src/server/replay/simulation.ts";
import type { LedgerCall } from "../src/store/ledger-batch.ts";
import { ENGINES, type LiveRun, liveRows, TARGETS } from "./kit/live-policies.ts";

const trafficOf = (rows: readonly LedgerCall[]) => new RecordedTraffic(rows.flatMap((row) => recordedCall(row) ?? []));
const live = async (run: Omit<LiveRun, "minutes">, minutes = 10) => trafficOf(await liveRows({ minutes, ...run }));
const all = () => true;
/** How far the replay of one run is from another run of the same calls. */
function beside(replayed: RecordedTraffic, policy: LiveRun["policy"], other: RecordedTraffic) {
	const calls = replayTraffic(replayed, { policy, isAsked: all });
	const really = new Map(other.calls.map((call) => [call.id, call]));
	const same = calls.filter(({ call, target }) => really.get(call.id)!.target === target).length / calls.length;
	const report = replayReport(replayed, { policy });
	const other_report = replayReport(other, {});
	const live_cost = other_report.cost_usd.live;
	const live_wait = other_report.wait_ms.median.live;
	return {
		same,
		cost: changeOf({ live: live_cost, replay: report.cost_usd.replay })!,
		wait: changeOf({ live: live_wait, replay: report.wait_ms.median.replay })!,
		report,
	};
}

describe("what can't be replayed", () => {
	test("rows that don't say what was known are counted, and decided by nobody", async () => {
		const rows = (await liveRows({ policy: "fastest", minutes: 1, seed: 1 })).map((row, at) => {
			const { snapshot, ...older } = JSON.parse(row.details);
			return at % 2 ? row : { ...row, details: JSON.stringify(older) };
		});
		const { calls, error } = replayReport(trafficOf(rows), { policy: "cheapest" });
		expect([calls.all, calls.unexplained, calls.decided]).toEqual([
			rows.length,
			Math.ceil(rows.length / 2),
			Math.floor(rows.length / 2),
		]);
		expect(error.same_targets).toBeNumber();
	});

	test("a call to one target is none of several because its client asked for the reasons", async () => {
		const [row] = await liveRows({ policy: "fastest", minutes: 1, seed: 1, targets: TARGETS.slice(0, 1) });
		const { snapshot, ...without } = JSON.parse(row!.details);
		const rows = [row!, { ...row!, details: JSON.stringify(without) }];
		expect(snapshot).toBeString();
		expect(replayReport(trafficOf(rows), {}).calls).toMatchObject({ all: 2, decided: 0, unexplained: 0 });
	});

	test("no calls at all make a report without figures", () => {
		const { calls, wait_ms, targets, error } = replayReport(trafficOf([]), { policy: "cheapest" });
		expect([calls.all, calls.decided, targets]).toEqual([0, 0, []]);
		expect([wait_ms.median.replay, error]).toEqual([null, { same_targets: null, cost: null, median_wait: null }]);
	});
});

describe("calls whose clients left", () => {
	/** The rows again, every so manyth left by its client, before its first token or behind it. */
	const left = (rows: readonly LedgerCall[], each: number, hasBegun: boolean) =>
		rows.map((row, at): LedgerCall => {
			if (at % each) return row;
			const { attempt_ms, began_ms, first_token_ms, ...rest } = JSON.parse(row.details);
			const attempts = [{ target: rest.target, ms: attempt_ms, began_ms, failure: "cancelled" }];
			const details = JSON.stringify({ ...rest, ...(hasBegun && { first_token_ms }) });
			return { ...row, details, attempts: JSON.stringify(attempts) };
		});

	test.each([false, true])(
		"cost what they would have where they would have gone; had one begun: %p",
		async (hasBegun) => {
			const traffic = trafficOf(left(await liveRows({ policy: "fastest", minutes: 2, seed: 1 }), 4, hasBegun));
			const replayed = replayTraffic(traffic, { policy: "cheapest", isAsked: all });
			const moved = replayed.filter(
				({ call, target }, at) => at % 4 === 0 && call.attempts[0]!.isAnswer === hasBegun && call.target !== target,
			);
			expect(moved.length).toBeGreaterThan(0);
			for (const { call, target, cost } of moved) {
				const { price } = TARGETS.find(({ id }) => id === target)!;
				expect(cost).toBeCloseTo(chargeFor(price!, call.tokens!), 12);
			}
		},
	);

	test("show what a target takes to its first token, where one had come", async () => {
		const rows = await liveRows({ policy: "fastest", minutes: 2, seed: 1 });
		const [whole, cut] = [trafficOf(rows), trafficOf(left(rows, 4, true))];
		expect(cut.times.of("own/m").prompt(4_000)).toBe(whole.times.of("own/m").prompt(4_000));
		expect(cut.calls.every((call) => cut.answerOf(call))).toBe(true);
	});

	test("of whom the other target's price is not known are counted as unknown, and guessed where nothing was seen of it", async () => {
		const rows = left(await liveRows({ policy: "order", minutes: 2, seed: 31, rate: 0.5 }), 1, false).map((row) => {
			const { price: _, ...details } = JSON.parse(row.details);
			const snapshot = details.snapshot.replaceAll(/\$[^;]*/g, "");
			return { ...row, details: JSON.stringify({ ...details, snapshot }) };
		});
		const { calls, cost_usd } = replayReport(trafficOf(rows), { policy: "fastest" });
		expect(calls.moved).toBeGreaterThan(0);
		expect([calls.guessed, cost_usd.unknown]).toEqual([calls.moved, calls.moved]);
	});
});

test("copies that a shadow got are a load, and in no figure", async () => {
	const rows = await liveRows({ policy: "fastest", minutes: 1, seed: 7 });
	const shadow = { call: "req_0", model: "m" };
	const copies = rows.map((row, at) =>
		at % 4 ? row : { ...row, details: JSON.stringify({ ...JSON.parse(row.details), shadow }) },
	);
	const { calls, targets } = replayReport(trafficOf(copies), { policy: "cheapest" });
	const own = rows.length - Math.ceil(rows.length / 4);
	expect([calls.all, calls.decided]).toEqual([own, own]);
	expect(targets.reduce((sum, { calls: its }) => sum + its.live!, 0)).toBe(own);
});

describe("a replay of what was, by the policy that it was under", () => {
	test.each<[string, Omit<LiveRun, "minutes">, number]>([
		["cheapest", { policy: "cheapest", seed: 1 }, 0.98],
		["fastest", { policy: "fastest", seed: 2 }, 0.85],
		["balanced", { policy: "balanced", seed: 3 }, 0.95],
		["calls that are no streams", { policy: "cheapest", seed: 4, wholes: 1 }, 0.95],
		["calls of which some fail at first", { policy: "cheapest", seed: 5, failsEach: 7 }, 0.95],
		["two engines that are equals", { policy: "balanced", seed: 6, targets: ENGINES }, 0.8],
	])("%s: calls go where they went, cost and wait are what they were", async (_, run, least) => {
		const { error } = replayReport(await live(run), {});
		expect(error.same_targets).toBeGreaterThanOrEqual(least);
		expect(Math.abs(error.cost!)).toBeLessThanOrEqual(0.05);
		expect(Math.abs(error.median_wait!)).toBeLessThanOrEqual(0.1);
	});
});

describe("a replay by another policy, beside ten minutes of the same calls that were really live under that", () => {
	const check = ({ same, cost, wait }: ReturnType<typeof beside>) => {
		expect(same).toBeGreaterThanOrEqual(0.95);
		expect(Math.abs(cost)).toBeLessThanOrEqual(0.05);
		expect(Math.abs(wait)).toBeLessThanOrEqual(0.25);
	};

	test.each<[LiveRun["policy"], LiveRun["policy"], Partial<LiveRun>]>([
		["fastest", "cheapest", {}],
		["balanced", "cheapest", {}],
		["fastest", "cheapest", { wholes: 0.5 }],
	])("%s → %s %p", async (was, tried, more) => {
		const found = beside(
			await live({ policy: was, seed: 11, ...more }),
			tried,
			await live({ policy: tried, seed: 12, ...more }),
		);
		check(found);
		expect(found.report.calls.moved).toBeGreaterThan(found.report.calls.all / 10);
	});
});

test("what is not seen of targets is said: those that answered none, and those that would answer many times as many", async () => {
	const traffic = await live({ policy: "order", seed: 31, rate: 0.5 });
	const { calls, targets } = replayReport(traffic, { policy: "cheapest" });
	const ofVendors = targets.filter(({ target }) => target !== "own/m");
	expect(ofVendors.map(({ calls: its }) => its.live)).toEqual([0, 0]);
	expect(calls.guessed).toBe(ofVendors.reduce((sum, { calls: its }) => sum + its.replay!, 0));
	expect(calls.guessed).toBeGreaterThan(calls.all / 4);
	const cheap = replayReport(await live({ policy: "cheapest", seed: 32 }, 3), { policy: "balanced" });
	const own = cheap.targets.find(({ target }) => target === "own/m")!;
	expect(own.calls.replay).toBeGreaterThan(2 * own.calls.live!);
	expect([cheap.calls.guessed, cheap.calls.extrapolated]).toEqual([0, own.calls.replay!]);
});

test("calls of another model go where they went, and are in no figure", async () => {
	const rows = await liveRows({ policy: "fastest", minutes: 2, seed: 21 });
	const mixed = rows.map((row, at) => (at % 3 ? row : { ...row, model: "other" }));
	const asked: ReplayReport = replayReport(trafficOf(mixed), { policy: "cheapest", model: "m" });
	expect(asked.calls).toMatchObject({ all: rows.length, decided: mixed.filter(({ model }) => model === "m").length });
	const replayed = replayTraffic(trafficOf(mixed), { policy: "cheapest", isAsked: ({ model }) => model === "m" });
	const moved = replayed.filter(({ call, target }) => call.target !== target);
	expect(moved.length).toBeGreaterThan(0);
});
