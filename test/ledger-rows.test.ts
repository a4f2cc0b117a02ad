/** The ledger's rows as they are made of calls, and as they are sent to the thread that writes them. */
import { describe, expect, test } from "bun:test";
import type { CallDetails } from "../src/accounts/usage/call-details.ts";
import { batchOf, EndUsers } from "../src/accounts/usage/ledger-rows.ts";
import { decode, encode, type LedgerBatch, type LedgerCall } from "../src/store/ledger-batch.ts";
import type { AttemptClosed, CallSettled } from "../src/telemetry/events.ts";
import { settled } from "./kit/ledger.ts";
import { type Random, random } from "./kit/random.ts";

const attemptOf = ({ id, status }: CallSettled, more: Partial<AttemptClosed> = {}): AttemptClosed => ({
	callId: id,
	number: 1,
	provider: "openai",
	target: "openai/m",
	status,
	ms: 12.34,
	...more,
});
const rowsOf = (calls: readonly CallSettled[], attempts: readonly AttemptClosed[]) =>
	batchOf(
		calls,
		calls.map((_, at) => at),
		attempts,
		new EndUsers(),
	);
const detailsOf = ({ details }: LedgerCall): Partial<CallDetails> => JSON.parse(details);

describe("of a call", () => {
	test("an attempt that failed is kept with it", () => {
		const [call] = [settled({ id: "a", attempts: 1, status: 200 })];
		const { calls } = rowsOf([call], [attemptOf(call, { failure: "truncated" })]);
		expect(JSON.parse(calls[0]!.attempts!)).toMatchObject([{ number: 1, failure: "truncated" }]);
		expect(detailsOf(calls[0]!)).not.toHaveProperty("attempt_ms");
	});

	test("a good attempt says when it began where there were several targets, and else not", () => {
		for (const snapshot of [undefined, "1;;;;0r"]) {
			const call = settled({ id: "a", attempts: 1, status: 200, snapshot });
			const { calls } = rowsOf([call], [attemptOf(call, { beganMs: 3.21 })]);
			expect(detailsOf(calls[0]!).began_ms).toBe(snapshot === undefined ? undefined : 3.2);
		}
	});

	test("several attempts are kept with it, and those of calls that are not here by themselves", () => {
		const call = settled({ id: "a", attempts: 2, status: 200 });
		const attempts = [
			attemptOf(call, { failure: "transport", status: undefined, beganMs: 1.26 }),
			attemptOf(settled({ id: "elsewhere" })),
			attemptOf(call, { number: 2 }),
		];
		const { calls, attempts: late } = rowsOf([call], attempts);
		const kept = JSON.parse(calls[0]!.attempts!) as { number: number; began_ms?: number }[];
		expect(kept.map(({ number, began_ms }) => [number, began_ms])).toEqual([
			[1, 1.3],
			[2, undefined],
		]);
		expect(late.map((each) => each.call)).toEqual(["elsewhere"]);
	});

	test("a good attempt is its time alone, in whatever order attempts and calls came", () => {
		const rng = random(3);
		for (let round = 0; round < 200; round++) {
			const calls = Array.from({ length: 12 }, (_, nth) => settled({ id: `c${nth}`, attempts: 1, status: 200 }));
			const attempts = calls.map((call, nth) => attemptOf(call, { ms: nth }));
			const strays = Array.from({ length: rng.below(4) }, (_, nth) => attemptOf(settled({ id: `x${nth}` })));
			const mixed = [...attempts, ...strays]
				.map((attempt, at) => ({ attempt, at: at + rng.below(1 + rng.below(14)) }))
				.sort((one, other) => one.at - other.at)
				.map(({ attempt }) => attempt);
			const batch = rowsOf(calls, mixed);
			expect(batch.attempts.map(({ call }) => call).sort()).toEqual(strays.map(({ callId }) => callId).sort());
			for (const [nth, row] of batch.calls.entries()) {
				expect([detailsOf(row).attempt_ms, row.attempts]).toEqual([nth, undefined]);
			}
		}
	});

	test("the details are its own, whatever stands beside it", () => {
		const rng = random(9);
		const calls = Array.from({ length: 500 }, (_, nth) => anyCall(rng, `c${nth}`));
		const { calls: rows } = rowsOf(calls, []);
		for (const [at, call] of calls.entries()) expect(detailsOf(rows[at]!)).toEqual(expectedDetails(call));
	});
});

const PRICES = [{ input: 1 }, { input: 2 }];

/** Mostly like others. */
function anyCall(rng: Random, id: string): CallSettled {
	const some = <T>(...options: T[]): T => (rng.below(3) > 0 ? options[0]! : rng.pick(options));
	const source = some("list", "none", "own") as "list";
	return settled({
		id,
		operation: some<"chat" | "embeddings">("chat", "embeddings"),
		stream: some(false, true),
		model: some("m", "n"),
		requested: some<string | undefined>("m", "alias\n", undefined, "x".repeat(300)),
		target: some<string | undefined>("openai/m", 'a "quoted" one', undefined),
		agent: some<string | undefined>(undefined, "gpu-1"),
		ms: some(1.26, 0, Number.NaN),
		firstTokenMs: some<number | undefined>(undefined, 7.77),
		tokens: some<CallSettled["tokens"]>({ input: 1, output: 2 }, { input: 3, output: 4, cached: 1 }, undefined),
		bill: some<CallSettled["bill"]>(
			{ source, isEstimated: some(false, true), price: rng.pick(PRICES) },
			{ source: "none", isEstimated: false },
			undefined,
		),
		cache: some<CallSettled["cache"]>("bypass", "miss", undefined),
		reason: some<string | undefined>("provider openai", undefined),
		error: some<string | undefined>(undefined, "timeout"),
		decision: some<object | undefined>(undefined, { why: "x" }),
		snapshot: some<string | undefined>(undefined, "1;;;;0r", "1;;;;1"),
		droppedFields: some<string[] | undefined>(undefined, ["seed"]),
		skipped: some<CallSettled["skipped"]>(undefined, [{ target: "t", reason: "r" }]),
	});
}

function expectedDetails(call: CallSettled): object {
	const { model, requested, tokens, bill } = call;
	const tenth = (ms: number) => (Number.isNaN(ms) ? null : Math.round(ms * 10) / 10);
	const details = {
		operation: call.operation === "chat" ? undefined : call.operation,
		stream: call.stream || undefined,
		requested: requested === model ? undefined : (requested?.slice(0, 200) ?? null),
		target: call.target,
		agent: call.agent,
		ms: tenth(call.ms),
		first_token_ms: call.firstTokenMs === undefined ? undefined : tenth(call.firstTokenMs),
		tokens: tokens?.cached === undefined ? undefined : tokens,
		source: bill?.source,
		price: bill?.price,
		estimated: bill?.isEstimated || undefined,
		cache: call.cache,
		route: call.reason,
		error: call.error,
		decision: call.decision,
		snapshot: call.snapshot,
		dropped_fields: call.droppedFields,
		skipped: call.skipped,
	};
	return JSON.parse(JSON.stringify(details));
}

describe("a batch that is sent", () => {
	const row = (more: Partial<LedgerCall>): LedgerCall => ({ ...rowsOf([settled({ id: "a" })], []).calls[0]!, ...more });
	const batch = (...calls: LedgerCall[]): LedgerBatch => ({ calls, attempts: [], usage: [] });

	test("is refused where a number is none, or a text has a line end", () => {
		for (const cost of [Number.NaN, Number.POSITIVE_INFINITY]) {
			expect(() => encode(batch(row({ cost })))).toThrow(TypeError);
			expect(() => encode({ ...batch(), trim: { before: 0, bytes: cost, most: 1 } })).toThrow(TypeError);
		}
		for (const odd of [{ id: "a\nb" }, { details: "{\n}" }]) {
			expect(() => decode(encode(batch(row({}), row(odd))))).toThrow(TypeError);
		}
	});

	test("comes out as it went in", () => {
		const rng = random(4);
		for (let round = 0; round < 50; round++) {
			const calls = Array.from({ length: rng.below(40) }, (_, nth) => {
				const own = {
					id: `call-${nth}-é`,
					at: 1.8e12 + nth,
					key: rng.pick(["", "k"]),
					user: rng.pick(["", "ü\n", "u"]),
				};
				const attempts = rng.pick([undefined, undefined, '[{"number":1}]']);
				return row({ ...own, attempts, tokensIn: rng.pick([undefined, 0, 5]), cost: rng.pick([undefined, 0.1, 1e-9]) });
			});
			const attempts = [{ call: "late", attempt: { number: 2, provider: "p", target: "t", ms: 1 } }];
			const sent = { calls, attempts, usage: rowsOf([settled({})], []).usage };
			expect(decode(encode(sent))).toEqual(sent);
		}
	});
});
