/** What is found out about a running vLLM: that it sleeps, whoever put it to sleep. */
import { afterEach, expect, test } from "bun:test";
import { Monitor } from "../src/agent/vllm/monitor.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { until } from "./kit/until.ts";
import { MODEL } from "./kit/vllm-sim-client.ts";
import { type Sim, startSim } from "./kit/vllm-sim-process.ts";

const monitors: Monitor[] = [];
afterEach(() => {
	for (const monitor of monitors.splice(0)) monitor.end();
});

/** One that is probed each time it is asked, and what it says then. */
function watch(sim: Sim) {
	const monitor = new Monitor({
		id: "c",
		model: MODEL,
		weights: MODEL,
		vllm: { origin: sim.origin, http: httpTransport({}) },
		mayHaveAdapters: false,
		canSleep: () => true,
		docker: {
			// A container that logs nothing.
			async *logs() {},
		},
		traffic: { quietSince: () => undefined, suspectSince: () => undefined, confirmHealthy: () => {} },
		cacheDir: "/nonexistent",
		stallMs: 60_000,
		startedAt: 0,
		tick: { notify: () => {} },
		engine: { problem: undefined },
	});
	monitors.push(monitor);
	return async (health: Monitor["health"]) => {
		await until(() => {
			monitor.checkNext();
			monitor.check();
			return monitor.health === health;
		}, `it is ${health}, and not ${monitor.health}`);
		return monitor;
	};
}

const asleep = { args: ["--enable-sleep-mode"], env: { VLLM_SERVER_DEV_MODE: "1" } };

test("one that somebody else put to sleep is seen to sleep, and to be awake once it is woken here", async () => {
	await using sim = await startSim(asleep);
	const becomes = watch(sim);
	await becomes("up");
	await fetch(`${sim.origin}/sleep?level=1`, { method: "POST" });
	const monitor = await becomes("asleep");
	expect(monitor.metrics?.isAsleep).toBe(true);
	await fetch(`${sim.origin}/wake_up`, { method: "POST" });
	monitor.setHealth("up");
	await becomes("up");
	await until(() => {
		monitor.checkNext();
		monitor.check();
		return monitor.metrics?.isAsleep === false;
	}, "metrics that say so");
	expect(monitor.health).toBe("up");
});

test("one that can't be asked whether it sleeps is not taken to, whatever its metrics say", async () => {
	await using sim = await startSim({ args: ["--enable-sleep-mode"] });
	const stand = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			const answer = await fetch(sim.origin + new URL(request.url).pathname);
			const text = (await answer.text()).replace(/sleep_state="awake"} 1\.0/, 'sleep_state="awake"} 0.0');
			return new Response(text, { status: answer.status });
		},
	});
	try {
		const becomes = watch({ ...sim, origin: `http://127.0.0.1:${stand.port}` });
		const monitor = await becomes("up");
		await until(() => monitor.metrics?.isAsleep === true, "its metrics");
		await becomes("up");
	} finally {
		await stand.stop(true);
	}
});
