/** The breaker: its table, and that nothing it does lasts for ever. */
import { describe, expect, test } from "bun:test";
import {
	admits,
	type Breaker,
	type BreakerEvent,
	breakerAfter,
	CLOSED,
	CONSECUTIVE,
	FIRST_PAUSE_MS,
	FIRST_SHARE,
	LEAST_ATTEMPTS,
	LEAST_GAP_MS,
	LONGEST_PAUSE_MS,
	PROBE_MS,
	RAMP_MS,
	shareOf,
	WINDOW_MS,
} from "../src/routing/breaker.ts";
import { random } from "./kit/random.ts";

/** A breaker after these events at one time. */
function after(breaker: Breaker, events: readonly BreakerEvent[], now: number): Breaker {
	return events.reduce((state, event) => breakerAfter(state, event, now), breaker);
}
const bad = (count: number) => new Array<BreakerEvent>(count).fill("bad");
const opened = (now = 0) => after(CLOSED, bad(CONSECUTIVE), now);
const probe = (breaker: Breaker, now: number) => breakerAfter(breaker, "begun", now);

describe("a closed breaker", () => {
	test("opens on five failures in a row, and not on four", () => {
		expect(after(CLOSED, bad(4), 0).state).toBe("closed");
		expect(opened().state).toBe("open");
	});

	test("a success between them begins anew; what says nothing does not", () => {
		expect(after(CLOSED, [...bad(4), "good", ...bad(4)], 0).state).toBe("closed");
		expect(after(CLOSED, [...bad(4), "void", "begun", "bad"], 0).state).toBe("open");
	});

	test("opens on more than half of twenty in thirty seconds", () => {
		const pairs = new Array(9).fill(["bad", "good"]).flat() as BreakerEvent[];
		const half = after(CLOSED, [...pairs, "bad", "good"], 0);
		expect(half.state).toBe("closed");
		expect(after(half, ["bad"], 0).state).toBe("open");
		expect(after(CLOSED, [...pairs, "bad"], 0).state).toBe("closed");
	});

	test("opens at once where its engine died; that others report the same death changes nothing, a probe's own death does", () => {
		const died = after(CLOSED, ["dead"], 0);
		expect([died.state, died.probeAt]).toEqual(["open", LEAST_GAP_MS]);
		expect(after(died, ["dead", "dead"], 1)).toEqual(died);
		const probing = probe(died, LEAST_GAP_MS);
		expect(breakerAfter(probing, "dead", LEAST_GAP_MS + 1)).toEqual(probing);
		const again = breakerAfter(probing, "dead", LEAST_GAP_MS + 1, true);
		expect([again.state, again.probeAt]).toEqual(["open", LEAST_GAP_MS + 1 + LONGEST_PAUSE_MS]);
	});

	test("forgets what is older than its window", () => {
		const pairs = new Array(10).fill(["bad", "good"]).flat() as BreakerEvent[];
		const old = after(CLOSED, pairs, 0);
		expect(after(old, ["bad"], WINDOW_MS - 1).state).toBe("open");
		expect(after(old, ["bad"], WINDOW_MS).state).toBe("closed");
	});
});

describe("an open breaker", () => {
	test("lets nothing through, then one probe", () => {
		const breaker = opened(1000);
		expect(admits(breaker, 1000 + FIRST_PAUSE_MS - 1)).toBe("no");
		expect(admits(breaker, 1000 + FIRST_PAUSE_MS)).toBe("probe");
		const probing = probe(breaker, 1000 + FIRST_PAUSE_MS);
		expect(probing.state).toBe("probing");
		expect(admits(probing, 1000 + FIRST_PAUSE_MS)).toBe("no");
	});

	test("is not changed by attempts that began before it opened", () => {
		const breaker = opened();
		for (const event of ["good", "bad", "void"] as const) expect(breakerAfter(breaker, event, 10)).toBe(breaker);
		const probing = probe(breaker, FIRST_PAUSE_MS);
		for (const event of ["good", "bad", "void"] as const) expect(breakerAfter(probing, event, 2000)).toBe(probing);
	});

	test("pauses longer after each failed probe, up to the longest", () => {
		let breaker = opened();
		const pauses: number[] = [];
		for (let round = 0; round < 8; round++) {
			pauses.push(breaker.pauseMs);
			breaker = breakerAfter(probe(breaker, breaker.probeAt), "bad", breaker.probeAt, true);
		}
		expect(pauses).toEqual([1000, 5000, ...new Array(6).fill(LONGEST_PAUSE_MS)]);
	});

	test("a probe whose client left makes room for the next, no sooner than it may come", () => {
		const probing = probe(opened(), FIRST_PAUSE_MS);
		const again = breakerAfter(probing, "void", 1500, true);
		const next = FIRST_PAUSE_MS + LEAST_GAP_MS;
		expect([again.state, again.pauseMs]).toEqual(["open", FIRST_PAUSE_MS]);
		expect([admits(again, next - 1), admits(again, next)]).toEqual(["no", "probe"]);
	});

	test("a probe that hangs keeps no other waiting, and what it comes to in the end no more", () => {
		const first = probe(opened(), FIRST_PAUSE_MS);
		const second = probe(first, FIRST_PAUSE_MS + PROBE_MS);
		const now = FIRST_PAUSE_MS + PROBE_MS + 9_000;
		const failed = breakerAfter(second, "bad", now, true);
		expect(failed.state).toBe("open");
		expect(failed.probeAt - now).toBeLessThanOrEqual(LEAST_GAP_MS);
		expect(breakerAfter(failed, "bad", now + 1, true)).toBe(failed);
		expect(breakerAfter(failed, "good", now + 1, true).state).toBe("closed");
	});

	test("a probe whose end is never told does not keep it shut", () => {
		const probing = probe(opened(), FIRST_PAUSE_MS);
		expect(admits(probing, FIRST_PAUSE_MS + PROBE_MS)).toBe("probe");
		expect(probe(probing, FIRST_PAUSE_MS + PROBE_MS)).not.toBe(probing);
	});
});

describe("a breaker that closes again", () => {
	const closed = breakerAfter(probe(opened(), FIRST_PAUSE_MS), "good", 2000, true);

	test("gives its target a tenth of its share, and all of it after the ramp", () => {
		expect(closed.state).toBe("closed");
		expect(shareOf(closed, 2000)).toBe(FIRST_SHARE);
		expect(shareOf(closed, 2000 + RAMP_MS / 2)).toBe(0.5);
		expect(shareOf(closed, 2000 + RAMP_MS)).toBe(1);
		expect(shareOf(CLOSED, 0)).toBe(1);
	});

	test("remembers its pause for as long as the ramp, and no failures", () => {
		expect(after(closed, bad(4), 2001).state).toBe("closed");
		expect(after(closed, bad(5), 2001).pauseMs).toBe(LEAST_GAP_MS);
		expect(after(closed, bad(5), 2000 + RAMP_MS).pauseMs).toBe(FIRST_PAUSE_MS);
	});
});

describe("whatever happens", () => {
	/** 300 histories of 400 steps, with a clock that leaps now and then. */
	function histories(look: (breaker: Breaker, now: number, event: BreakerEvent, before: Breaker) => void): void {
		for (let seed = 1; seed <= 300; seed++) {
			const { below, pick } = random(seed);
			let breaker = CLOSED;
			let now = below(1e6);
			for (let step = 0; step < 400; step++) {
				now += pick([0, 1, 50, 900, 6_000, 40_000]);
				const event = pick<BreakerEvent>(["begun", "good", "bad", "bad", "void"]);
				const before = breaker;
				breaker = breakerAfter(before, event, now, pick([true, false]));
				look(breaker, now, event, before);
			}
		}
	}

	test("nothing latches: from any state, time, one probe and its good end close it", () => {
		histories((breaker, now) => {
			if (breaker.state === "closed") return;
			const later = now + PROBE_MS;
			expect(admits(breaker, later)).toBe("probe");
			expect(breakerAfter(probe(breaker, later), "good", later, true).state).toBe("closed");
		});
	});

	test("it opens only on a failure, and a pause is never longer than the longest", () => {
		histories((breaker, now, event, before) => {
			expect(breaker.probeAt - now).toBeLessThanOrEqual(LONGEST_PAUSE_MS);
			if (breaker.state === "open" && before.state === "closed") expect(event).toBe("bad");
			expect(breaker.pauseMs).toBeLessThanOrEqual(LONGEST_PAUSE_MS);
		});
	});

	test("from one probe to the next there are five seconds at least", () => {
		let last = Number.NEGATIVE_INFINITY;
		histories((breaker, now, event, before) => {
			if (now < last) last = Number.NEGATIVE_INFINITY;
			if (event !== "begun" || breaker === before || breaker.state !== "probing") return;
			expect(now - last).toBeGreaterThanOrEqual(LEAST_GAP_MS);
			last = now;
		});
	});

	test.each(["refuses", "hangs"] as const)(
		"with a call a second, a target that %s is in use again within 15 s",
		(how) => {
			for (let away = 10; away < 80; away++) {
				let breaker = CLOSED;
				let back: number | undefined;
				const ends: { at: number; isProbe: boolean }[] = [];
				for (let now = 0; back === undefined && now < (away + 60) * 1000; now += 1000) {
					for (const { at, isProbe } of ends) if (at === now) breaker = breakerAfter(breaker, "bad", now, isProbe);
					if (admits(breaker, now) === "no") continue;
					const begun = breakerAfter(breaker, "begun", now);
					const isProbe = begun !== breaker;
					breaker = begun;
					if (now >= away * 1000) {
						breaker = breakerAfter(breaker, "good", now, isProbe);
						if (breaker.state === "closed") back = now;
					} else if (how === "refuses") breaker = breakerAfter(breaker, "bad", now, isProbe);
					else ends.push({ at: now + 30_000, isProbe });
				}
				expect(back! - away * 1000).toBeLessThanOrEqual(15_000);
			}
		},
	);

	test("it opens never on fewer than five failures", () => {
		for (let seed = 1; seed <= 300; seed++) {
			const { pick } = random(seed);
			let breaker = CLOSED;
			let failures = 0;
			for (let now = 0; breaker.state === "closed" && now < 60_000; now += 100) {
				const event = pick<BreakerEvent>(["good", "bad"]);
				if (event === "bad") failures++;
				breaker = breakerAfter(breaker, event, now);
			}
			expect(failures).toBeGreaterThanOrEqual(CONSECUTIVE);
			expect(LEAST_ATTEMPTS).toBeGreaterThan(CONSECUTIVE);
		}
	});
});
