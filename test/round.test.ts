/** A round of attempts at once: who is asked, who wins, who is let go. */
import { describe, expect, test } from "bun:test";
import type { Attempt } from "../src/proxy/attempt.ts";
import type { Failed } from "../src/proxy/round.ts";
import { NOT_FASTEST, Round, type RoundOwner, type RoundPart } from "../src/proxy/round.ts";
import type { Late } from "../src/proxy/second-target.ts";
import type { StartedAnswer } from "../src/proxy/started-answer.ts";

const SILENT: Late = { ms: 10_000, why: "silent" };
const answer = (left: unknown[] = []) =>
	({ head: {}, reader: { leave: (why: unknown) => left.push(why) } }) as unknown as StartedAnswer;
const failure = (kind: "not_found" | "caller") => ({ failure: { kind, message: "no" } }) as unknown as Failed;

/** A round at the first of so many targets, whose attempts end when the test says so. */
function round(targets: number) {
	const ends: PromiseWithResolvers<StartedAnswer | Failed>[] = [];
	const asks: RoundPart[] = [];
	const did: string[] = [];
	const asker: RoundOwner = {
		attempt(index, ask) {
			asks[index] = ask;
			ends[index] = Promise.withResolvers();
			ask.attempt = {
				drop: () => did.push(`drop ${index}`),
				extend: (ms: number) => did.push(`extend ${index} to ${ms}`),
				watch: ({ ms }: Late) => did.push(`watch ${index} until ${ms}`),
				watchOn: () => did.push(`watch ${index} on`),
				discard: () => undefined,
			} as unknown as Attempt;
			return ends[index].promise;
		},
		second: () => (asks.length < targets ? asks.length : undefined),
		fault: (thrown) => did.push(String(thrown)),
		over: (_, first) => did.push(`over, first ${first}`),
	};
	const its = new Round(asker, 0);
	const late = (index: number, how = SILENT) => its.late(asks[index]!, how);
	const end = (index: number, how: StartedAnswer | Failed) => ends[index]!.resolve(how);
	return { its, asks, did, late, end, fail: (index: number, why: unknown) => ends[index]!.reject(why) };
}

test("of one attempt that ends is its end", async () => {
	const { its, end, did } = round(1);
	end(0, failure("not_found"));
	expect(await its.result).toEqual(failure("not_found"));
	expect(did).toBeEmpty();
});

describe("beside one that is late", () => {
	test("another is asked; the first to answer wins, the other is dropped, and what it says then is let go", async () => {
		const { its, asks, did, late, end } = round(2);
		late(0);
		const won = answer();
		end(1, won);
		expect(await its.result).toBe(won);
		expect(did).toEqual(["drop 0", "over, first 0"]);
		expect([asks[0]!.isUnused, asks[0]!.wasSilent, asks[1]!.isUnused]).toEqual([true, true, false]);
		const left: unknown[] = [];
		end(0, answer(left));
		await Bun.sleep(0);
		expect(left).toEqual([NOT_FASTEST]);
	});

	test("one that lost to whoever was asked before it was not silent for too long", async () => {
		const { its, asks, late, end } = round(3);
		late(0);
		late(1);
		end(0, answer());
		await its.result;
		expect(asks.map(({ wasSilent }) => wasSilent)).toEqual([false, false, false]);
	});

	test("a probe is not dropped", async () => {
		const { its, asks, did, late, end } = round(2);
		late(0, { ms: 1_000, why: "probe" });
		end(1, answer());
		await its.result;
		expect(did).toEqual(["over, first 0"]);
		expect([asks[0]!.isUnused, asks[0]!.wasSilent]).toEqual([true, false]);
	});

	test("one that failed does not end the round while another runs; the last failure is told", async () => {
		const { its, late, end } = round(2);
		late(0);
		end(1, failure("not_found"));
		const first = failure("not_found");
		end(0, first);
		expect(await its.result).toBe(first);
	});

	test("a failure of the first that is the caller's own ends it", async () => {
		const { its, did, late, end } = round(2);
		late(0);
		end(0, failure("caller"));
		expect(await its.result).toEqual(failure("caller"));
		expect(did).toEqual(["drop 1", "over, first 0"]);
	});

	test("a refusal of the second's does not end a first that is only slow", async () => {
		const { its, did, late, end } = round(2);
		late(0);
		end(1, failure("caller"));
		await Bun.sleep(0);
		const slow = answer();
		end(0, slow);
		expect(await its.result).toBe(slow);
		expect(did).toEqual(["watch 0 on", "over, first 0"]);
	});

	test("a fault in the second is told, and does not end the first", async () => {
		const { its, did, late, end, fail } = round(2);
		late(0);
		fail(1, "a fault");
		await Bun.sleep(0);
		const slow = answer();
		end(0, slow);
		expect(await its.result).toBe(slow);
		expect(did).toContain("a fault");
	});

	test("in the place of a second that fails a third is asked", async () => {
		const { its, asks, late, end } = round(3);
		late(0);
		end(1, failure("not_found"));
		await Bun.sleep(0);
		expect(asks).toHaveLength(3);
		const third = answer();
		end(2, third);
		expect(await its.result).toBe(third);
		expect(asks[0]!.wasSilent).toBe(true);
	});

	test("nobody is asked once it is over, and no more than three run", async () => {
		const { its, asks, late, end } = round(9);
		for (const index of [0, 1, 2]) late(index);
		expect(asks).toHaveLength(3);
		end(1, answer());
		await its.result;
		late(0);
		expect(asks).toHaveLength(3);
	});

	test("where nobody may be asked yet, it is looked at again", () => {
		const { did, late } = round(1);
		late(0, { ms: 40, why: "slow", next: SILENT });
		late(0);
		expect(did).toEqual(["watch 0 until 10000", "watch 0 on"]);
	});

	test("and nobody else is left, those that run have their whole time", () => {
		const { its, did, late, end } = round(2);
		late(0);
		its.extend((index) => 1_000 + index);
		end(0, failure("not_found"));
		expect(did).toEqual(["extend 0 to 1000", "extend 1 to 1001"]);
	});
});
