/** The log of a worker while the main thread takes nothing: bounded, and what was dropped is said once, in one line. */
import { describe, expect, test } from "bun:test";
import { RemoteLogFile, workerLog } from "../src/server/threads/remote-log.ts";
import { until } from "./kit/until.ts";

/** A worker's log, and what came to the main thread of it. */
function logOfWorker() {
	const sent: string[] = [];
	const file = new RemoteLogFile((lines) => sent.push(lines));
	const log = workerLog({ level: "info", keep: 1, dir: "/nowhere" }, file);
	let taken = 0;
	return {
		log,
		sent: () => sent.join(""),
		/** The main thread takes all that has come since the last time. */
		take: () => {
			// It may send more at once.
			const now = sent.slice(taken);
			taken = sent.length;
			for (const lines of now) file.taken(lines.length);
		},
	};
}
const MANY = 40;
const MB = 1024 * 1024;

describe("a main thread that takes no lines", () => {
	test("is sent so many and no more; what waits is bounded, and what there was no room for is counted in one line", async () => {
		const { log, sent, take } = logOfWorker();
		for (let line = 0; line < MANY; line++) log.logger.info({ line, text: "x".repeat(MB / 2) }, "long");
		await until(() => sent().length >= MB, "as much as may be on its way");
		const before = sent().length;
		expect(before).toBeLessThan(2 * MB);
		await Bun.sleep(0);
		expect(sent().length).toBe(before);
		// It comes to itself.
		await until(() => {
			take();
			return sent().includes("Log lines were dropped");
		}, "a word of what was dropped");
		const lines = sent()
			.split("\n")
			.filter((line) => line !== "")
			.map((line) => JSON.parse(line) as { msg: string; line: number; lines: number });
		const kept = lines.filter(({ msg }) => msg === "long").map(({ line }) => line);
		const told = lines.filter(({ msg }) => msg !== "long");
		expect(told).toEqual([
			expect.objectContaining({
				level: "warn",
				msg: "Log lines were dropped: the main thread stalled.",
				lines: MANY - kept.length,
			}),
		]);
		// The first ones, in their order: 8 MB waited.
		expect(kept).toEqual([...kept.keys()]);
		expect(kept.length).toBeGreaterThanOrEqual(16);
		log.logger.info("after it");
		await until(() => {
			take();
			return sent().includes("after it");
		}, "a further line");
		expect(sent().split("Log lines were dropped")).toHaveLength(2);
	});

	test("loses nothing of what there is room for, and its order stays", async () => {
		const { log, sent, take } = logOfWorker();
		for (let line = 0; line < 12; line++) log.logger.info({ line, text: "x".repeat(MB / 2) }, "long");
		await until(() => {
			take();
			return sent().split("\n").length === 13;
		}, "all lines");
		const numbers = [...sent().matchAll(/"line":(\d+)/g)].map(([, number]) => Number(number));
		expect(numbers).toEqual([...Array(12).keys()]);
		expect(sent()).not.toContain("dropped");
	});
});

test("lines that come without a pause go to the main thread 256 K units at a time", () => {
	const messages: string[] = [];
	const log = workerLog(
		{ level: "info", keep: 1, dir: "/nowhere" },
		new RemoteLogFile((lines) => messages.push(lines)),
	);
	// Nothing else runs meanwhile: what is sent is sent for its length.
	for (let line = 0; line < 700; line++) log.logger.info({ line, text: "x".repeat(1000) }, "short");
	expect(messages).toHaveLength(2);
	for (const each of messages) expect(each.length).toBeWithin(256 * 1024, 258 * 1024);
	expect(messages.join("").match(/"line":\d+/g)).toHaveLength(messages.join("").split("\n").length - 1);
});

test("lines of another thread that are dropped many at a time are counted each", async () => {
	const { log, sent, take } = logOfWorker();
	const lines = `{"msg":"${"x".repeat(MB)}"}\n`.repeat(8);
	log.take(lines);
	log.take(`${lines}{"msg":"short"}\n`);
	log.take('{"msg":"short"}\n');
	await until(() => {
		take();
		return sent().includes("Log lines were dropped");
	}, "a word of what was dropped");
	expect(sent()).toContain('"lines":10,"msg":"Log lines were dropped');
});
