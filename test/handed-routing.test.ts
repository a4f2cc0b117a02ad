/** What is known of targets, as the process that takes a router's place goes on with it. */
import { expect, test } from "bun:test";
import { admits } from "../src/routing/breaker.ts";
import { handRouting, takeRouting } from "../src/routing/handed-routing.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";

const TARGET = "vendor/model";
const prompt = { blocks: Int32Array.of(1, 2, 3), characters: 3_000 };

/** A holder, and one that goes on with what that knew, on a clock that began later. */
function handedOn(use: (state: LocalRoutingState, time: { now: number }) => void) {
	const time = { now: 9_000_000 };
	const old = new LocalRoutingState(() => time.now);
	use(old, time);
	const next = new LocalRoutingState(() => time.now - 8_000_000);
	takeRouting(next, JSON.parse(JSON.stringify(handRouting(old))));
	return { old, next, time };
}

test("a target that is out of use is so in the new process, until the same moment", () => {
	const { old, next, time } = handedOn((state) => {
		for (let call = 0; call < 5; call++) state.opened(TARGET, false).closed({ failure: "transport", status: 502 });
	});
	expect(old.of(TARGET).breaker.state).toBe("open");
	expect(next.of(TARGET).breaker.state).toBe("open");
	time.now += 999;
	expect(admits(next.of(TARGET).breaker, next.now())).toBe("no");
	time.now += 1;
	expect(admits(next.of(TARGET).breaker, next.now())).toBe("probe");
	expect(next.of(TARGET).breaker.closedAt).toBe(Number.NEGATIVE_INFINITY);
});

test("failures that did not take a target out of use count on, and leave the window when they would have", () => {
	const { next } = handedOn((state) => {
		for (let call = 0; call < 4; call++) state.opened(TARGET, false).closed({ failure: "transport", status: 502 });
	});
	expect(next.of(TARGET).breaker.state).toBe("closed");
	next.opened(TARGET, false).closed({ failure: "transport", status: 502 });
	expect(next.of(TARGET).breaker.state).toBe("open");
});

test("a target that asked to be left alone is, and why is known", () => {
	const { next, time } = handedOn((state) => state.pause(TARGET, 5_000, "its key is out of use"));
	expect(next.of(TARGET).pausedUntil).toBe(time.now - 8_000_000 + 5_000);
	expect(next.of(TARGET).pausedFor).toBe("its key is out of use");
});

test("cached prompts and sessions are where they were; a target without any is left without", () => {
	const { next } = handedOn((state) => {
		state.opened(TARGET, true, { prompt, session: "one" }).closed({});
		state.opened("other/model", true).closed({});
	});
	expect(next.session("one")).toBe(TARGET);
	expect(next.of(TARGET).prefixes?.uncached(prompt)).toBeLessThan(prompt.characters);
	expect(next.of("other/model").prefixes).toBeUndefined();
	expect(next.of(TARGET).inFlight).toBe(0);
});

test("a router that knows nothing hands that on", () => {
	const { next } = handedOn(() => {});
	expect([...next.healths()]).toEqual([]);
});
