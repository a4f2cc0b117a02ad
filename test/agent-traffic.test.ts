/** Calls that wait for a model, and the containers they are let through to. */
import { describe, expect, test } from "bun:test";
import { type ContainerAddress, type QueueLimits, QueueRefusal, Traffic } from "../src/agent/models/traffic.ts";

const A: ContainerAddress = { id: "a", replica: 0, origin: "http://127.0.0.1:1" };
const B: ContainerAddress = { id: "b", replica: 1, origin: "http://127.0.0.1:2" };

function traffic(limits: Partial<QueueLimits> = {}) {
	const news: number[] = [];
	const made = new Traffic(
		{ size: 3, running: 2, waitMs: 60_000, ...limits },
		{ progressText: () => "starting: loading, 40 %" },
		{ notify: () => void news.push(1) },
	);
	return { traffic: made, news };
}
const stays = new AbortController().signal;
const outcome = (promise: Promise<unknown>) => promise.catch((error: unknown) => error);

describe("a call", () => {
	test("waits until its model is open, in the order of arrival, and tells that it does", async () => {
		const { traffic: calls, news } = traffic();
		const order: string[] = [];
		const first = calls.acquire("m", stays).then(() => order.push("first"));
		const second = calls.acquire("m", stays).then(() => order.push("second"));
		expect([calls.waiting("m").count, news.length]).toEqual([2, 2]);
		calls.open("m", [A]);
		await Promise.all([first, second]);
		expect([order, calls.waiting("m").count, calls.running("m")]).toEqual([["first", "second"], 0, 2]);
	});

	test("goes to the container with the fewest calls", async () => {
		const { traffic: calls } = traffic({ running: 10 });
		calls.open("m", [A, B]);
		const leases = await Promise.all(Array.from({ length: 6 }, () => calls.acquire("m", stays)));
		expect([calls.runningIn("a"), calls.runningIn("b")]).toEqual([3, 3]);
		for (const lease of leases) if (lease.id === "a") lease.release();
		expect((await calls.acquire("m", stays)).id).toBe("a");
	});

	test("waits where every container has as many as it takes, and follows when one has ended", async () => {
		const { traffic: calls } = traffic({ running: 1 });
		calls.open("m", [A]);
		const lease = await calls.acquire("m", stays);
		const next = calls.acquire("m", stays);
		expect(calls.waiting("m").count).toBe(1);
		lease.release();
		lease.release();
		expect((await next).id).toBe("a");
		expect(calls.running("m")).toBe(1);
	});

	test("that leaves gives up its position in the queue", async () => {
		const { traffic: calls } = traffic();
		const leaving = new AbortController();
		const gone = outcome(calls.acquire("m", leaving.signal));
		leaving.abort(new Error("left"));
		expect(String(await gone)).toContain("left");
		expect(calls.waiting("m").count).toBe(0);
		expect(await outcome(calls.acquire("m", leaving.signal))).toBe(leaving.signal.reason);
	});

	test("beyond the bound is refused with 429", async () => {
		const { traffic: calls } = traffic();
		for (let call = 0; call < 3; call++) void outcome(calls.acquire("m", stays));
		const refused = (await outcome(calls.acquire("m", stays))) as QueueRefusal;
		expect([refused.status, refused.retryAfter > 0]).toEqual([429, true]);
		expect(refused.message).toContain("agent.queue.size");
	});

	test("that waited for as long as it may is refused with the progress of its model", async () => {
		const { traffic: calls } = traffic({ waitMs: 5 });
		const refused = (await outcome(calls.acquire("m", stays))) as QueueRefusal;
		expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("starting: loading, 40 %")]);
	});

	test("whose model failed is refused with the reason, those that wait among them; until it is open again", async () => {
		const { traffic: calls } = traffic();
		const waiting = outcome(calls.acquire("m", stays));
		const why = new QueueRefusal(503, "it failed", 10);
		calls.refuse("m", why);
		expect([await waiting, await outcome(calls.acquire("m", stays))]).toEqual([why, why]);
		calls.open("m", [A]);
		expect((await calls.acquire("m", stays)).id).toBe("a");
	});
});

describe("a call for one replica", () => {
	const id = async (acquired: Promise<{ id: string; replica: number }>) => {
		const lease = await acquired;
		return `${lease.id}${lease.replica}`;
	};

	test("goes to that one, however busy it is", async () => {
		const { traffic: calls } = traffic();
		calls.open("m", [A, B]);
		for (let call = 0; call < 2; call++) expect(await id(calls.acquire("m", stays, 1))).toBe("b1");
		expect([calls.runningIn("a"), calls.runningIn("b")]).toEqual([0, 2]);
	});

	test("is refused at once, to go elsewhere, while that one takes none and others do", async () => {
		const { traffic: calls } = traffic();
		calls.open("m", [A]);
		const gone = (await outcome(calls.acquire("m", stays, 1))) as QueueRefusal;
		expect([gone.status, gone.retryAfter, gone.message]).toEqual([
			503,
			1,
			'replica 1 of "m" takes no calls now, others do: leave out x-router-replica, or name another',
		]);
		calls.open("m", [A, B]);
		(await calls.acquire("m", stays, 1)).suspect();
		expect(await outcome(calls.acquire("m", stays, 1))).toBeInstanceOf(QueueRefusal);
		calls.confirmHealthy("m", "b");
		expect(await id(calls.acquire("m", stays, 1))).toBe("b1");
		expect(calls.waiting("m").count).toBe(0);
	});

	test("is refused, too, where the others have all the calls that they may have: it may wait there", async () => {
		const { traffic: calls } = traffic({ running: 1 });
		calls.open("m", [A]);
		await calls.acquire("m", stays);
		expect(await outcome(calls.acquire("m", stays, 1))).toBeInstanceOf(QueueRefusal);
	});

	test("waits for whichever comes first where none takes calls", async () => {
		const { traffic: calls } = traffic();
		const waiting = calls.acquire("m", stays, 1);
		expect(calls.waiting("m").count).toBe(1);
		calls.open("m", [A]);
		expect(await id(waiting)).toBe("a0");
	});

	test("goes to another, or waits in the queue, where that one has all the calls that it may have", async () => {
		const { traffic: calls } = traffic({ running: 1 });
		calls.open("m", [A, B]);
		const first = await calls.acquire("m", stays, 1);
		expect(await id(calls.acquire("m", stays, 1))).toBe("a0");
		const waiting = calls.acquire("m", stays, 1);
		expect(calls.waiting("m").count).toBe(1);
		first.release();
		expect(await id(waiting)).toBe("b1");
	});
});

describe("a container", () => {
	test("that is suspected gets no call until it has been probed", async () => {
		const { traffic: calls, news } = traffic();
		calls.open("m", [A, B]);
		const lease = await calls.acquire("m", stays);
		lease.suspect();
		lease.release();
		expect([news.length, calls.suspectSince(lease.id) !== undefined]).toEqual([1, true]);
		const other = await calls.acquire("m", stays);
		expect(other.id).not.toBe(lease.id);
		calls.open("m", [lease]);
		const waiting = calls.acquire("m", stays);
		expect(calls.waiting("m").count).toBe(1);
		calls.confirmHealthy("m", lease.id);
		expect((await waiting).id).toBe(lease.id);
	});

	test("is quiet since the first of its calls, or since bytes last came; without calls it is not", async () => {
		const { traffic: calls } = traffic();
		calls.open("m", [A]);
		expect(calls.quietSince("a")).toBeUndefined();
		const first = await calls.acquire("m", stays);
		const since = calls.quietSince("a")!;
		await Bun.sleep(5);
		await calls.acquire("m", stays);
		expect(calls.quietSince("a")).toBe(since);
		first.bytesCame();
		expect(calls.quietSince("a")).toBeGreaterThan(since);
	});

	test("that is gone is forgotten, once its calls have ended", async () => {
		const { traffic: calls } = traffic();
		calls.open("m", [A]);
		const lease = await calls.acquire("m", stays);
		lease.suspect();
		calls.retainContainers(new Set());
		expect(calls.runningIn("a")).toBe(1);
		lease.release();
		calls.retainContainers(new Set());
		expect(calls.suspectSince("a")).toBeUndefined();
	});
});
