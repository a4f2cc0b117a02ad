/** An agent that several routers call: which part each has of energy and time, and that no router's calls get another's. */
import { afterEach, describe, expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import { LocalEnergyMeters } from "../src/accounts/usage/energy-meters.ts";
import { RouterShareMeter } from "../src/agent/models/router-share-meter.ts";
import { type GpuReport, ModelReport } from "../src/protocol/agent.ts";
import { MOST_ROUTERS, type RouterShares, routerShare } from "../src/protocol/router-shares.ts";
import { engineShares, watchPower } from "../src/server/agents/engine-power.ts";
import { directory } from "./kit/cli.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { fleetRig } from "./kit/fleet.ts";
import { random } from "./kit/random.ts";
import { until } from "./kit/until.ts";
import { callOnce, startHere } from "./kit/worker-router.ts";

const WATTS = 200;

/** A host where containers have these GPUs. */
function host(places: Readonly<Record<string, readonly number[]>> = { c: [0] }) {
	const clock = { now: 1_000 };
	const hardware = { gpusOf: (container: string) => places[container] ?? [], wattsOf: () => WATTS };
	const meter = new RouterShareMeter(hardware, () => clock.now);
	const call = (router: string, container = "c") => meter.begin("m", container, router);
	return { clock, meter, call };
}

describe("the part of a router", () => {
	test("is the whole, of which nothing is said, while no other has calls", () => {
		const { clock, meter, call } = host();
		for (const _call of [1, 2]) call("a");
		clock.now += 5_000;
		expect([meter.ofEnergy("c"), meter.ofTime("m"), meter.ofEnergy("d")]).toEqual([undefined, undefined, undefined]);
	});

	test.each([
		["calls at once", (run: Run) => run(1_000, "a", "b"), { a: 0.5, b: 0.5 }],
		["three calls beside one", (run: Run) => run(1_000, "a", "a", "a", "b"), { a: 0.75, b: 0.25 }],
		[
			"one call all the time, and one half of it",
			(run: Run) => {
				run(1_000, "a");
				run(1_000, "a", "b");
			},
			{ a: 0.75, b: 0.5 },
		],
		[
			"calls one after the other",
			(run: Run) => {
				run(1_000, "a");
				run(1_000, "b");
			},
			{},
		],
		["a call beside that of somebody without a name", (run: Run) => run(1_000, "a", ""), { a: 0.5 }],
	])("counts %s", (_, what, expected) => {
		const { clock, meter, call } = host();
		// Until there are two of them nothing is measured.
		for (const router of ["a", "b"]) call(router)();
		what((ms, ...routers) => {
			const ends = routers.map((router) => call(router));
			clock.now += ms;
			for (const end of ends) end();
		});
		for (const shares of [meter.ofEnergy("c"), meter.ofTime("m")]) {
			expect(Object.keys(shares ?? {})).toEqual(Object.keys(expected));
			// What was before counts a little less.
			for (const [router, share] of Object.entries(expected))
				expect(shares?.[router]).toBeWithin(share - 0.03, share + 0.03);
		}
	});
	type Run = (ms: number, ...routers: string[]) => void;

	test("of a GPU's energy is by engine, where each has calls in one of its own", () => {
		const { clock, meter, call } = host({ c: [0], d: [0] });
		const ends = [call("a", "c"), call("b", "d")];
		clock.now += 1_000;
		for (const end of ends) end();
		expect([meter.ofEnergy("c"), meter.ofEnergy("d")]).toEqual([{ a: 0.5 }, { b: 0.5 }]);
		// Both are containers of one model.
		expect(meter.ofTime("m")).toEqual({ a: 0.5, b: 0.5 });
	});

	test("is the whole again some time after the other's calls have ended; who has gone is forgotten", () => {
		const { clock, meter, call } = host();
		const [, end] = [call("a"), call("b")];
		clock.now += 5_000;
		end();
		clock.now += 10_000;
		expect(meter.ofEnergy("c")?.["a"]).toBeWithin(0.5, 0.99);
		clock.now += 200_000;
		expect(meter.ofEnergy("c")?.["a"]).toBeUndefined();
		clock.now += 100_000;
		meter.retain(new Set(["c"]));
		expect(meter.ofEnergy("c")).toBeUndefined();
	});

	test("is the whole again of what the last one left did not use lately, once the other is forgotten", () => {
		const { clock, meter, call } = host();
		for (const [model, ms, ...routers] of [
			["m", 20_000, "a", "b"],
			["other", 100_000, "a"],
		] as const) {
			const ends = routers.map((router) => meter.begin(model, model === "m" ? "c" : "d", router));
			clock.now += ms;
			for (const end of ends) end();
		}
		clock.now += 250_000;
		call("a")();
		meter.retain(new Set(["c", "d"]));
		const end = call("a");
		clock.now += 3_600_000;
		expect([meter.ofEnergy("c"), meter.ofTime("m")]).toEqual([undefined, undefined]);
		end();
	});

	test.each(["x".repeat(65), "a b", "ä", "a/b"])(
		"is told of no router that calls itself %p: it counts as one without a name",
		(odd) => {
			const { clock, meter, call } = host();
			for (const router of ["a", odd, ""]) call(router);
			clock.now += 1_000;
			expect(meter.ofTime("m")).toEqual({ a: 0.3333 });
		},
	);

	test("is told of so many routers at most; those that come later count as without a name", () => {
		const { clock, meter, call } = host();
		for (let at = 0; at < MOST_ROUTERS; at++) call(`router-${at}`)();
		const [late] = [call("late"), call("later")];
		clock.now += 1_000;
		expect(meter.ofTime("m")).toBeUndefined();
		late();
		call("router-0");
		clock.now += 1_000;
		expect(meter.ofTime("m")).toEqual({ "router-0": 0.5 });
	});
});

test.each([2, 3])(
	"what the calls of %d routers get together is what the GPUs draw while any of them run",
	(routers) => {
		for (let seed = 1; seed <= 5; seed++) {
			const { below, next } = random(seed);
			const places: Record<string, readonly number[]> = { c: [0], d: [0, 1], e: [1] };
			const { clock, meter, call } = host(places);
			const names = Array.from({ length: routers }, (_, at) => `router-${at}`);
			const meters = names.map(() => new LocalEnergyMeters(() => clock.now));
			for (const each of meters) {
				for (const [engine, gpus] of Object.entries(places)) {
					each.setGpus(
						engine,
						gpus.map((gpu) => ({ gpu: `${gpu}`, watts: WATTS })),
					);
				}
			}
			const running: { readonly engine: string; end(): number }[] = [];
			let [drawn, given, reportedAt] = [0, 0, 0];
			for (let step = 0; step < 20_000; step++) {
				const ms = next() * 400;
				clock.now += ms;
				for (const gpu of [0, 1]) {
					if (running.some(({ engine }) => places[engine]!.includes(gpu))) drawn += (WATTS * ms) / 1_000;
				}
				if (clock.now - reportedAt > 5_000) {
					reportedAt = clock.now;
					for (const engine of Object.keys(places)) {
						const shares: RouterShares | undefined = meter.ofEnergy(engine);
						for (const [at, each] of meters.entries()) each.setShare(engine, routerShare(shares, names[at]));
					}
				}
				if (running.length < 6 && below(2) === 0) {
					const [router, engine] = [below(routers), "cde"[below(3)]!];
					const [measured, ended] = [meters[router]!.start(engine)!, call(names[router]!, engine)];
					running.push({
						engine,
						end: () => {
							ended();
							return measured.end(100)!;
						},
					});
				} else if (running.length > 0) given += running.splice(below(running.length), 1)[0]!.end();
			}
			for (const each of running.splice(0)) given += each.end();
			// By each router's own reckoning it would be half as much again, and more.
			expect(given / drawn).toBeWithin(0.95, 1.05);
		}
	},
);

test("of what agents report the router's own part counts, for each replica", () => {
	const models: ModelReport[] = [
		{ name: "one", state: "ready", energy_shares: { us: 0.25, them: 0.75 } },
		{ name: "adapter", state: "ready", parent: "one", energy_shares: { us: 0.25 } },
		{
			name: "two",
			state: "ready",
			replicas: [0, 1].map((replica) => ({ replica, state: "ready", energy_shares: { us: replica } })),
		},
	];
	const agents = new Map([
		["gpu-1", { name: "gpu-1", gpus: [], models: new Map(models.map((each) => [each.name, each])) }],
	]);
	expect([...engineShares({ agents }, "us")]).toEqual([
		["local/gpu-1/one", 0.25],
		["local/gpu-1/two#0", 0],
	]);
	expect([...engineShares({ agents }, "constructor")]).toEqual([]);
});

test("what an agent tells of a name that is no router's is dropped, and its report is taken", async () => {
	using home = directory();
	const rig = fleetRig(home.path);
	const shares = { us: 0.5, "no name": 0.25, [`${"x".repeat(65)}`]: 0.25, "": 1 };
	const replicas = [{ replica: 0, state: "ready", energy_shares: shares }] as const;
	const model: ModelReport = {
		name: "qwen",
		state: "ready",
		energy_shares: shares,
		time_shares: shares,
		replicas: [...replicas],
	};
	expect(Value.Check(ModelReport, model)).toBe(true);
	await rig.register("gpu-1", [model]);
	const taken = () => rig.registry.agents.get("gpu-1")?.models.get("qwen");
	const named = { us: 0.5 };
	const expected = { energy_shares: named, time_shares: named, replicas: [{ energy_shares: named }] };
	expect(taken()).toMatchObject(expected);
	expect(Object.keys(taken()!.energy_shares!)).toEqual(["us"]);
	await rig.heartbeat("gpu-1", [model]);
	expect([taken()!.energy_shares, taken()!.time_shares, taken()!.replicas?.[0]?.energy_shares]).toEqual([
		named,
		named,
		named,
	]);
	rig.close();
});

test("the part is known to meters as soon as the agent measures, and on another GPU, though it stays the same", async () => {
	const clock = { now: 1_000 };
	const meters = new LocalEnergyMeters(() => clock.now);
	const report = (gpus?: number[]): Map<string, ModelReport> =>
		new Map([["m", { name: "m", state: "ready", energy_shares: { us: 0.25 }, ...(gpus && { gpus }) }]]);
	const agent = { name: "gpu-1", gpus: [] as GpuReport[], models: report() };
	const agents = new Map([["gpu-1", agent]]);
	let looks = 0;
	const leaseOf = () => {
		looks++;
		return "fresh" as const;
	};
	const stop = watchPower({ agents, leaseOf }, meters, "us");
	/** What a call of a second gets, J. */
	const got = () => {
		const meter = meters.start("local/gpu-1/m");
		clock.now += 1_000;
		return meter?.end(10);
	};
	try {
		await until(() => looks > 3, "looks at a host that does not measure");
		expect(got()).toBeUndefined();
		agent.gpus = [0, 1].map((index) => ({ index, name: "L4", memory_total: 1, memory_used: 0, power: WATTS }));
		agent.models = report([0]);
		await until(() => got() !== undefined, "the power");
		expect(got()).toBeCloseTo(WATTS / 4, 6);
		agent.models = report([0, 1]);
		await until(() => got()! > WATTS / 3, "the other GPU");
		expect(got()).toBeCloseTo(WATTS / 2, 6);
	} finally {
		stop();
	}
});

describe("a router whose agent has calls of others", () => {
	const stops: (() => unknown)[] = [];
	afterEach(async () => {
		for (const stop of stops.splice(0).reverse()) await stop();
	});
	const GPUS: readonly GpuReport[] = [{ index: 0, name: "L4", memory_total: 1, memory_used: 0, power: WATTS }];

	test.each([1, 2])(
		"names itself to it, and gives and charges its calls no more than is theirs; workers: %i",
		async (workers) => {
			const prices = { "local/*": { gpu_hour: 3600 } };
			const router = await startHere({ server: { workers, drain: "0s" }, prices, cache: { enabled: false } });
			stops.push(() => router.stop());
			const names = new Set<string | null>();
			let callMs = 0;
			const agent = startFakeAgent({
				router: router.url,
				models: [{ name: "qwen", state: "ready", gpus: [0] }],
				gpus: GPUS,
				before: async (_, headers) => {
					const from = performance.now();
					names.add(headers.get("x-router-name"));
					await Bun.sleep(100);
					callMs = performance.now() - from;
					return undefined;
				},
			});
			stops.push(() => agent.stop());
			await until(() => agent.secrets.length > 0, "the registration");
			const got = async () => {
				const answer = await callOnce(router.url, { model: "qwen" });
				await answer.text();
				const [joules, usd] = ["x-router-energy-j", "x-router-cost-usd"].map((name) =>
					Number(answer.headers.get(name)),
				);
				return { joules: joules! / ((WATTS * callMs) / 1_000), usd: usd! / (callMs / 1_000) };
			};
			await until(async () => (await got()).joules > 0.9, "the power");
			expect((await got()).usd).toBeGreaterThan(0.9);
			const [name] = names;
			expect([names.size, name]).toEqual([1, expect.stringMatching(/^[\w-]{8,}$/)]);
			agent.report.models = [
				{ name: "qwen", state: "ready", gpus: [0], energy_shares: { [name!]: 0.1 }, time_shares: { [name!]: 0.2 } },
			];
			agent.link?.changed();
			await until(async () => {
				const { joules, usd } = await got();
				return joules < 0.5 && usd < 0.6;
			}, "its part of both");
		},
		60_000,
	);
});
