/** The energy of calls at agents that say what their GPUs draw: in the answer's header, the log, and the metrics. */
import { afterEach, describe, expect, test } from "bun:test";
import { replicaPowers } from "../src/agent/gpu/replica-power.ts";
import type { GpuReport, ModelReport } from "../src/protocol/agent.ts";
import { engineGpus } from "../src/server/agents/engine-power.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { until } from "./kit/until.ts";
import { callOnce, startHere } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** A router, and an agent that has these models, or one that draws so much, W, as older ones say it. */
async function started(workers: number, of: number | ModelReport[] | undefined, gpus: readonly GpuReport[] = []) {
	/** What is done before a call is answered, which takes some time. */
	const during = { call: async () => {} };
	const router = await startHere({ server: { workers, drain: "0s" }, admin: { keys: [{ name: "ops", key: ADMIN }] } });
	stops.push(() => router.stop());
	const qwen: ModelReport = { name: "qwen", state: "ready", ...(typeof of === "number" && { power: of }) };
	const agent = startFakeAgent({
		router: router.url,
		models: Array.isArray(of) ? of : [qwen],
		gpus,
		before: async () => {
			await during.call();
			await Bun.sleep(20);
			return undefined;
		},
	});
	stops.push(() => agent.stop());
	await until(() => agent.secrets.length > 0, "the registration");
	return { router, agent, during };
}

const metricsOf = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();

async function joules(url: string): Promise<Record<string, number>> {
	const found = (await metricsOf(url)).matchAll(
		/^router_energy_joules_total\{target="local\/gpu-1\/qwen",use="(\w+)"\} (\S+)$/gm,
	);
	return Object.fromEntries([...found].map(([, use, value]) => [use!, Number(value)]));
}

const ADMIN = "admin-key-of-the-test";
async function admin(url: string, path: string): Promise<unknown> {
	const answer = await fetch(`${url}/admin${path}`, { headers: { authorization: `Bearer ${ADMIN}` } });
	return answer.json();
}
async function usageOf(url: string): Promise<Record<string, number>> {
	const { data } = (await admin(url, "/usage?by=model")) as { data: Record<string, number>[] };
	return data[0] ?? {};
}

const GPUS: readonly GpuReport[] = [{ index: 0, name: "L4", memory_total: 1, memory_used: 0, power: 200 }];
const headerOf = (answer: Response) => answer.headers.get("x-router-energy-j");

test("nothing is said of agents that do not say what they draw, nor of others", async () => {
	const { router } = await started(1, undefined);
	for (const model of ["qwen", "dummy"]) {
		const answer = await callOnce(router.url, { model });
		await answer.text();
		expect([answer.status, headerOf(answer)]).toEqual([200, null]);
	}
	expect(await joules(router.url)).toEqual({});
	expect(router.log()).not.toContain("energy_j");
});

test("a call that its model is loaded for gets what is drawn once its agent says on which GPU that is", async () => {
	const other: ModelReport = { name: "other", state: "ready", gpus: [0] };
	const { router, agent, during } = await started(
		1,
		[{ name: "qwen", state: "stopped", load: "on-demand", gpus: [] }, other],
		GPUS,
	);
	await until(async () => (await metricsOf(router.url)).includes("local/gpu-1/other"), "the first report");
	during.call = async () => {
		expect(await joules(router.url)).toEqual({});
		agent.report.models = [{ name: "qwen", state: "ready", gpus: [0] }, other];
		await until(async () => "idle" in (await joules(router.url)), "the GPU");
	};
	const answer = await callOnce(router.url, { model: "qwen" });
	await answer.text();
	const got = Number(headerOf(answer));
	expect(got).toBeGreaterThan(200 * 0.02 * 0.9);
	// Four digits in the header.
	expect((await joules(router.url)).calls!).toBeWithin(got * 0.999, got * 1.001);
});

test.each([1, 2])(
	"calls that are alone in turn in two models on one GPU get all that it draws meanwhile; workers: %d",
	async (workers) => {
		const on = (name: string): ModelReport => ({ name, state: "ready", gpus: [0] });
		const { router } = await started(workers, [on("qwen"), on("other")], GPUS);
		await until(async () => "idle" in (await joules(router.url)), "the power");
		for (const model of ["qwen", "other", "qwen", "other"]) {
			const answer = await callOnce(router.url, { model });
			await answer.text();
			expect(Number(headerOf(answer))).toBeGreaterThan(200 * 0.02 * 0.9);
		}
	},
);

test.each([1, 2])(
	"what calls got is in their headers and lines, and in the metrics as one sum; workers: %d",
	async (workers) => {
		const { router } = await started(workers, 400);
		await until(async () => "idle" in (await joules(router.url)), "the power");
		let sum = 0;
		const answers = await Promise.all(
			Array.from({ length: 8 }, async (_, at) => {
				const answer = await callOnce(router.url, { model: "qwen", stream: at % 2 === 1 });
				await answer.text();
				return answer;
			}),
		);
		// Of a stream nobody knows it when its head is sent.
		expect(answers.map((answer) => headerOf(answer) !== null)).toEqual([
			true,
			false,
			true,
			false,
			true,
			false,
			true,
			false,
		]);
		const lines = () =>
			[...router.log().matchAll(/"op":"chat".*"energy_j":([\d.e-]+)/g)].map(([, each]) => Number(each));
		await until(() => lines().length === 8, "a line for each call");
		for (const each of lines()) sum += each;
		const { calls, idle } = await joules(router.url);
		expect(calls!).toBeGreaterThan(400 * 0.02 * 0.9);
		// Four digits in each line.
		expect(Math.abs(sum - calls!)).toBeLessThan(calls! * 0.01);
		expect(idle!).toBeGreaterThan(0);
		await until(async () => (await usageOf(router.url)).calls === 8, "the ledger's sums");
		const { energy_wh } = await usageOf(router.url);
		expect(Math.abs(energy_wh! * 3_600 - calls!)).toBeLessThan(calls! * 0.001);
		const id = answers[0]!.headers.get("x-request-id");
		const call = (await admin(router.url, `/calls/${id}`)) as { energy_j: number };
		expect(String(call.energy_j)).toBe(headerOf(answers[0]!)!);
	},
);

describe("what engines draw", () => {
	const on = (...gpus: [string, number][]) => gpus.map(([gpu, watts]) => ({ gpu, watts }));
	const gpu = (index: number, power?: number) => ({
		index,
		name: "L4",
		memory_total: 1,
		memory_used: 0,
		...(power && { power }),
	});
	const agent = (name: string, gpus: readonly ReturnType<typeof gpu>[], ...models: ModelReport[]) =>
		[name, { name, gpus, models: new Map(models.map((model) => [model.name, model])) }] as const;
	const leaseOf = ({ name }: { readonly name: string }) => (name === "gone" ? "gone" : "fresh");

	test("is unknown of agents that are gone, and of those whose driver reports no power", () => {
		const agents = new Map([
			agent("gone", [gpu(0, 70)], { name: "m", state: "ready", gpus: [0] }),
			agent("silent", [gpu(0)], { name: "m", state: "ready", gpus: [0] }),
			agent("cpu", [], { name: "m", state: "ready", gpus: [] }),
		]);
		expect(engineGpus({ agents, leaseOf })).toEqual(new Map());
	});

	test("is that of its GPUs, by model and by replica, not by adapter; of one that is on none yet it is nothing", () => {
		const replicas = [
			{ replica: 0, state: "ready", gpus: [1] },
			{ replica: 1, state: "stopped", gpus: [] },
		] as const;
		const agents = new Map([
			agent(
				"a",
				[gpu(0, 100), gpu(1, 50), gpu(2)],
				{ name: "both", state: "ready", gpus: [0, 1], power: 125 },
				{ name: "lora", parent: "both", state: "ready", gpus: [0, 1], power: 125 },
				{ name: "silent", state: "ready", gpus: [2] },
				{ name: "stopped", state: "stopped", gpus: [] },
				{ name: "two", state: "ready", replicas: replicas.map((each) => ({ ...each, gpus: [...each.gpus] })) },
			),
		]);
		expect(engineGpus({ agents, leaseOf })).toEqual(
			new Map([
				["local/a/both", on(["a#0", 100], ["a#1", 50])],
				["local/a/silent", []],
				["local/a/stopped", []],
				["local/a/two#0", on(["a#1", 50])],
				["local/a/two#1", []],
			]),
		);
	});

	test("is what an older agent says that the model has of its GPUs", () => {
		const two: ModelReport = {
			name: "two",
			state: "ready",
			replicas: [
				{ replica: 0, state: "ready", power: 50 },
				{ replica: 1, state: "stopped" },
			],
		};
		const agents = new Map([
			agent("old", [gpu(0, 150)], { name: "m", state: "ready", power: 100 }, { name: "later", state: "stopped" }),
			agent("older", [], two),
		]);
		expect(engineGpus({ agents, leaseOf })).toEqual(
			new Map([
				["local/old/m", on(["local/old/m", 100])],
				["local/old/later", []],
				["local/older/two#0", on(["local/older/two#0", 50])],
			]),
		);
	});

	test("is told to older routers as the sum over a replica's GPUs; of a shared one those have it that work on calls, else all", () => {
		const gpus = [
			{ index: 0, power: 300 },
			{ index: 1, power: 200 },
			{ index: 2, power: 0 },
			{ index: 3, power: 80 },
		];
		const replicas = [
			{ key: "big", gpus: [0, 1], isBusy: true },
			{ key: "idle", gpus: [1], isBusy: false },
			{ key: "busy", gpus: [1], isBusy: true },
			{ key: "unknown", gpus: [2], isBusy: true },
			{ key: "one", gpus: [3], isBusy: false },
			{ key: "two", gpus: [3], isBusy: false },
			{ key: "cpu", gpus: [], isBusy: true },
		];
		const powers = replicaPowers(replicas, gpus);
		expect(Object.fromEntries(powers)).toEqual({ big: 400, busy: 100, idle: 0, one: 40, two: 40 });
	});
});
