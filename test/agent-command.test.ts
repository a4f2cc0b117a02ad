/** Programs that the agent runs: read to their ends, ended at their deadlines. The programs are real. */
import { describe, expect, test } from "bun:test";
import { CommandFailure, commandLines, runCommand } from "../src/agent/docker/command.ts";

const env = { PATH: process.env["PATH"] };
const shell = (script: string) => ["sh", "-c", script];
const quick = { env, deadlineMs: 20_000 };

async function failureOf(promise: Promise<unknown>): Promise<CommandFailure> {
	try {
		await promise;
	} catch (error) {
		if (error instanceof CommandFailure) return error;
		throw error;
	}
	throw new Error("it ended well");
}

async function collect(lines: AsyncIterable<{ from: string; line: string }>) {
	const found: string[] = [];
	for await (const { from, line } of lines) found.push(`${from}: ${line}`);
	return found;
}

/** Whether a process is there. */
function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
}

/** Resolves once it holds; the test's own deadline is the limit. */
async function until(holds: () => boolean): Promise<void> {
	while (!holds()) await Bun.sleep(5);
}

describe("a short command", () => {
	test("gives its exit code and both streams", async () => {
		expect(await runCommand(shell("echo out; echo err >&2; exit 3"), quick)).toEqual({
			code: 3,
			stdout: "out\n",
			stderr: "err\n",
		});
	});

	test("that prints more than a pipe holds on both streams is read to the end", async () => {
		const script = "head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2";
		const { stdout, stderr } = await runCommand(shell(script), quick);
		expect([stdout.length, stderr.length]).toEqual([3_000_000, 3_000_000]);
	});

	test("gets its arguments as they are: no shell reads them", async () => {
		const words = ["$(id)", "; rm -rf /", "--privileged", "a b", "*", "'\""];
		const { stdout } = await runCommand(["printf", "%s\\n", ...words], quick);
		expect(stdout.split("\n").slice(0, -1)).toEqual(words);
	});

	test("that is missing, or may not be run, is no crash", async () => {
		expect((await failureOf(runCommand(["no-such-program"], quick))).kind).toBe("missing");
		expect((await failureOf(runCommand(["/etc/hostname"], quick))).kind).toBe("missing");
		expect((await failureOf(runCommand(["sh"], { ...quick, env: { PATH: "/nowhere" } }))).kind).toBe("missing");
	});

	test("is ended at its deadline", async () => {
		const failure = await failureOf(runCommand(["sleep", "600"], { env, deadlineMs: 50 }));
		expect([failure.kind, failure.message]).toEqual(["timeout", "sleep did not end within 0.05 s"]);
	});

	test("is given the environment that was meant, and no more", async () => {
		const { stdout } = await runCommand(["env"], { ...quick, env: { ...env, NAME: "value" } });
		expect(stdout.trim().split("\n").sort()).toEqual(["NAME=value", `PATH=${process.env["PATH"]}`]);
	});
});

describe("a long command", () => {
	test("gives lines of both streams, whatever ends them, and its last one without an end", async () => {
		const lines = await collect(commandLines(shell("printf 'a\\rb\\r\\nc\\n\\nd'"), { env }));
		expect(lines).toEqual(["stdout: a", "stdout: b", "stdout: c", "stdout: d"]);
		expect(await collect(commandLines(shell("echo e >&2"), { env }))).toEqual(["stderr: e"]);
	});

	test("keeps letters whole that two reads share, and cuts a line without end", async () => {
		const [line] = await collect(commandLines(shell("printf '\\303'; sleep 0.05; printf '\\244\\n'"), { env }));
		expect(line).toBe("stdout: ä");
		const [long] = await collect(commandLines(shell("head -c 1000000 /dev/zero | tr '\\0' x"), { env }));
		expect(long!.length).toBeLessThan(20_000);
	});

	test("that fails says so after its last line", async () => {
		const lines = commandLines(shell("echo last; exit 5"), { env });
		expect(await lines.next()).toEqual({ done: false, value: { from: "stdout", line: "last" } });
		expect((await failureOf(lines.next())).kind).toBe("exit");
	});

	test("is ended by the signal", async () => {
		const stop = new AbortController();
		const lines = commandLines(shell("echo $$; exec sleep 600"), { env, signal: stop.signal });
		const pid = Number((await lines.next()).value!.line);
		stop.abort();
		expect((await failureOf(lines.next())).kind).toBe("aborted");
		await until(() => !isAlive(pid));
	});

	test("is not started when the signal fired before", async () => {
		const failure = await failureOf(commandLines(["no-such-program"], { env, signal: AbortSignal.abort() }).next());
		expect(failure.kind).toBe("aborted");
	});

	test("is ended by its reader's leaving", async () => {
		let pid = 0;
		for await (const { line } of commandLines(shell("echo $$; exec sleep 600"), { env })) {
			pid = Number(line);
			break;
		}
		await until(() => !isAlive(pid));
	});

	test("is ended after a silence, and the reader's own pause is none", async () => {
		const lines = commandLines(shell("echo a; echo b; exec sleep 600"), { env, silenceMs: 1000 });
		await lines.next();
		await Bun.sleep(1300);
		expect((await lines.next()).value).toEqual({ from: "stdout", line: "b" });
		expect((await failureOf(lines.next())).kind).toBe("timeout");
	});
});
