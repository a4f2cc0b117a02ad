/** A key that spends far more than it usually does: warned of by default, its calls slowed down or refused where the rule says so. */
import { expect, test } from "bun:test";
import { makeRunaways, Runaways } from "../src/accounts/runaway/runaways.ts";
import { type RunawayEvent, RunawayGuard } from "../src/api/runaway-guard.ts";
import { RouterError } from "../src/errors.ts";
import { ARGUMENT_FIELDS } from "../src/openai/tool-rounds.ts";
import { runawayGuard, spendingWatch } from "../src/server/runaway-report.ts";
import type { UsageRow } from "../src/store/ledger-batch.ts";
import type { Json } from "./kit/exchange.ts";
import { configOf } from "./kit/pipeline.ts";

const FIVE = 300_000;
const KEY = "config:team";

/** A key that has worked for an hour, at half a USD in five minutes; what is said of it, and what becomes of its calls. */
function worked(runaway: Json = {}, ofKey: Json = {}) {
	const config = configOf({ runaway, keys: [{ name: "team", key: "key-of-the-team", ...ofKey }] });
	const clock = { wall: 6_000_000 * FIVE };
	const memory = makeRunaways();
	const view = (thread: number) =>
		new Runaways(
			memory,
			thread,
			() => 0,
			() => clock.wall,
		);
	const lines: object[] = [];
	const logger = { warn: (fields: object, msg: string) => void lines.push({ ...fields, msg }) };
	const written = spendingWatch(view(0), { snapshot: { config } }, { logger: logger as never }, () => clock.wall);
	const spend = (cost: number) => written([{ keyId: KEY, key: "team", cost } as UsageRow], clock.wall);
	for (let at = 0; at < 12; at++) {
		spend(0.5);
		clock.wall += FIVE;
	}
	const events: RunawayEvent[] = [];
	// Of another thread.
	const runaways = view(1);
	const faults: unknown[] = [];
	const guard = new RunawayGuard({
		runaways,
		report: (event) => void events.push(event),
		onFault: (id, fault) => void faults.push([id, fault]),
	});
	const call = { id: "req_1", key: "team", keyId: KEY, headers: new Headers(), facts: { model: "fast" } };
	/** @param rules as a reload may have left them @param facts what else its call says */
	const check = (keyId = KEY, rules: Json = {}, facts: object = {}) => {
		const all = { ...call, keyId, facts: { ...call.facts, ...facts } };
		const now = { ...config.runaway, ...rules } as typeof config.runaway;
		return guard.check(all as never, config.keys[0] as never, now, { atEnd: () => {} } as never);
	};
	return { clock, spend, lines, check, events, faults, list: () => runaways.list().keys };
}

test("what it usually spends, and up to ten times as much, is nothing", () => {
	const { spend, lines, check } = worked();
	spend(5);
	expect([lines, check()]).toEqual([[], undefined]);
});

test("more is told once in the log, in a header of each of its calls, and in the metrics; other keys are not meant", () => {
	const { spend, lines, check, events, list } = worked();
	spend(6);
	spend(1);
	expect(lines).toEqual([
		{ key: "team", usd: 6, usual_usd: 0.5, action: "warn", msg: "A key spends far more than it usually does." },
	]);
	const said = "spending; usd=7; usual=0.5; action=warn";
	expect(check()).toEqual({ headers: { "x-router-runaway": said }, waitMs: 0 });
	expect(events).toMatchObject([{ kind: "spending", action: "warn", key: "team", model: "fast", isNews: false }]);
	expect(list()).toMatchObject([{ key: "team", usd: 7, action: "warn" }]);
	expect(check("config:other")).toBeUndefined();
});

test("it is over when what was spent has left the five minutes, and news when it comes again", () => {
	const { clock, spend, lines, check, list } = worked();
	spend(6);
	clock.wall += FIVE;
	expect([check(), list()]).toEqual([undefined, []]);
	spend(0.1);
	spend(6);
	expect(lines).toHaveLength(2);
});

test("`slow` has its calls wait, the longer the more it spends, half a minute at most", () => {
	const waits = [6, 50, 5_000].map((usd) => {
		const { spend, check } = worked({ spending: "slow" });
		spend(usd);
		return check()!.waitMs;
	});
	expect(waits).toEqual([1_200, 10_000, 30_000]);
});

test("`stop` refuses them with what was spent and until when, so that no client tries again by itself", () => {
	const { spend, check, clock } = worked({ spending: "stop" });
	spend(6);
	let thrown: unknown;
	try {
		check();
	} catch (error) {
		thrown = error;
	}
	expect(thrown).toBeInstanceOf(RouterError);
	const { status, errorCode, headers, message } = thrown as RouterError;
	expect([status, errorCode, headers]).toEqual([400, "runaway_stopped", { "x-should-retry": "false" }]);
	expect(message).toContain("6 USD in five minutes, where it usually spends 0.5");
	expect(message).toContain(new Date(clock.wall + FIVE).toISOString());
});

test("`off`, and a key's own rule, count before it; how many times is too much is set", () => {
	const off = worked({ spending: "off" });
	off.spend(1_000);
	expect([off.lines, off.check()]).toEqual([[], undefined]);
	const own = worked({ spending: "warn" }, { runaway: "stop" });
	own.spend(6);
	expect(own.check).toThrow("This key has spent");
	const twenty = worked({ factor: 20 });
	twenty.spend(10);
	expect(twenty.check()).toBeUndefined();
	twenty.spend(0.1);
	expect(twenty.check()).toBeDefined();
});

test("what is done is as the configuration has it now, not as it was when the key was found", () => {
	const { spend, check } = worked({ spending: "stop" });
	spend(6);
	expect(check(KEY, { spending: "off" })).toBeUndefined();
	expect(check(KEY, { spending: "slow" })!.waitMs).toBe(1_200);
	const warned = worked({ spending: "warn" });
	warned.spend(6);
	expect(() => warned.check(KEY, { spending: "stop" })).toThrow("This key has spent");
});

/** A call of an agent that has made the same call of a tool so many times. */
const circle = (rounds: number) => {
	const round = [
		{ role: "assistant", tool_calls: [{ function: { name: "look", arguments: "{}" } }] },
		{ role: "tool", content: "no such file" },
	];
	const list = Buffer.from(JSON.stringify(Array.from({ length: rounds }, () => round).flat()));
	return { history: () => [], toolHistory: () => ({ list, argumentFields: ARGUMENT_FIELDS.chat }) };
};

test("a circle that is only told lifts neither the stop nor the wait of its key, nor the other way round", () => {
	const looping = (spending: string) => {
		const { spend, check } = worked({ spending });
		check(KEY, {}, circle(2));
		spend(6);
		return (loops: string) => check(KEY, { loops }, circle(3));
	};
	expect(() => looping("stop")("warn")).toThrow("This key has spent");
	expect(looping("slow")("warn")).toMatchObject({ waitMs: 1_200 });
	expect(() => looping("warn")("stop")).toThrow("This agent repeats itself");
	expect(looping("warn")("slow")).toMatchObject({ waitMs: 1_000 });
	expect(looping("warn")("warn")!.headers["x-router-runaway"]).toStartWith("loop; ");
});

test("a history that can't be read is the router's fault: told once, and each call goes on, unless its key is stopped", () => {
	const { spend, check, faults } = worked({ spending: "stop" });
	const fault = new TypeError("no history");
	const broken = {
		toolHistory: () => {
			throw fault;
		},
	};
	expect([check(KEY, {}, broken), check(KEY, {}, broken)]).toEqual([undefined, undefined]);
	expect(faults).toEqual([["req_1", fault]]);
	spend(6);
	expect(() => check(KEY, {}, broken)).toThrow("This key has spent");
});

test("such a fault is logged with where it came about, and without its message, which may say what the call said", () => {
	const lines: string[] = [];
	const logger = { error: (fields: object, msg: string) => void lines.push(JSON.stringify({ ...fields, msg })) };
	const runaways = new Runaways(makeRunaways(), 0, () => 0);
	const guard = runawayGuard({ runaways }, { log: { logger: logger as never }, metrics: { runaway: () => {} } });
	const toolHistory = () => {
		throw new RangeError("is no list:\n    at my secret");
	};
	const call = { id: "req_1", headers: new Headers(), facts: { model: "fast", toolHistory } };
	guard.check(call as never, undefined, configOf({}).runaway, { atEnd: () => {} } as never);
	expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ id: "req_1", fault: "RangeError" }]);
	expect(lines[0]).toContain("runaway-guard.ts");
	expect(lines[0]).not.toContain("secret");
});
