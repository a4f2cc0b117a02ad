/** Keys take turns; a refused one is left out, tried again by one call, and never lost. */
import { describe, expect, test } from "bun:test";
import type { Failure } from "../src/providers/failure.ts";
import { OUT_MS, type ProviderAccounts } from "../src/proxy/key-rotation.ts";
import { KEY_KINDS } from "./kit/key-kinds.ts";
import { random as seeded } from "./kit/random.ts";

const MODEL = "m";
const refused = (status = 401): Failure => ({ kind: "auth", status, message: "no" });
const take = (ring: ProviderAccounts, now = 0, tried: number[] = [], model = MODEL) =>
	ring.take(model, now, tried)?.index;
/** An attempt that ends so. */
const attempt = (ring: ProviderAccounts, failure: Failure | undefined, now = 0, model = MODEL) => {
	const account = ring.take(model, now);
	if (account) ring.ended(account, model, failure, now);
	return account?.index;
};

describe.each(KEY_KINDS)("known to %s:", (_, make) => {
	test("keys take turns", () => {
		const ring = make(3);
		expect([1, 2, 3, 4].map(() => attempt(ring, undefined))).toEqual([0, 1, 2, 0]);
	});

	test("one that this call was refused with is passed over", () => {
		const ring = make(3);
		expect(take(ring, 0, [0])).toBe(1);
		expect(take(ring, 0, [0, 1, 2])).toBeUndefined();
	});

	describe("a refused key", () => {
		test.each([
			["a 401", refused(401)],
			["a 400 that means a bad key", refused(400)],
			["an empty account", { kind: "quota", status: 402, message: "pay" } as Failure],
		])("is out of use for a minute, for all models: %s", (_, failure) => {
			const ring = make(2);
			attempt(ring, failure);
			expect([1, 2, 3].map(() => take(ring, OUT_MS - 1, [], "other"))).toEqual([1, 1, 1]);
			expect(ring.outOfUse(1)).toBe(1);
		});

		test("with a 403 is out of use for that model only", () => {
			const ring = make(1);
			attempt(ring, refused(403));
			expect([take(ring, 1), take(ring, 1, [], "other")]).toEqual([undefined, 0]);
			expect(ring.refusal(MODEL, 1)).toEqual({ kind: "auth", backInMs: OUT_MS - 1 });
			expect(ring.refusal("other", 1)).toBeUndefined();
		});

		test("with a 403 of a proxy's, that is a page or nothing, stays in use: it may speak of one prompt", () => {
			const ring = make(1);
			attempt(ring, { ...refused(403), isOurs: true });
			expect(take(ring, 1)).toBe(0);
		});

		test("is tried again by one call, and is in use again when that is answered", () => {
			const ring = make(1);
			attempt(ring, refused());
			const probe = ring.take(MODEL, OUT_MS)!;
			expect(probe).toEqual({ index: 0, isProbe: true });
			expect(take(ring, OUT_MS)).toBeUndefined();
			ring.ended(probe, MODEL, undefined, OUT_MS + 5);
			expect(ring.take(MODEL, OUT_MS + 5)).toEqual({ index: 0, isProbe: false });
		});

		test("is out for another minute when it is refused again", () => {
			const ring = make(1);
			attempt(ring, refused());
			attempt(ring, refused(), OUT_MS);
			expect([take(ring, 2 * OUT_MS - 1), take(ring, 2 * OUT_MS)]).toEqual([undefined, 0]);
		});

		test("is good again when its upstream answers anything else, and up to the next call when it answers nothing", () => {
			const ring = make(1);
			attempt(ring, refused());
			attempt(ring, { kind: "cancelled", message: "the client left" }, OUT_MS);
			expect(ring.take(MODEL, OUT_MS + 1)?.isProbe).toBe(true);
			const other = make(1);
			attempt(other, refused());
			attempt(other, { kind: "overloaded", status: 503, message: "busy" }, OUT_MS);
			expect(other.take(MODEL, OUT_MS + 1)?.isProbe).toBe(false);
		});

		test("is not put back by a call that began before the refusal", () => {
			const ring = make(1);
			const early = ring.take(MODEL, 0)!;
			attempt(ring, refused());
			ring.ended(early, MODEL, undefined, 1);
			expect(take(ring, 2)).toBeUndefined();
		});

		test("whose probe never tells how it ended is tried again by another", () => {
			const ring = make(1);
			attempt(ring, refused());
			expect(take(ring, OUT_MS)).toBe(0);
			expect(take(ring, OUT_MS + 60_001)).toBe(0);
		});
	});

	test("a key whose limit is used up rests where another can do the work, and is used where none can", () => {
		const ring = make(2);
		attempt(ring, { kind: "rate", status: 429, message: "slow", retryAfterMs: 4_000 });
		expect([take(ring, 1), take(ring, 1), take(ring, 1)]).toEqual([1, 1, 1]);
		expect(take(ring, 1, [1])).toBe(0);
		expect([take(ring, 4_001), take(ring, 4_001)].sort()).toEqual([0, 1]);
	});

	test("models closed to a key are remembered up to a number", () => {
		const ring = make(1);
		for (let index = 0; index <= 500; index++) attempt(ring, refused(403), 0, `m${index}`);
		expect([take(ring, 1, [], "m0"), take(ring, 1, [], "m500")]).toEqual([0, undefined]);
	});

	test("nothing latches: whatever the upstream says, two minutes later every key is to be had", () => {
		const random = seeded(7).next;
		const ends: (Failure | undefined)[] = [
			undefined,
			refused(401),
			refused(403),
			{ kind: "quota", status: 429, message: "" },
			{ kind: "rate", status: 429, message: "", retryAfterMs: 90_000 },
			{ kind: "transport", message: "" },
			{ kind: "cancelled", message: "" },
		];
		for (let round = 0; round < 300; round++) {
			const size = 1 + Math.floor(random() * 3);
			const ring = make(size);
			let now = 0;
			for (let call = 0; call < 50; call++) {
				now += random() * 20_000;
				attempt(ring, ends[Math.floor(random() * ends.length)], now, `m${Math.floor(random() * 3)}`);
			}
			now += 2 * OUT_MS + 1;
			for (const model of ["m0", "m1", "m2"]) {
				const tried: number[] = [];
				for (let index = 0; index < size; index++) {
					const account = ring.take(model, now, tried)!;
					tried.push(account.index);
					ring.ended(account, model, undefined, now);
				}
				expect(tried.sort()).toEqual(Array.from({ length: size }, (_, index) => index));
			}
		}
	});
});
