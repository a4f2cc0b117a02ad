/** What is said of Redis where several threads have a connection each: one line of the log an outage, whoever notices it. */
import { beforeEach, expect, test } from "bun:test";
import { RedisOutages } from "../src/server/redis-outages.ts";

const UNANSWERED = "it has not answered yet";
const MAIN = 0;
let lines: string[];
let isUp: boolean | undefined;
let outages: RedisOutages;
beforeEach(() => {
	lines = [];
	isUp = undefined;
	const line = (first: unknown, second?: unknown) => void lines.push(JSON.stringify(second ? [first, second] : first));
	const logger = { info: line, warn: line } as never;
	outages = new RedisOutages({
		log: { logger },
		metrics: {
			redis: {
				up(value) {
					isUp = value;
				},
				failed: () => {},
			},
		},
	});
});

const up = (...threads: number[]) => {
	for (const thread of threads) outages.take(thread, { state: "up", reason: undefined });
};
const away = (thread: number, reason = "the connection was lost") => outages.take(thread, { state: "away", reason });
/** A process of two workers whose connections are up. */
const start = () => {
	for (const worker of [1, 2]) outages.began(worker);
	for (const thread of [MAIN, 1, 2]) outages.take(thread, { state: "unsure", reason: UNANSWERED });
	up(MAIN, 1, 2);
	expect(isUp).toBe(true);
	expect(lines.splice(0)).toEqual([expect.stringContaining("Redis is used")]);
};

test("a start is no outage, and Redis is used once all threads reach it", () => {
	outages.began(1);
	up(MAIN);
	expect([isUp, lines]).toEqual([false, []]);
	outages.take(1, { state: "unsure", reason: UNANSWERED });
	up(1);
	expect([isUp, lines.length]).toEqual([true, 1]);
});

test("an outage is said once, whoever notices it and how often, and its end once all threads are back", () => {
	start();
	for (const thread of [2, MAIN, 1, 2]) away(thread);
	outages.take(1, { state: "unsure", reason: UNANSWERED });
	expect([isUp, lines.splice(0)]).toEqual([false, [expect.stringContaining("Redis can't be used")]]);
	up(MAIN, 1);
	expect([isUp, lines]).toEqual([false, []]);
	up(2);
	expect([isUp, lines.splice(0)]).toEqual([true, [expect.stringContaining("Redis is used")]]);
});

test("a version that will not do is said though the outage is known", () => {
	start();
	away(MAIN);
	outages.take(1, { state: "unfit", reason: "it is version 5" });
	outages.take(2, { state: "unfit", reason: "it is version 5" });
	expect(lines).toEqual([expect.stringContaining("lost"), expect.stringContaining("version 5")]);
});

test("a worker that ends is no outage, nor is the one that takes its place; an outage that was its alone is over", () => {
	start();
	outages.ended(1);
	outages.began(1);
	outages.take(1, { state: "unsure", reason: UNANSWERED });
	up(1);
	expect([isUp, lines]).toEqual([true, []]);
	away(2);
	outages.ended(2);
	expect([isUp, lines]).toEqual([
		true,
		[expect.stringContaining("Redis can't be used"), expect.stringContaining("Redis is used")],
	]);
});

test("what Redis refuses is said once an outage, by its first word", () => {
	start();
	for (const thread of [1, 2, 1]) outages.take(thread, { refused: "OOM" });
	expect(lines.splice(0)).toEqual([expect.stringContaining("OOM")]);
	away(1);
	up(1);
	outages.take(2, { refused: "OOM" });
	expect(lines.at(-1)).toContain("OOM");
});
