/** What keys have spent, counted by several threads: the ledger is asked once, and again where another process has written to it. */
import { describe, expect, test } from "bun:test";
import { OTHER_KIND } from "../src/accounts/limits/shared-counters.ts";
import { SharedLimiter } from "../src/accounts/limits/shared-limiter.ts";
import { LocalSpend } from "../src/accounts/usage/local-spend.ts";
import { SpendCells } from "../src/accounts/usage/spend-cells.ts";
import { makeBlocks, SharedBlocks } from "../src/memory/shared-blocks.ts";
import { random } from "./kit/random.ts";

const [DAY, MONTH] = ["2026-01-31", "2026-01"];
const BLOCKS = 50;

/** A ledger that two processes write to, and what its threads see of spending. */
function shared(blocks = BLOCKS) {
	const memory = makeBlocks(blocks);
	const rows: { readonly key: string; readonly day: string; readonly usd: number }[] = [];
	const asked: string[] = [];
	const ledger = {
		isBroken: false,
		onAsk: () => {},
		spenders: () => [...new Set(rows.map(({ key }) => key))],
		spent(key: string, days: string): number | undefined {
			asked.push(`${key} ${days}`);
			ledger.onAsk();
			if (ledger.isBroken) return undefined;
			return rows.filter((row) => row.key === key && row.day.startsWith(days)).reduce((sum, { usd }) => sum + usd, 0);
		},
	};
	const wall = () => Date.parse("2026-01-31T12:00:00Z");
	const view = (thread: number) => {
		const own = new SharedBlocks(memory, blocks, thread);
		const spend = new SpendCells(own, OTHER_KIND, ledger, wall);
		return { spend, blocks: own, limiter: new SharedLimiter(own, 0, spend) };
	};
	const write = (key: string, usd: number, day = DAY!) => void rows.push({ key, day, usd });
	return { ledger, asked, write, main: view(0), one: view(1), two: view(2) };
}
const written = (keyId: string, cost: number, day = DAY!) => [{ keyId, cost, day }];

describe("a period", () => {
	test("goes on from what the ledger says, which is asked once for all threads", () => {
		const { one, two, asked, write } = shared();
		write("k", 0.5);
		write("k", 2, "2026-01-02");
		write("k", 4, "2025-12-31");
		expect([one.spend.spent("k", DAY!), two.spend.spent("k", MONTH!), one.spend.spent("k", "total")]).toEqual([
			0.5, 2.5, 6.5,
		]);
		one.spend.add("k", DAY!, 0.25);
		two.spend.add("k", DAY!, 0.125);
		two.spend.add("k", "total", 1);
		expect([two.spend.spent("k", DAY!), one.spend.spent("k", "total"), one.spend.spent("k", MONTH!)]).toEqual([
			0.875, 7.5, 2.5,
		]);
		expect(asked).toEqual(["k 2026-01-31", "k 2026-01", "k "]);
		expect(one.spend.spent("other", DAY!)).toBe(0);
	});

	test("takes no sum that is none", () => {
		const { one } = shared();
		for (const usd of [Number.NaN, Number.POSITIVE_INFINITY, -1]) one.spend.add("k", DAY!, usd);
		one.spend.add("k", DAY!, 1);
		expect(one.spend.spent("k", DAY!)).toBe(1);
	});

	test("adds up without drift: ten times a tenth is one", () => {
		const { one, two } = shared();
		for (let call = 0; call < 10; call++) (call % 2 ? one : two).spend.add("k", DAY!, 0.1);
		expect(one.spend.spent("k", DAY!)).toBe(1);
	});

	test("that is over stays beside the next one, for threads that see midnight later, and then makes room", () => {
		const { one, two, asked } = shared();
		one.spend.add("k", "2026-01-30", 1);
		one.spend.add("k", DAY!, 2);
		two.spend.add("k", "2026-01-30", 4);
		expect([one.spend.spent("k", "2026-01-30"), one.spend.spent("k", DAY!)]).toEqual([5, 2]);
		two.spend.add("k", "2026-02-01", 8);
		one.spend.add("k", MONTH!, 16);
		two.spend.add("k", "2026-02", 32);
		const all = [DAY!, "2026-02-01", MONTH!, "2026-02"].map((period) => one.spend.spent("k", period));
		expect(all).toEqual([2, 8, 16, 32]);
		expect(asked).toHaveLength(5);
		// It is read again where a clock was set back.
		expect(one.spend.spent("k", "2026-01-30")).toBe(0);
		expect(asked).toHaveLength(6);
	});

	test("is read by another where the thread that was to read it has died", () => {
		const { main, one, two, ledger, write } = shared();
		write("k", 3);
		// As a thread that ends leaves it: nothing of what follows the reading happens.
		ledger.onAsk = () => {
			one.blocks.acquire = () => {
				throw new Error("its thread ends");
			};
		};
		expect(() => one.spend.spent("k", DAY!)).toThrow("its thread ends");
		ledger.onAsk = () => {};
		main.limiter.freed(1);
		expect(two.spend.spent("k", DAY!)).toBe(3);
	});
});

describe("read again, since another process has written to the ledger", () => {
	test("it has what that has spent, and what this one has spent, once", () => {
		const { main, one, two, write } = shared();
		write("k", 1);
		for (const period of [DAY!, MONTH!, "total"]) {
			one.spend.add("k", period, 2);
			two.spend.add("k", period, 4);
		}
		// One call of this process is in the ledger by now, one is not; and one of the other.
		write("k", 2);
		main.spend.wrote(written("k", 2));
		write("k", 8);
		main.spend.refresh();
		const sums = () => [DAY!, MONTH!, "total"].map((period) => two.spend.spent("k", period));
		expect(sums()).toEqual([15, 15, 15]);
		write("k", 4);
		main.spend.wrote(written("k", 4));
		main.spend.refresh();
		expect(sums()).toEqual([15, 15, 15]);
	});

	test("or could not be read before, it is sure again", () => {
		const { main, one, ledger, write } = shared();
		write("k", 1);
		ledger.isBroken = true;
		one.spend.add("k", DAY!, 2);
		expect([one.spend.spent("k", DAY!), main.spend.isUnsure]).toEqual([2, true]);
		main.spend.refresh();
		expect(main.spend.isUnsure).toBe(true);
		ledger.isBroken = false;
		main.spend.refresh();
		expect([one.spend.spent("k", DAY!), main.spend.isUnsure]).toEqual([3, false]);
	});
});

test("keys for which there is no room are counted by each thread for itself", () => {
	const { one, two } = shared(1);
	one.spend.add("k", DAY!, 1);
	one.spend.add("further", DAY!, 2);
	two.spend.add("further", DAY!, 4);
	expect([two.spend.spent("k", DAY!), one.spend.spent("further", DAY!), two.spend.spent("further", DAY!)]).toEqual([
		1, 2, 4,
	]);
});

test("a budget counts what another thread has spent since its caller looked", () => {
	const { one, two } = shared();
	const limit = (usd: number) => ({
		...({ id: "k", unit: "usd", max: 1, windowMs: 0, amount: 0.4 } as const),
		spending: { key: "k", period: DAY!, usd },
	});
	const seen = one.spend.spent("k", DAY!);
	two.spend.add("k", DAY!, 0.7);
	expect(one.limiter.take([limit(seen)], 0).statuses[0]!.remaining).toBe(0);
	expect(one.limiter.take([limit(seen)], 0).isAllowed).toBe(false);
	// What other replicas have spent is more than this one knows.
	expect(two.limiter.take([limit(2)], 0).isAllowed).toBe(false);
});

test("all that is spent in turn by two threads is what one alone would count", () => {
	const { below, pick } = random(5);
	const { one, two, ledger, main } = shared();
	const alone = new LocalSpend(ledger);
	for (let step = 0; step < 5_000; step++) {
		const [key, period] = [pick(["a", "b", "c"]), pick([DAY!, MONTH!, "total"])];
		const thread = pick([one, two]);
		const usd = below(1_000_000) / 1e9;
		thread.spend.add(key, period, usd);
		alone.add(key, period, usd);
		expect(thread.spend.spent(key, period)).toBeCloseTo(alone.spent(key, period), 9);
	}
	expect([...one.spend.all()]).toHaveLength(9);
	expect([...main.spend.all()]).toEqual([]);
});

describe("what other replicas have spent", () => {
	test("counts for all threads at once, and is no part of what this one tells them", () => {
		const { main, one, two, write } = shared();
		write("k", 0.5);
		main.spend.setOthers("k", DAY!, 2);
		expect([one.spend.spent("k", DAY!), one.spend.own("k", DAY!)]).toEqual([2.5, 0.5]);
		main.spend.setOthers("k", DAY!, 3);
		two.spend.add("k", DAY!, 0.25);
		expect([one.spend.spent("k", DAY!), two.spend.own("k", DAY!)]).toEqual([3.75, 0.75]);
		expect([...main.spend.published.all()]).toContainEqual({ key: "k", period: DAY!, usd: 0.75 });
		expect(main.spend.published.spent("k", DAY!)).toBe(0.75);
	});

	test("stays when the ledger is read anew, and where another thread was about to read it", () => {
		const { main, one, two, ledger, write } = shared();
		ledger.onAsk = () => {
			ledger.onAsk = () => {};
			main.spend.setOthers("k", DAY!, 2);
		};
		expect(one.spend.spent("k", DAY!)).toBe(2);
		write("k", 0.5);
		main.spend.refresh();
		expect(two.spend.spent("k", DAY!)).toBe(2.5);
	});

	test("in an earlier period takes no place from those that are kept, in a later one from the earliest", () => {
		const { main, one } = shared();
		for (const day of ["2026-01-30", "2026-01-31"]) one.spend.add("k", day, 1);
		main.spend.setOthers("k", "2026-01-29", 9);
		expect(["2026-01-30", "2026-01-31"].map((day) => one.spend.spent("k", day))).toEqual([1, 1]);
		main.spend.setOthers("k", "2026-02-01", 4);
		expect(["2026-01-31", "2026-02-01"].map((day) => one.spend.spent("k", day))).toEqual([1, 4]);
		// The day before has made room: what others had spent in it is not this day's.
		main.spend.setOthers("k", "2026-02-02", 0.5);
		expect(one.spend.spent("k", "2026-02-02")).toBe(0.5);
	});

	test("is looked at anew with each decision: two threads together pass no budget by more than one call", () => {
		const { main, one, two } = shared();
		const limit = { id: "key:k", unit: "usd" as const, max: 4, windowMs: 1, amount: 1 };
		const spending = { key: "k", period: DAY!, usd: one.spend.spent("k", DAY!) };
		main.spend.setOthers("k", DAY!, 3);
		expect(one.limiter.take([{ ...limit, spending }], 0).isAllowed).toBe(true);
		expect(two.limiter.take([{ ...limit, spending }], 0).isAllowed).toBe(false);
	});
});
