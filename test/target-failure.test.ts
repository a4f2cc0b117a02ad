/** What a failed attempt says of its target, and what it does not. */
import { describe, expect, test } from "bun:test";
import type { Failure } from "../src/providers/failure.ts";
import { KeyRotation } from "../src/proxy/key-rotation.ts";
import { ConnectionLost, TunnelLost } from "../src/proxy/net/http1-exchange.ts";
import { transportFailure } from "../src/proxy/net/transport-failure.ts";
import { type FailedAttempt, failureOfTarget } from "../src/proxy/target-failure.ts";
import type { CallTimeouts } from "../src/proxy/timeouts.ts";

const USUAL: CallTimeouts = {
	connectMs: 5_000,
	firstTokenMs: 30_000,
	thinkMs: 30_000,
	stallMs: 30_000,
	totalMs: 60_000,
	lateMs: 10_000,
};
const attempt = (over: Partial<FailedAttempt> = {}): FailedAttempt => ({
	call: { stream: false, limits: undefined },
	timeLeftMs: Number.POSITIVE_INFINITY,
	hasFirstToken: false,
	state: { targetWasSilent: true },
	part: undefined,
	...over,
});
const ranOut: Failure = { kind: "timeout", isOurs: true, message: "gave no answer" };
const dropped: Failure = { kind: "cancelled", message: "another target was faster" };
const kindOf = (failure: Failure, over?: Partial<FailedAttempt>) =>
	failureOfTarget(failure, attempt(over), () => USUAL);

describe("a timeout", () => {
	test("that the client had set shorter than the router would counts against nobody", () => {
		expect(kindOf(ranOut, { timeLeftMs: 59_999 })).toBe("cancelled");
	});

	test("of the router's own, or of the upstream's, counts", () => {
		expect(kindOf(ranOut, { timeLeftMs: 60_000 })).toBe("timeout");
		expect(kindOf({ kind: "timeout", message: "upstream timed out", status: 504 }, { timeLeftMs: 1 })).toBe("timeout");
	});
});

describe("an attempt that is ended since another target answered", () => {
	const late = { ms: 10_000, why: "silent" } as const;
	const part = { isUnused: true, wasSilent: true, late };

	test("counts as a timeout where its target was silent towards all, for longer than any call would bear", () => {
		expect(kindOf(dropped, { part })).toBe("timeout");
	});

	test.each([
		["its target answered others meanwhile", { part, state: { targetWasSilent: false } }],
		["it was not silent", { part: { ...part, wasSilent: false } }],
		["it was late for its own call only", { part: { ...part, late: { ...late, ms: 9_999 } } }],
		["its client left", { part: { ...part, isUnused: false } }],
	])("counts for nothing where %s", (_, over) => {
		expect(kindOf(dropped, over)).toBe("cancelled");
	});
});

test.each([false, true])(
	"a tunnel that breaks says nothing of the target behind it, with an answer begun: %s",
	(hasAnswer) => {
		const failure = transportFailure(new TunnelLost(), hasAnswer);
		expect(failure.kind).toBe(hasAnswer ? "truncated" : "transport");
		expect(kindOf(failure)).toBe("cancelled");
		expect(kindOf(transportFailure(new ConnectionLost("ECONNRESET"), hasAnswer))).toBe(failure.kind);
	},
);

test("no key need be looked up before one was refused", () => {
	const keys = new KeyRotation();
	const target = { id: "box/m", model: "m", provider: { name: "box" } } as never;
	const first = { index: 0, isProbe: false };
	keys.ended(target, first, { kind: "rate", message: "slow down" });
	expect([keys.hasRefusals, keys.outOfUseMs(target)]).toEqual([false, undefined]);
	keys.ended(target, first, { kind: "quota", message: "used up" });
	expect([keys.hasRefusals, keys.outOfUseMs(target)! > 0]).toEqual([true, true]);
	expect(keys.take(target, [], true)).toEqual({ index: 0, isProbe: true });
});
