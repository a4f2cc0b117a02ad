/** Hosts that sleep: which may be woken, how often, by how many calls, and what becomes of these. */
import { describe, expect, test } from "bun:test";
import type { ModelReport } from "../src/protocol/agent.ts";
import { createAlias } from "../src/routing/alias.ts";
import { isForgotten, type Lease } from "../src/routing/lease.ts";
import { replica } from "../src/routing/local-models.ts";
import type { AgentRecord } from "../src/server/agents/agent-record.ts";
import { AgentFleet } from "../src/server/agents/fleet.ts";
import { HostAsleep, HostWakes, WakingHosts } from "../src/server/agents/host-wakes.ts";
import { until } from "./kit/until.ts";

const MAC = "52:54:00:12:34:56";
const WAIT_MS = 300_000;
const REST_MS = 600_000;

/** A router with one agent, which is gone. */
function router(over: { models?: ModelReport[]; lease?: Lease; wake?: Record<string, { mac: string }> } = {}) {
	let now = 1_000;
	const leases = new Map<string, Lease>([["gpu-1", over.lease ?? "gone"]]);
	const sent: string[] = [];
	const lines: string[] = [];
	const ends: string[] = [];
	const say = (_: unknown, line: string) => void lines.push(line);
	const sends: string[] = [];
	const agentOf = (name: string, models: readonly ModelReport[]) =>
		({
			...{ name, endpoint: "http://10.0.0.7:5000", heardAt: -1e9, heardAtTime: 5, isReachable: true, isSuspect: false },
			...{ isInProcess: false, wake: undefined, models: new Map(models.map((each) => [each.name, each])) },
			provider: {
				...{ name: "local", secret: "secret", id: name },
				transport: { send: async ({ url }: { url: string }) => void sends.push(url) },
			},
		}) as unknown as AgentRecord;
	const agents = new Map([["gpu-1", agentOf("gpu-1", over.models ?? [{ name: "qwen", state: "ready" }])]]);
	const registry = {
		...{ agents, now: () => 1e9, callFailed: () => undefined },
		servedNames: { all: new Set(["qwen"]), add: () => undefined },
		leaseOf: ({ name }: AgentRecord) => leases.get(name) ?? "fresh",
	};
	const wakes = new HostWakes({
		registry,
		log: { logger: { info: say, warn: say } } as never,
		ended: (agent, result) => void ends.push(`${agent} ${result}`),
		send: async ({ mac }, endpoint) => void sent.push(`${mac} ${endpoint}`),
		time: () => now,
	});
	const settings = { wake: over.wake ?? { "gpu-1": { mac: MAC } }, wake_wait: WAIT_MS };
	// Its clock is turned by hand.
	wakes.open(() => settings)();
	const hosts = new WakingHosts(registry, (agent) => wakes.begin(agent));
	const fleet = new AgentFleet(registry, { of: () => ({ inFlight: 0 }) } as never, () => 0, hosts);
	wakes.tick();
	return {
		...{ agents, agentOf, registry, wakes, hosts, fleet, sent, sends, lines, ends, leases },
		agent: agents.get("gpu-1")!,
		/** So many seconds, one after the other. */
		pass(seconds: number) {
			for (let second = 0; second < seconds; second++) {
				now += 1_000;
				wakes.tick();
			}
		},
		/** Its agent is heard of again. */
		comes() {
			leases.set("gpu-1", "fresh");
			agents.get("gpu-1")!.heardAt = 1e9;
			wakes.tick();
		},
	};
}
const never = new AbortController().signal;

describe("a host is not woken", () => {
	test.each<[string, Parameters<typeof router>[0]]>([
		["that has no entry", { wake: { "gpu-2": { mac: MAC } } }],
		["whose agent is heard of", { lease: "fresh" }],
		["whose agent is late", { lease: "suspect" }],
		["whose agent was stopped: it said that it is going", { models: [{ name: "qwen", state: "draining" }] }],
		["whose models were unloaded", { models: [{ name: "qwen", state: "stopped", load: "manual" }] }],
		["that had nothing", { models: [] }],
	])("%s", async (_, over) => {
		const { agent, wakes, hosts, fleet, sent } = router(over);
		wakes.begin("gpu-1");
		expect([agent.wake, sent, fleet.targets("qwen").filter(({ isAsleep }) => isAsleep)]).toEqual([undefined, [], []]);
		if (over?.lease === undefined) await expect(hosts.wait("gpu-1", never)).rejects.toBeInstanceOf(HostAsleep);
	});

	test("by a process whose place another one has, as that one hears of agents; a wake under way goes on", () => {
		const late = router();
		late.wakes.replaced();
		late.pass(1);
		late.wakes.begin("gpu-1");
		expect([late.agent.wake, late.sent]).toEqual([undefined, []]);
		const early = router();
		early.wakes.begin("gpu-1");
		early.wakes.replaced();
		early.pass(6);
		expect([early.agent.wake, early.sent.length]).toEqual(["waking", 2]);
	});

	test("for a model that another agent serves", () => {
		const { agents, agentOf, fleet, leases } = router();
		const other = agentOf("gpu-2", [{ name: "qwen", state: "ready" }]);
		other.heardAt = 1e9;
		agents.set("gpu-2", other);
		leases.set("gpu-2", "fresh");
		expect(fleet.targets("qwen").map(({ id }) => id)).toEqual(["local/gpu-2/qwen"]);
	});

	test("for a name of which another target can answer", () => {
		const { fleet } = router();
		const vendor = { target: { id: "openai/x", model: "x", provider: { name: "openai" } } } as never;
		const local = { targets: () => fleet.targets("qwen").map((each) => replica(each)), absence: () => undefined };
		const settings = { name: "m", targets: [], policy: "order" } as never;
		const both = createAlias(settings, { targets: [local], fallback: [vendor] });
		expect(both.route()?.targets.map(({ id }) => id)).toEqual(["openai/x"]);
		const alone = createAlias(settings, { targets: [local], fallback: [] });
		expect(alone.route()).toMatchObject({
			reason: "models: m, whose host is woken",
			targets: [{ id: "local/gpu-1/qwen" }],
		});
	});
});

describe("a host that sleeps", () => {
	test("has its models in the list, and a target for each", () => {
		const { agent, fleet } = router();
		expect([agent.wake, fleet.isEmpty, fleet.names, fleet.first]).toEqual(["asleep", false, ["qwen"], "qwen"]);
		for (const name of ["qwen", "gpu-1/qwen"]) {
			expect(fleet.targets(name)).toMatchObject([{ id: "local/gpu-1/qwen", agent: "gpu-1", isAsleep: true }]);
		}
		expect(fleet.targets("other")).toEqual([]);
	});

	test("is woken once for many calls, by packets that are repeated until it comes, and then has them", async () => {
		const one = router();
		const send = () =>
			one.fleet.targets("qwen")[0]!.provider.transport.send({ url: "http://10.0.0.7:5000/v1/x", headers: {} }, never);
		const calls = Promise.all([send(), send(), send()]);
		expect([one.agent.wake, one.sent]).toEqual(["waking", [`${MAC} http://10.0.0.7:5000`]]);
		one.pass(12);
		expect([one.sent.length, one.sends]).toEqual([3, []]);
		Object.assign(one.agent, { endpoint: "http://10.0.0.8:5000" });
		one.comes();
		await calls;
		expect(one.sends).toEqual(Array(3).fill("http://10.0.0.8:5000/v1/x"));
		one.pass(20);
		expect([one.agent.wake, one.sent.length, one.ends]).toEqual([undefined, 3, ["gpu-1 woken"]]);
		expect(one.lines).toEqual([expect.stringContaining("is woken"), expect.stringContaining("woke up")]);
	});

	test("that does not come fails its calls, and is left alone for ten minutes", async () => {
		const one = router();
		const call = one.hosts.wait("gpu-1", never);
		await Promise.resolve();
		one.pass(WAIT_MS / 1_000);
		await expect(call).rejects.toMatchObject({ code: "ERR_HOST_ASLEEP" });
		const packets = one.sent.length;
		expect([packets, one.ends, one.agent.wake]).toEqual([60, ["gpu-1 failed"], undefined]);
		expect([one.fleet.targets("qwen"), one.fleet.names]).toEqual([[], []]);
		one.pass(REST_MS / 1_000 - 1);
		one.wakes.begin("gpu-1");
		expect(one.sent.length).toBe(packets);
		one.pass(1);
		expect(one.agent.wake).toBe("asleep");
		one.wakes.begin("gpu-1");
		expect(one.sent.length).toBe(packets + 1);
	});

	test("is remembered while it sleeps, after a wake that failed, too; one without an entry is not", async () => {
		const year = 365 * 86_400_000;
		const other = router({ wake: { "gpu-2": { mac: MAC } } });
		expect(isForgotten({ ...other.agent, loggedLease: "gone" }, year)).toBe(true);
		const one = router();
		expect(isForgotten({ ...one.agent, loggedLease: "gone" }, year)).toBe(false);
		one.wakes.begin("gpu-1");
		one.pass(WAIT_MS / 1_000);
		expect([one.agent.wake, isForgotten({ ...one.agent, loggedLease: "gone" }, year)]).toEqual([undefined, false]);
	});

	test("that woke up and fell asleep again under a call is woken again", async () => {
		const one = router();
		const call = one.hosts.wait("gpu-1", never);
		Object.assign(one.agent, { isReachable: false });
		one.comes();
		one.leases.set("gpu-1", "gone");
		one.wakes.tick();
		expect(one.agent.wake).toBe("asleep");
		await until(() => one.agent.wake === "waking", "another wake");
		Object.assign(one.agent, { isReachable: true });
		one.comes();
		expect((await call).name).toBe("gpu-1");
	});

	test("that is heard of and stays out of reach is called all the same, so that the call hears why that fails", async () => {
		const one = router({ lease: "fresh" });
		Object.assign(one.agent, { isReachable: false });
		let now = 0;
		const hosts = new WakingHosts(
			one.registry,
			() => undefined,
			() => now,
		);
		let isOver = false;
		const call = hosts.wait("gpu-1", never).finally(() => {
			isOver = true;
		});
		await Promise.resolve();
		expect(isOver).toBe(false);
		now = 30_000;
		expect((await call).name).toBe("gpu-1");
	});

	test("is waited for no longer than its call's client waits, and is woken all the same", async () => {
		const one = router();
		const leaving = new AbortController();
		const call = one.hosts.wait("gpu-1", leaving.signal);
		leaving.abort(new Error("left"));
		await expect(call).rejects.toThrow("left");
		one.pass(5);
		expect([one.agent.wake, one.sent.length]).toEqual(["waking", 2]);
	});

	test("is the one that is being woken, where several have a model, else the one heard of last", () => {
		const one = router({ wake: { "gpu-1": { mac: MAC }, "gpu-2": { mac: MAC }, "gpu-3": { mac: MAC } } });
		for (const [name, heardAtTime] of [
			["gpu-2", 9],
			["gpu-3", 7],
		] as const) {
			one.agents.set(name, Object.assign(one.agentOf(name, [{ name: "qwen", state: "ready" }]), { heardAtTime }));
			one.leases.set(name, "gone");
		}
		one.wakes.tick();
		expect(one.fleet.targets("qwen").map(({ agent }) => agent)).toEqual(["gpu-2"]);
		one.wakes.begin("gpu-1");
		expect(one.fleet.targets("qwen").map(({ agent }) => agent)).toEqual(["gpu-1"]);
	});
});
