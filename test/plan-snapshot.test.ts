/** What the ledger keeps of a plan for replays: small, of one form, and as much as two prompts have in common. */
import { describe, expect, test } from "bun:test";
import { batchOf, EndUsers } from "../src/accounts/usage/ledger-rows.ts";
import { BLOCK, MOST_BLOCKS, promptOf } from "../src/routing/affinity.ts";
import { plan } from "../src/routing/plan.ts";
import { blocksOf, readSnapshot, snapshotOf } from "../src/routing/plan-snapshot.ts";
import type { RouteTarget } from "../src/routing/route.ts";
import { settled } from "./kit/ledger.ts";
import { random } from "./kit/random.ts";
import { Clock, call, replica, route, target } from "./kit/routes.ts";
import { HASH } from "./kit/snapshot-hash.ts";

const MOST = 8;
const planOf = (targets: readonly RouteTarget[], text = "hello", clock = new Clock(), over = {}) =>
	plan(call(text, over), route(targets), clock.state, clock.now, () => 0.5);
const text = (seed: number, blocks: number) => {
	const { below } = random(seed);
	return Array.from({ length: blocks }, () => String(below(2 ** 31)).padEnd(BLOCK, "abcdefghij")).join("");
};

describe("a text that is none of this form", () => {
	test.each([undefined, null, 7, "", "1", "1;;", "2;;;;0r", "x;a;b;c;d"])("%p is read as none", (each) => {
		expect(readSnapshot(each)).toBeUndefined();
	});

	test("of candidates that say more than is known, what is known is read", () => {
		expect(readSnapshot("1;;;;3rzo@7$1,2,3,4")!.candidates).toEqual([
			{
				...{ position: 3, isReplica: true, isReported: false, rank: 7, penalty: "open", breaker: undefined },
				price: { input: 1, output: 2, cached: 3 },
			},
		]);
	});
});

describe("a row takes at most 300 bytes more", () => {
	const bytesOf = (snapshot: string | undefined) => {
		const call = settled({ decision: {}, snapshot });
		const attempt = {
			callId: call.id,
			number: 1,
			provider: "v",
			target: "v/m",
			status: 200,
			ms: 1,
			beganMs: 123_456.78,
		};
		return Buffer.byteLength(batchOf([call], [0], [attempt], new EndUsers()).calls[0]!.details);
	};
	const price = { input: 1 / 3, output: 200 / 7, cached: 1 / 30 };
	test.each<[string, RouteTarget[], number]>([
		[
			"of two hundred replicas and the longest prompt",
			Array.from({ length: 200 }, (_, at) => replica(`r${at}/m`)),
			3_000,
		],
		["of twelve vendors with long prices", Array.from({ length: 12 }, (_, at) => target(`v${at}/m`, { price })), 1],
		[
			"of ten of each, most of them not ready",
			Array.from({ length: 20 }, (_, at) =>
				at % 2 ? replica(`r${at}/m`, { readiness: 50 + 1 / 3, price }) : target(`v${at}/m`, { isKeyless: true, price }),
			),
			2_048,
		],
	])("%s", (_, targets, blocks) => {
		const made = planOf(targets, text(1, blocks), new Clock(), { session: "s".repeat(200) });
		const snapshot = snapshotOf(made, MOST, undefined, HASH);
		expect(bytesOf(snapshot) - bytesOf(undefined)).toBeLessThanOrEqual(300);
		expect(bytesOf(snapshot) - bytesOf(undefined)).toBeGreaterThan(50);
		const read = readSnapshot(snapshot)!;
		expect(read.candidates.length).toBeGreaterThanOrEqual(5);
		expect(read.marks.length).toBeGreaterThan(blocks > 1 ? 2 : -1);
	});
});

describe("what is read of it", () => {
	test("is what each candidate was, in their order", () => {
		const clock = new Clock();
		clock.failed("open/m", 5);
		clock.state.opened("paused/m", true).closed({ failure: "rate", retryAfterMs: 30_000 });
		const price = { input: 0.25, output: 2, cached: 0.025 };
		const targets = [
			replica("local/m", { price: { input: 0, output: 0 } }),
			target("open/m", { price }),
			target("paused/m", { price: { input: 1, output: 10 } }),
			replica("loading/m", { readiness: 51 }),
			target("unpriced/m", { tier: "fallback", position: 4 }),
		];
		const made = planOf(targets, "hello", clock, { session: "one" });
		const { candidates, session, conversation, marks } = readSnapshot(snapshotOf(made, MOST, undefined, HASH))!;
		const facts = {
			isReplica: false,
			isReported: false,
			rank: 0,
			penalty: undefined,
			breaker: undefined,
			price: undefined,
		};
		expect(made.scored.map(({ target: { id } }, at) => [id, candidates[at]])).toEqual([
			["local/m", { ...facts, position: 0, isReplica: true, price: { input: 0, output: 0, cached: undefined } }],
			["unpriced/m", { ...facts, position: 4 }],
			["loading/m", { ...facts, position: 3, isReplica: true, rank: 51, penalty: "loading" }],
			["open/m", { ...facts, position: 1, penalty: "open", price }],
			["paused/m", { ...facts, position: 2, penalty: "paused", price: { input: 1, output: 10, cached: undefined } }],
		]);
		expect(session).toBeString();
		expect([conversation, marks.length]).toEqual([undefined, 0]);
	});

	test("a target that is tried again, and one that comes back, are known as such", () => {
		const clock = new Clock();
		clock.failed("again/m", 5);
		clock.failed("back/m", 5);
		clock.now = 2_000;
		clock.served("back/m", 10);
		const made = planOf([target("again/m"), target("back/m"), target("well/m")], "hello", clock);
		const { candidates } = readSnapshot(snapshotOf(made, MOST, undefined, HASH))!;
		const breakers = made.scored.map(({ target: { id } }, at) => [id, candidates[at]!.breaker]);
		expect(Object.fromEntries(breakers)).toEqual({ "again/m": "probe", "back/m": "ramp", "well/m": undefined });
	});

	test("a prompt names the one before it in its conversation", () => {
		const turns = [
			{ role: "user", content: "a" },
			{ role: "assistant", content: "b" },
			{ role: "user", content: "c" },
		];
		const snapshots = [turns.slice(0, 1), turns].map((messages) => {
			const needs = call(JSON.stringify(messages));
			const made = plan(needs, route([target("a/m"), target("b/m")]), new Clock().state, 0, () => 0);
			return readSnapshot(snapshotOf(made, MOST, needs.history(), HASH))!;
		});
		const [first, second] = snapshots.map(({ conversation }) => conversation!);
		expect(second!.earlier).toBe(first!.whole);
		expect([first!.earlier, second!.whole === first!.whole]).toEqual([undefined, false]);
	});
});

describe("blocks that are made of marks again", () => {
	const replicas = [replica("a/m"), replica("b/m")];
	const again = (content: string, own: number) => {
		const { marks } = readSnapshot(snapshotOf(planOf(replicas, content), MOST, undefined, HASH))!;
		return blocksOf(marks, Math.min(MOST_BLOCKS, Math.floor(content.length / BLOCK)), own);
	};
	const common = (one: Int32Array, other: Int32Array) => {
		const parted = one.findIndex((block, at) => block !== other[at]);
		return parted === -1 ? one.length : parted;
	};

	test("are those of two prompts as far as these have them in common, less a sixteenth at most, and seldom more", () => {
		const { below } = random(5);
		let more = 0;
		for (let round = 0; round < 200; round++) {
			const shared = below(round % 10 === 0 ? 2_100 : 120);
			const head = text(1_000 + round, shared);
			const [one, other] = [head + text(round, below(50)), head + text(round + 500, below(50))];
			const found = common(again(one, 1), again(other, 2));
			const real = common(promptOf("", [one]).blocks, promptOf("", [other]).blocks);
			if (found > real) more++;
			expect(found).toBeGreaterThanOrEqual(Math.floor(real * (15 / 16)) - 1);
		}
		// A byte is the same by chance once in 256 times.
		expect(more).toBeLessThanOrEqual(3);
	});

	test("are the same of the same prompt, whoever asks", () => {
		for (const blocks of [1, 31, 33, 47, 1_000, 2_048]) {
			const content = text(blocks, blocks);
			expect(common(again(content, 1), again(content, 2))).toBe(blocks);
		}
	});
});
