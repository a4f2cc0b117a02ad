import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLifecycle, untilReplaced } from "../src/http/lifecycle.ts";
import { type Event, lifecycleStep, type State } from "../src/http/lifecycle-state.ts";
import { NO_SIGNALS, quietLog } from "./kit/http-base.ts";
import { readTo } from "./kit/lines.ts";

interface Child {
	readonly url: string;
	readonly process: Bun.Subprocess;
	/** Everything it wrote to stdout, once it has ended. */
	readonly stdout: Promise<string>;
	log(): string;
}

const dirs: string[] = [];
const children: Bun.Subprocess[] = [];
afterEach(async () => {
	for (const child of children.splice(0)) {
		child.kill("SIGKILL");
		await child.exited;
	}
	for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

async function start(times: { drainMs: number; shutdownMs: number }): Promise<Child> {
	const dir = mkdtempSync(join(tmpdir(), "lifecycle-"));
	dirs.push(dir);
	const process_ = Bun.spawn([process.execPath, join(import.meta.dir, "kit/lifecycle-server.ts")], {
		env: { ...process.env, DRAIN_MS: String(times.drainMs), SHUTDOWN_MS: String(times.shutdownMs), LOG_DIR: dir },
		stdout: "pipe",
		stderr: "inherit",
	});
	children.push(process_);
	const [head, rest] = process_.stdout.tee();
	const url = String((await readTo(head.getReader(), "\n")).split("\n")[0]);
	return {
		url,
		process: process_,
		stdout: new Response(rest).text(),
		log: () => readFileSync(join(dir, "router.log"), "utf8"),
	};
}

/** Opens the stream and waits for its first bytes. */
async function openStream(url: string) {
	const response = await fetch(`${url}/stream`);
	const reader = response.body?.getReader();
	await reader?.read();
	return {
		async rest() {
			let text = "";
			for (;;) {
				const next = await reader?.read();
				if (!next || next.done) return text;
				text += new TextDecoder().decode(next.value);
			}
		},
	};
}

async function until(done: () => Promise<boolean>): Promise<void> {
	for (let tries = 0; tries < 1000; tries++) {
		if (await done()) return;
		await Bun.sleep(10);
	}
	throw new Error("It did not happen within 10 s.");
}

const readyStatus = async (url: string) => (await fetch(`${url}/health/ready`)).status;
const refused = async (url: string) => {
	try {
		await fetch(`${url}/health/live`);
		return false;
	} catch {
		return true;
	}
};

describe("a real process", () => {
	test("after a second SIGTERM ends at once with 143, although a stream runs and the drain is long", async () => {
		const { url, process: child } = await start({ drainMs: 600_000, shutdownMs: 600_000 });
		await openStream(url);
		child.kill("SIGTERM");
		await until(async () => (await readyStatus(url)) === 503);
		child.kill("SIGTERM");
		expect(await child.exited).toBe(143);
	});

	test("after a second SIGINT ends at once with 130, in the stopping state too", async () => {
		const { url, process: child } = await start({ drainMs: 0, shutdownMs: 600_000 });
		await openStream(url);
		child.kill("SIGINT");
		await until(() => refused(url));
		child.kill("SIGINT");
		expect(await child.exited).toBe(130);
	});

	test("takes calls while it drains, with ready off and `connection: close`", async () => {
		const { url, process: child } = await start({ drainMs: 600_000, shutdownMs: 600_000 });
		expect(await readyStatus(url)).toBe(200);
		child.kill("SIGTERM");
		await until(async () => (await readyStatus(url)) === 503);
		const response = await fetch(`${url}/call`, { method: "POST" });
		expect([response.status, response.headers.get("connection")]).toEqual([200, "close"]);
		expect((await fetch(`${url}/health/live`)).status).toBe(200);
	});

	test("finishes a running stream after it stopped listening, ends with 0, and loses no line (trap: pino, SIGTERM)", async () => {
		const { url, process: child, stdout, log } = await start({ drainMs: 50, shutdownMs: 600_000 });
		const stream = await openStream(url);
		child.kill("SIGTERM");
		await until(() => refused(url));
		child.kill("SIGUSR2");
		expect(await stream.rest()).toBe("end");
		expect(await child.exited).toBe(0);
		for (const text of [log(), await stdout]) {
			expect(text.split("last words").length - 1).toBe(2000);
			expect(text).toContain("A hook failed while stopping");
			expect(text.trimEnd()).toEndWith('"msg":"Stopped."}');
		}
	});

	test("cuts a stream at the deadline, lets it settle, and ends with 0", async () => {
		const { url, process: child, log } = await start({ drainMs: 0, shutdownMs: 300 });
		const stream = await openStream(url);
		const rest = stream.rest().then(
			() => "ended",
			() => "cut",
		);
		child.kill("SIGTERM");
		expect(await child.exited).toBe(0);
		expect(await rest).toBe("cut");
		expect(log()).toContain("their connections are cut");
		expect(log().indexOf("stream cancelled")).toBeLessThan(log().indexOf('"msg":"Stopped."'));
		expect(log()).toContain("stream cancelled");
	});
});

describe("the state table", () => {
	const after = (...events: Event[]) => {
		let state: State = "starting";
		const effects: string[] = [];
		for (const event of events) {
			const next = lifecycleStep(state, event);
			state = next.to;
			effects.push(...next.effects);
		}
		return { state, effects };
	};

	test("idle and deadline together finish once", () => {
		const { state, effects } = after("listening", "signal", "drained", "idle", "deadline", "idle");
		expect(state).toBe("stopped");
		expect(effects).toEqual(["wait-drain", "stop-listening", "wait-deadline", "finish"]);
	});

	test("the deadline cuts before it finishes", () => {
		const { effects } = after("listening", "signal", "drained", "deadline", "idle");
		expect(effects.slice(-2)).toEqual(["cut", "finish"]);
	});

	test("a stop before listening has nothing to drain, and a late `listening` does not turn ready on", () => {
		expect(after("stop", "listening")).toEqual({ state: "stopping", effects: ["stop-listening", "wait-deadline"] });
	});

	test("`stop` twice stops once, and a signal after it ends at once", () => {
		expect(after("listening", "stop", "stop").effects).toEqual(["stop-listening", "wait-deadline"]);
		expect(after("listening", "stop", "signal").effects.at(-1)).toBe("abort");
		expect(after("listening", "stop", "idle", "signal").effects.at(-1)).toBe("finish");
	});
});

test("stop() of what never listened resolves, after its hooks, with code 0", async () => {
	const lifecycle = createLifecycle({ drainMs: 600_000, shutdownMs: 600_000, log: quietLog(), signals: NO_SIGNALS });
	const order: string[] = [];
	lifecycle.onStop(() => void order.push("first"));
	lifecycle.onStop(async () => {
		await Bun.sleep(1);
		order.push("second");
	});
	await Promise.all([lifecycle.stop(), lifecycle.stop()]);
	expect(order).toEqual(["first", "second"]);
	expect(await lifecycle.finished).toBe(0);
});

test("a server that fails to stop does not keep the process", async () => {
	const lifecycle = createLifecycle({ drainMs: 0, shutdownMs: 600_000, log: quietLog(), signals: NO_SIGNALS });
	lifecycle.started({ stop: () => Promise.reject(new Error("no")) });
	await lifecycle.stop();
	expect(await lifecycle.finished).toBe(0);
});

describe("a process whose place another one takes", () => {
	const times = { drainMs: 0, shutdownMs: 60_000, log: quietLog(), signals: NO_SIGNALS };

	test("has work that the other one goes on with end at once, and once", async () => {
		const lifecycle = createLifecycle(times);
		const ends: string[] = [];
		lifecycle.onStop(untilReplaced(lifecycle, () => void ends.push(lifecycle.state)));
		lifecycle.started({ stop: async () => {} });
		lifecycle.replaced(new Promise(() => {}));
		expect(ends).toEqual(["replaced"]);
		await lifecycle.stop();
		expect(ends).toEqual(["replaced"]);
	});

	test("has it end with the process where none has the place", async () => {
		const lifecycle = createLifecycle(times);
		const ends: string[] = [];
		lifecycle.onStop(untilReplaced(lifecycle, () => void ends.push(lifecycle.state)));
		lifecycle.started({ stop: async () => {} });
		await lifecycle.stop();
		expect(ends).toEqual(["stopped"]);
	});
});

describe("a stop behind another process", () => {
	test("waits for its end, and for its deadline at the most", async () => {
		const other = Promise.withResolvers<void>();
		const ends: string[] = [];
		const patient = createLifecycle({ drainMs: 0, shutdownMs: 60_000, log: quietLog(), signals: NO_SIGNALS });
		patient.stopsBehind(other.promise.then(() => void ends.push("other")));
		patient.started({ stop: async () => {} });
		const stopped = patient.stop().then(() => void ends.push("this"));
		const hurried = createLifecycle({ drainMs: 0, shutdownMs: 1, log: quietLog(), signals: NO_SIGNALS });
		hurried.stopsBehind(other.promise);
		hurried.started({ stop: async () => {} });
		// It takes longer than the other one would have without the wait.
		await hurried.stop();
		expect(ends).toEqual([]);
		other.resolve();
		await stopped;
		expect(ends).toEqual(["other", "this"]);
	});
});
