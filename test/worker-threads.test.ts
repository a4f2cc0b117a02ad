/** A router of several worker threads: to its clients, and to whoever watches it, it is one. */
import { Database } from "bun:sqlite";
import { afterEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Loose } from "./kit/exchange.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers } from "./kit/faults.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";
import { callOnce, outcomesOf, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const whole = answers(
	"200 OK",
	JSON.stringify({
		id: "x",
		choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
		usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 },
	}),
);
const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

function upstream() {
	const started = startFaultUpstream(whole);
	stops.push(() => started.stop());
	return started;
}
async function here(config: Parameters<typeof startHere>[0], port = 0) {
	const router = await startHere(config, port);
	stops.push(() => router.stop());
	return router;
}
async function child(config: Parameters<typeof startHere>[0]): Promise<RunningRouter> {
	const router = await startRouter({ config });
	stops.push(() => router.stop());
	return router;
}
const box = (origin: string) => ({ providers: { box: { type: "openai-compatible", base_url: origin } } });
/** So many calls over connections of their own; their statuses. */
async function callMany(url: string, count: number, model: string, headers: Record<string, string> = {}) {
	const all = Array.from({ length: count }, async () => {
		const answer = await callOnce(url, { model }, headers);
		await answer.text();
		return answer.status;
	});
	return Promise.all(all);
}
const callsIn = (log: string) => log.split("\n").filter((line) => line.includes('"op":"chat"')).length;
async function metric(url: string, name: string): Promise<number> {
	const text = await (await fetch(`${url}/metrics`)).text();
	return text
		.split("\n")
		.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
		.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

describe("a port that is in use", () => {
	test("is refused where any process listens there, and no log is opened", async () => {
		using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
		await expect(startHere(twoWorkers(), taken.port)).rejects.toThrow(`Port ${taken.port} on 127.0.0.1 is taken`);
	});

	test("is refused where another router of several workers has it", async () => {
		const first = await here(twoWorkers());
		const port = Number(new URL(first.url).port);
		await expect(startHere(twoWorkers(), port)).rejects.toThrow(`Port ${port} on 127.0.0.1 is taken`);
		expect(await callMany(first.url, 8, "dummy")).toEqual(Array(8).fill(200));
	});

	test("is free again as soon as its router has stopped", async () => {
		const first = await startHere(twoWorkers());
		expect(await callMany(first.url, 8, "dummy")).toEqual(Array(8).fill(200));
		await first.stop();
		const next = await here(twoWorkers(), Number(new URL(first.url).port));
		expect(next.url).toBe(first.url);
		expect(await callMany(next.url, 8, "dummy")).toEqual(Array(8).fill(200));
	});
});

describe("calls over many connections", () => {
	test("are answered by both workers; log, ledger and metrics have each of them once", async () => {
		const box1 = upstream();
		using recorded = recordWorkers();
		const router = await here(twoWorkers(box(box1.origin)));
		expect(await callMany(router.url, 40, "dummy")).toEqual(Array(40).fill(200));
		expect(await callMany(router.url, 40, "box/m")).toEqual(Array(40).fill(200));
		expect(await metric(router.url, "router_requests_total")).toBe(80);
		expect(await metric(router.url, "router_in_flight_requests")).toBe(0);
		expect(await metric(router.url, "router_info")).toBe(1);
		expect(await metric(router.url, "router_workers")).toBe(2);
		expect(router.log()).toMatch(/"workers":2,"msg":"listening"/);
		const calls = recorded.workers.map((each) => each.calls());
		expect(calls).toHaveLength(2);
		expect(calls[0]! + calls[1]!).toBe(80);
		expect(Math.min(...calls)).toBeGreaterThan(0);
		expect(box1.received).toHaveLength(40);
		await until(() => callsIn(router.log()) === 80, "a line for each call");
	});

	test("are in one ledger, where administrators find each at once", async () => {
		const key = "admin-key-of-the-test";
		const router = await here(twoWorkers({ admin: { keys: [{ name: "ops", key }] } }));
		const headers = { authorization: `Bearer ${key}` };
		const ids = await Promise.all(
			Array.from({ length: 12 }, async () => {
				const answer = await callOnce(router.url);
				await answer.text();
				return answer.headers.get("x-request-id");
			}),
		);
		for (const id of ids) {
			const found = await fetch(`${router.url}/admin/calls/${id}`, { headers });
			expect([found.status, await found.json()]).toEqual([200, expect.objectContaining({ id })]);
		}
		const usage = (await (await fetch(`${router.url}/admin/usage`, { headers })).json()) as {
			data: { calls: number }[];
		};
		expect(usage.data.reduce((sum, { calls }) => sum + calls, 0)).toBe(12);
		expect((await fetch(`${router.url}/admin/usage`)).status).toBe(401);
	});
});

test("a stored response is gone on from, read and deleted over any connection, at once", async () => {
	const router = await here(twoWorkers());
	const ask = async (method: string, path: string, body?: object) => {
		const answer = await fetch(`${router.url}/v1/responses${path}`, {
			method,
			headers: { "content-type": "application/json", connection: "close" },
			...(body ? { body: JSON.stringify(body) } : {}),
		});
		return [answer.status, ((await answer.json()) as { id?: string }).id] as const;
	};
	const create = (previous?: string) =>
		ask("POST", "", { model: "dummy", input: "hello", ...(previous ? { previous_response_id: previous } : {}) });
	let [status, last] = await create();
	expect(status).toBe(200);
	const first = last!;
	for (let turn = 0; turn < 12; turn++) {
		[status, last] = await create(last);
		expect(status).toBe(200);
	}
	for (let look = 0; look < 6; look++) expect(await ask("GET", `/${first}`)).toEqual([200, first]);
	expect((await ask("DELETE", `/${first}`))[0]).toBe(200);
	for (let look = 0; look < 6; look++) expect((await ask("GET", `/${first}`))[0]).toBe(404);
	expect((await create(last))[0]).toBe(400);
});

test("an agent that one worker heard of is called by all, and its calls are counted together", async () => {
	const router = await here(twoWorkers());
	const release = Promise.withResolvers<undefined>();
	const agent = startFakeAgent({ router: router.url, before: () => release.promise });
	stops.push(() => agent.stop());
	await until(() => agent.secrets.length > 0, "the registration");
	const held = callMany(router.url, 24, "qwen");
	await until(() => agent.authorizations.length === 24, "all calls at the agent");
	const list = async () => ((await (await fetch(`${router.url}/agents`)).json()) as { data: Loose[] }).data;
	expect((await list())[0]).toMatchObject({ name: "gpu-1", state: "fresh", models: [{ name: "qwen", in_flight: 24 }] });
	release.resolve(undefined);
	expect(await held).toEqual(Array(24).fill(200));
	expect((await list())[0]).toMatchObject({ models: [{ in_flight: 0 }] });
});

test("a worker survives what no call has caught, as the main thread does", async () => {
	const program = join(import.meta.dir, "kit/failing-worker.ts");
	const child = Bun.spawn([process.execPath, program], { stdout: "pipe", stderr: "ignore" });
	expect(await new Response(child.stdout).text()).toBe("exception\nrejection\nyes\n");
});

describe("a worker that ends", () => {
	test("takes only its own calls with it, and another one takes its place", async () => {
		const box1 = upstream();
		using recorded = recordWorkers();
		const router = await here(twoWorkers(box(box1.origin)));
		expect(await callMany(router.url, 20, "dummy")).toEqual(Array(20).fill(200));
		expect(await metric(router.url, "router_requests_total")).toBe(20);
		const release = Promise.withResolvers<void>();
		box1.run(async (connection) => {
			await release.promise;
			await whole(connection);
		});
		const held = outcomesOf(router.url, 24, { model: "box/m" });
		await until(() => box1.received.length === 24, "all calls at the upstream");
		recorded.workers[0]!.worker.terminate();
		await until(() => recorded.workers.length === 3 && router.log().includes("has taken the place"), "another worker");
		release.resolve();
		const outcomes = await held;
		expect([...new Set(outcomes)].sort()).toEqual([200, "reset"]);
		expect(await metric(router.url, "router_workers_ended_total")).toBe(1);
		// What the dead one had counted is still there, and the calls that ended with it.
		expect(await metric(router.url, "router_requests_total")).toBe(20 + 24);
		expect(await callMany(router.url, 20, "dummy")).toEqual(Array(20).fill(200));
		expect(router.log()).toContain("A worker has ended, with its calls.");
	});

	test("is replaced again and again, and new connections find the others meanwhile", async () => {
		using recorded = recordWorkers();
		const router = await here(twoWorkers());
		for (let round = 0; round < 4; round++) {
			recorded.workers.at(-1)!.worker.terminate();
			await until(() => recorded.workers.length === 3 + round, "another worker");
			await until(() => router.log().split("has taken the place").length === 2 + round, "its start");
			expect(await callMany(router.url, 10, "dummy")).toEqual(Array(10).fill(200));
		}
		expect(await metric(router.url, "router_workers_ended_total")).toBe(4);
	});
});

describe("a stop", () => {
	test("loses no call that is under way at either worker, and writes all lines and rows", async () => {
		const box1 = upstream();
		const router = await child(twoWorkers(box(box1.origin)));
		const release = Promise.withResolvers<void>();
		box1.run(async (connection) => {
			await release.promise;
			await whole(connection);
		});
		const held = callMany(router.url, 32, "box/m");
		await until(() => box1.received.length === 32, "all calls at the upstream");
		process.kill(router.pid, "SIGTERM");
		await router.printed(/No further calls are taken/);
		release.resolve();
		expect(await held).toEqual(Array(32).fill(200));
		await router.printed(/Stopped\./);
		await until(() => !isRunning(router.pid), "the end");
		using db = new Database(join(router.directory, "data/router.db"), { readonly: true });
		expect(db.query("SELECT COUNT(*) AS count FROM calls").get()).toEqual({ count: 32 });
		const log = await Bun.file(join(router.directory, "logs/router.log")).text();
		expect(callsIn(log)).toBe(32);
		expect(log.split("\n").filter((line) => line.includes("Stopped."))).toHaveLength(1);
	});

	test("tells clients to go elsewhere while calls are still taken", async () => {
		const router = await child(twoWorkers({}, { drain: "1m" }));
		expect((await callOnce(router.url)).headers.get("connection")).not.toBe("close");
		process.kill(router.pid, "SIGTERM");
		await until(async () => (await fetch(`${router.url}/health/ready`)).status === 503, "the drain");
		// Each worker hears of it by itself.
		await until(async () => {
			const answers = await Promise.all(Array.from({ length: 16 }, () => callOnce(router.url)));
			expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(200));
			return answers.every(({ headers }) => headers.get("connection") === "close");
		}, "the word of both workers");
		process.kill(router.pid, "SIGTERM");
		await until(() => !isRunning(router.pid), "the end");
	});
});

function isRunning(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
}
