import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import type { CallSettled } from "../src/telemetry/events.ts";
import { createLog, type LogOptions, type Stdout } from "../src/telemetry/log.ts";
import { createBatch } from "../src/telemetry/log-batch.ts";
import { fileName } from "../src/telemetry/log-file.ts";
import { prettyLine } from "../src/telemetry/log-pretty.ts";

const made: string[] = [];
function directory(): string {
	const dir = mkdtempSync(join(tmpdir(), "log-"));
	made.push(dir);
	return dir;
}
afterAll(() => {
	for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

/** A stdout that remembers; `isTTY` as a terminal would say it. */
function memory(isTTY = false): Stdout & { text(): string } {
	let all = "";
	return {
		isTTY,
		write(text, done) {
			all += text;
			done();
		},
		text: () => all,
	};
}

const open = (over: Partial<LogOptions> = {}) =>
	createLog({ dir: directory(), level: "info", keep: 14, role: "router", stdout: false, ...over });

const call: CallSettled = {
	id: "cmpl-7",
	operation: "chat",
	stream: true,
	model: "gpt-5-mini",
	provider: "openai",
	status: 200,
	attempts: 2,
	ms: 1234.5678,
};

/** The lines of a JSON log, parsed. */
const lines = (text: string): Record<string, unknown>[] =>
	text
		.split("\n")
		.filter(Boolean)
		.map((line) => JSON.parse(line));

describe("a log file that can't be written", () => {
	test("a directory that can't be made is said once on stdout, with its path, and calls are logged there", async () => {
		const file = join(directory(), "plain-file");
		writeFileSync(file, "");
		const stdout = memory();
		let failures = 0;
		const log = open({ dir: join(file, "logs"), stdout, onFailure: () => failures++ });
		log.sink.callSettled(call);
		log.sink.callSettled(call);
		await log.flush();
		const [first, ...rest] = lines(stdout.text());
		expect(first?.["level"]).toBe("error");
		expect(first?.["msg"]).toContain(join(file, "logs", "router.log"));
		const opened = log.open();
		expect(opened.problem).toBe(String(first?.["msg"]));
		expect(opened.file).toBeUndefined();
		expect(rest.map((line) => line["msg"])).toEqual(["call", "call"]);
		expect(failures).toBe(1);
	});

	test("a full disk (ENOSPC) later on is said once, loses no line on stdout, and the file is used again when it works", async () => {
		let full = true;
		let written = "";
		let opened = 0;
		const stream = () => {
			opened++;
			return new Writable({
				write(chunk, _encoding, done) {
					if (full) return done(Object.assign(new Error("no space left on device"), { code: "ENOSPC" }));
					written += chunk;
					done();
				},
			});
		};
		const stdout = memory();
		const log = open({ stdout, file: { open: stream, retryMs: 0 } });
		for (let i = 0; i < 3; i++) {
			log.sink.callSettled(call);
			await log.flush();
		}
		full = false;
		log.sink.callSettled({ ...call, id: "cmpl-8" });
		await log.flush();
		await log.flush();
		const messages = lines(stdout.text()).map((line) => String(line["msg"]));
		expect(messages.filter((message) => message.includes("ENOSPC"))).toHaveLength(1);
		expect(messages.filter((message) => message === "call")).toHaveLength(4);
		expect(messages.filter((message) => message.includes("can be written again"))).toHaveLength(1);
		expect(written).toContain("cmpl-8");
		expect(opened).toBeGreaterThan(1);
	});

	test("before the minute is over a failed file is not tried again", async () => {
		let opened = 0;
		const broken = () => {
			opened++;
			throw Object.assign(new Error("read-only file system"), { code: "EROFS" });
		};
		const log = open({ file: { open: broken } });
		for (let i = 0; i < 3; i++) {
			log.logger.info("x");
			await log.flush();
		}
		expect(opened).toBe(1);
	});

	test("a reader of stdout that went away (EPIPE) ends neither the process nor the log file", async () => {
		let fail: (cause: Error) => void = () => {};
		let writes = 0;
		const stdout: Stdout = {
			write(_text, done) {
				writes++;
				done();
			},
			on: (_event, listener) => {
				fail = listener;
			},
		};
		const log = open({ stdout });
		fail(Object.assign(new Error("broken pipe"), { code: "EPIPE" }));
		log.logger.info("still here");
		await log.flush();
		expect(writes).toBe(0);
		expect(readFileSync(String(log.open().file), "utf8")).toContain("still here");
	});

	test("all logs of a process hear by one listener that the reader of its stdout went away", async () => {
		const listeners: ((cause: Error) => void)[] = [];
		const written: string[] = [];
		const stdout: Stdout = {
			write: (text, done) => {
				written.push(text);
				done();
			},
			on: (_event, listener) => listeners.push(listener),
		};
		const logs = Array.from({ length: 12 }, () => open({ stdout }));
		expect(listeners).toHaveLength(1);
		listeners[0]!(new Error("broken pipe"));
		for (const log of logs) log.logger.info("x");
		await Promise.all(logs.map((log) => log.flush()));
		expect(written).toEqual([]);
	});

	test("a stalled stdout does not hold flush for ever, and its waiting text is bounded", async () => {
		const stuck = createBatch(() => {});
		const line = "x".repeat(1024 * 1024);
		for (let i = 0; i < 20; i++) stuck.write(line);
		expect(stuck.dropped()).toBeGreaterThanOrEqual(11);
		expect(stuck.dropped()).toBe(0);
		const log = open({ stdout: { write: () => {} } });
		log.logger.info("x");
		await log.flush();
		expect(readFileSync(String(log.open().file), "utf8")).toContain('"msg":"x"');
	});
});

describe("what a line says", () => {
	test("a call is one line of stable fields, absent where there is nothing to say", async () => {
		const log = open();
		log.sink.callSettled({ ...call, requested: "gpt-5-mini", tokens: { input: 3, output: 9 }, firstTokenMs: 40.04 });
		await log.flush();
		const [line, ...more] = lines(readFileSync(String(log.open().file), "utf8"));
		expect(more).toEqual([]);
		const { time, ...fields } = line ?? {};
		expect(String(time)).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
		expect(fields).toEqual({
			level: "info",
			id: "cmpl-7",
			op: "chat",
			stream: true,
			model: "gpt-5-mini",
			provider: "openai",
			status: 200,
			attempts: 2,
			ttft_ms: 40,
			ms: 1234.6,
			tokens_in: 3,
			tokens_out: 9,
			msg: "call",
		});
	});

	test("5xx are warnings; 4xx and a client that left are not", async () => {
		const stdout = memory();
		const log = open({ stdout });
		for (const status of [502, 499, 404, 200]) log.sink.callSettled({ ...call, status });
		await log.flush();
		expect(lines(stdout.text()).map((line) => line["level"])).toEqual(["warn", "info", "info", "info"]);
	});

	test("failed attempts are lines at level debug only", async () => {
		const attempt = { callId: "cmpl-7", provider: "xai", target: "xai/grok", failure: "rate", ms: 3 } as const;
		const [quiet, loud] = [memory(), memory()];
		for (const [level, stdout] of [["info", quiet] as const, ["debug", loud] as const]) {
			const log = open({ level, stdout });
			log.sink.attemptFailed?.(attempt);
			await log.flush();
		}
		expect(quiet.text()).toBe("");
		expect(lines(loud.text())[0]).toMatchObject({ id: "cmpl-7", failure: "rate", msg: "attempt failed" });
	});

	test("a name as long as a body is cut", async () => {
		const stdout = memory();
		const log = open({ stdout });
		log.sink.callSettled({ ...call, model: "unknown", requested: "p".repeat(100_000), user: "u".repeat(100_000) });
		await log.flush();
		expect(stdout.text().length).toBeLessThan(1000);
	});

	test("authorization-like fields are redacted at the top and in headers, in child loggers too", async () => {
		const stdout = memory();
		const log = open({ stdout });
		const headers = {
			authorization: "Bearer sk-1",
			cookie: "sk-2",
			"x-api-key": "sk-3",
			"api-key": "sk-7",
			host: "kept",
		};
		log.logger.info({ headers, api_key: "sk-4" }, "x");
		log.logger.child({ authorization: "sk-5" }).info({ password: "sk-6" }, "y");
		await log.flush();
		expect(stdout.text()).not.toContain("sk-");
		expect(stdout.text()).toContain("kept");
	});

	test("an error keeps its stack and causes but not its other properties, nor the text a parser quotes", async () => {
		const stdout = memory();
		const log = open({ stdout });
		const cause = Object.assign(new TypeError("bad address"), { code: "ECONNREFUSED", request: "PROMPT" });
		let parse: unknown;
		try {
			JSON.parse('{"messages": PROMPT}');
		} catch (thrown) {
			parse = thrown;
		}
		log.logger.error({ err: new Error("outer", { cause }) }, "x");
		log.logger.error({ err: parse }, "y");
		await log.flush();
		expect(stdout.text()).not.toContain("PROMPT");
		const [first, second] = lines(stdout.text());
		expect(first?.["err"]).toMatchObject({
			message: "outer",
			cause: { message: "bad address", code: "ECONNREFUSED" },
		});
		expect(first).toHaveProperty("err.stack", expect.stringContaining("log.test.ts"));
		expect(second?.["err"]).toMatchObject({ type: "SyntaxError" });
	});

	test("a terminal gets one readable line, with no control character of a client's", () => {
		const json = JSON.stringify({
			level: "warn",
			time: "2026-01-31T10:11:12.000Z",
			id: "a b",
			x: "\u001b]0;t\u0007",
			msg: "call",
		});
		expect(prettyLine(`${json}\n`, false)).toBe('10:11:12 WARN  call id="a b" x=]0;t\n');
		expect(prettyLine(`${json}\n`, true)).toContain("\x1b[33mWARN \x1b[0m");
		expect(prettyLine("no json\n", true)).toBe("no json\n");
	});

	test("a terminal gets readable lines while the file gets JSON", async () => {
		const stdout = memory(true);
		const log = open({ stdout });
		log.sink.callSettled(call);
		await log.flush();
		expect(stdout.text()).toContain("call id=cmpl-7");
		expect(lines(readFileSync(String(log.open().file), "utf8"))).toHaveLength(1);
	});
});

describe("files", () => {
	test("nothing is opened or rotated before the first line, or before it is asked for", async () => {
		const dir = directory();
		const yesterday = new Date(Date.now() - 86_400_000);
		const current = join(dir, "router.log");
		writeFileSync(current, "of another process\n");
		utimesSync(current, yesterday, yesterday);
		const log = open({ dir });
		await log.flush();
		expect(readdirSync(dir)).toEqual(["router.log"]);
		log.logger.info("first");
		await log.flush();
		expect(lines(readFileSync(current, "utf8")).map((line) => line["msg"])).toEqual(["first"]);
		expect(readdirSync(dir).filter((name) => name.startsWith("router-"))).toHaveLength(1);
		const empty = join(directory(), "logs");
		const { file } = open({ dir: empty }).open();
		expect(readdirSync(empty)).toContain("router.log");
		expect(file).toBe(join(empty, "router.log"));
	});

	test("yesterday's file is named after its day at the next start, and only `keep` of them stay (trap: pino)", async () => {
		const dir = directory();
		for (const day of ["2026-01-28", "2026-01-29", "2026-01-30"]) {
			writeFileSync(join(dir, "router.log"), `${day}\n`);
			const then = new Date(`${day}T12:00:00Z`);
			utimesSync(join(dir, "router.log"), then, then);
			const log = open({ dir, keep: 2 });
			log.logger.info("today");
			await log.flush();
			rmSync(join(dir, "router.log"));
		}
		const past = readdirSync(dir).filter((name) => name.endsWith(".log"));
		expect(past.sort()).toEqual(["router-2026-01-29.log", "router-2026-01-30.log"]);
		expect(readFileSync(join(dir, "router-2026-01-30.log"), "utf8")).toBe("2026-01-30\n");
	});

	test("the current file keeps its plain name, a second file of a day gets a number", () => {
		expect(fileName("router", null)).toBe("router.log");
		expect(fileName("agent", Date.UTC(2026, 0, 31), 1)).toBe("agent-2026-01-31.log");
		expect(fileName("agent", Date.UTC(2026, 0, 31), 2)).toBe("agent-2026-01-31.2.log");
	});

	test("the agent's file is agent.log", () => {
		expect(open({ role: "agent" }).open().file).toEndWith("agent.log");
	});
});
