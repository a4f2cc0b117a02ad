/** Two agents with one name and one installation, as of a copied data directory: which of them has the name at the router, and what both are told. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { ModelState } from "../src/protocol/agent.ts";
import { tunnelEndpoint } from "../src/protocol/tunnel.ts";
import type { Lease } from "../src/routing/lease.ts";
import { directory } from "./kit/cli.ts";
import { type FleetRig, fleetRig } from "./kit/fleet.ts";

const FIRST = "http://10.0.0.1:5000";
const SECOND = "http://10.0.0.2:5000";
const TUNNEL = tunnelEndpoint("gpu-1");

let home: ReturnType<typeof directory>;
let rig: FleetRig;
beforeEach(() => {
	home = directory();
	rig = fleetRig(home.path);
});
afterEach(() => {
	rig.close();
	home[Symbol.dispose]();
});

const who = (process: string | undefined) => ({ name: "gpu-1", instance: "copied", ...(process && { process }) });
const refusal = (error: Error) => error.message;
const register = (process: string | undefined, endpoint: string, state: ModelState = "ready"): Promise<string> =>
	rig.registry
		.register({ ...who(process), models: [{ name: "qwen", state }], endpoint }, endpoint)
		.then(() => "taken", refusal);
const heartbeat = (process: string | undefined, state: ModelState = "ready"): Promise<string> =>
	rig.registry
		.heartbeat({ ...who(process), models: [{ name: "qwen", state }] }, () => true)
		.then(() => "heard", refusal);
const shown = (): [string, Lease][] => rig.fleet.list().map(({ endpoint, state }) => [endpoint, state]);
const runsAt = (endpoint: string) =>
	expect.stringContaining(`with the same data directory, or a copy of it, runs at ${endpoint}: stop one of the two.`);

describe("the second is refused", () => {
	test.each([
		["an address", FIRST],
		["a tunnel", TUNNEL],
	])(
		"while the first answers at %s, which keeps its calls; it is said to the second, and once in the log",
		async (_, at) => {
			rig.tunnels.add("gpu-1");
			expect(await register("one", at)).toBe("taken");
			for (const _try of [1, 2]) expect(await register("two", SECOND, "failed")).toEqual(runsAt(at));
			expect([await heartbeat("two", "failed"), await heartbeat("one")]).toEqual([runsAt(at), "heard"]);
			expect(shown()).toEqual([[at, "fresh"]]);
			expect(rig.fleet.targets("qwen")).toHaveLength(1);
			expect(rig.lines.filter((line) => line.includes("copy"))).toEqual([
				`The agent "gpu-1" at ${at} keeps its name: another agent with its data directory, or a copy of it, asks for its name, and is refused.`,
			]);
		},
	);

	test("after a restart of the router, too, once that has heard the first", async () => {
		await register("one", FIRST);
		rig.close();
		rig = rig.restarted();
		expect(await heartbeat("one")).toBe("heard");
		expect(await register("two", SECOND)).toEqual(runsAt(FIRST));
	});
});

describe("of two that both use tunnels the second", () => {
	/** One that is let in has the tunnel from then on. */
	const tunnel = async (process: string) => {
		const said = await rig.registry.admitTunnel(who(process)).then(() => "taken", refusal);
		if (said !== "taken") return said;
		rig.tunnels.add("gpu-1");
		rig.tunnelProcesses.set("gpu-1", process);
		return said;
	};
	const both = async (process: string) => [await tunnel(process), await register(process, TUNNEL)];
	const close = () => {
		rig.tunnels.clear();
		rig.tunnelProcesses.clear();
	};

	test("gets none while the first answers through its own, nor the name; it is said to the second, and once in the log", async () => {
		expect(await both("one")).toEqual(["taken", "taken"]);
		for (const _try of [1, 2]) expect(await both("two")).toEqual([runsAt(TUNNEL), runsAt(TUNNEL)]);
		expect([await heartbeat("two"), await heartbeat("one")]).toEqual([runsAt(TUNNEL), "heard"]);
		expect(await both("one")).toEqual(["taken", "taken"]);
		expect(rig.lines.filter((line) => line.includes("copy"))).toHaveLength(1);
	});

	test("gets none while the first answers at an address", async () => {
		await register("one", FIRST);
		expect(await tunnel("two")).toEqual(runsAt(FIRST));
	});

	test("gets none after a restart of the router either, where the first has its tunnel open again and is not heard of yet", async () => {
		await both("one");
		rig.close();
		rig = rig.restarted();
		expect(shown()).toEqual([[TUNNEL, "suspect"]]);
		expect(await tunnel("one")).toBe("taken");
		expect(await both("two")).toEqual([runsAt(TUNNEL), runsAt(TUNNEL)]);
		expect([await heartbeat("two"), await heartbeat("one")]).toEqual([runsAt(TUNNEL), "heard"]);
	});

	test("is known as the second to a router, too, which the first has a tunnel to, and has registered with another one", async () => {
		await register(undefined, TUNNEL);
		expect(await tunnel("one")).toBe("taken");
		expect(await both("two")).toEqual([runsAt(TUNNEL), runsAt(TUNNEL)]);
		expect([await heartbeat("two"), await heartbeat("one")]).toEqual([runsAt(TUNNEL), "heard"]);
	});

	test.each([
		["has closed", close],
		["does not answer, as after a restart of its host", () => rig.blocked.add(new URL(TUNNEL).origin)],
		["is of an agent that is stopping", () => heartbeat("one", "draining")],
	])("has both where the first's tunnel %s; the first is told so, and takes no turns with it", async (_, then) => {
		await both("one");
		await then();
		expect(await both("two")).toEqual(["taken", "taken"]);
		rig.blocked.clear();
		expect(await heartbeat("one")).toEqual(runsAt(TUNNEL));
		expect(await both("one")).toEqual([runsAt(TUNNEL), runsAt(TUNNEL)]);
		expect(await heartbeat("two")).toBe("heard");
	});
});

describe("the later one has the name", () => {
	test.each([
		["the first does not answer", (): unknown => rig.blocked.add(FIRST), SECOND],
		["the first is stopping", (): unknown => heartbeat("one", "draining"), SECOND],
		["it is where the first was: that has been restarted", (): unknown => undefined, FIRST],
		["the first is late", (): unknown => rig.pass(16_000), SECOND],
	] as const)(
		"where %s; a first one that is there after all is told so, and takes no turns with it",
		async (_, then, at) => {
			await register("one", FIRST);
			await then();
			expect(await register("two", at)).toBe("taken");
			rig.blocked.clear();
			expect(await heartbeat("one")).toEqual(runsAt(at));
			expect(await register("one", FIRST)).toEqual(runsAt(at));
			expect([await heartbeat("two"), shown()]).toEqual(["heard", [[at, "fresh"]]]);
			rig.pass(16_000);
			expect([await register("one", FIRST), shown()]).toEqual(["taken", [[FIRST, "fresh"]]]);
			expect(await heartbeat("two")).toEqual(runsAt(FIRST));
		},
	);
});

test("one process that has another address, or a tunnel in its place, is the same agent though both answer", async () => {
	rig.tunnels.add("gpu-1");
	for (const at of [FIRST, SECOND, TUNNEL, FIRST])
		expect([await register("one", at), shown()]).toEqual(["taken", [[at, "fresh"]]]);
});

test("an agent that names its process when it registers, and not with its tunnel, has its name again after a crash", async () => {
	rig.tunnels.add("gpu-1");
	expect(await register("one", TUNNEL)).toBe("taken");
	expect([await register("two", TUNNEL), await heartbeat("two"), shown()]).toEqual([
		"taken",
		"heard",
		[[TUNNEL, "fresh"]],
	]);
});

test("a registration has no say in whether it stands back from an open tunnel", async () => {
	rig.tunnels.add("gpu-1");
	const body = { ...who("one"), models: [], endpoint: TUNNEL, standsBack: true };
	await expect(rig.registry.register(body, TUNNEL)).resolves.toBeObject();
});

test("an older agent, which names no process, is taken as before", async () => {
	expect([await register(undefined, FIRST), await register(undefined, SECOND)]).toEqual(["taken", "taken"]);
	expect([await register("one", FIRST), await heartbeat(undefined), await register(undefined, SECOND)]).toEqual([
		"taken",
		"heard",
		"taken",
	]);
});
