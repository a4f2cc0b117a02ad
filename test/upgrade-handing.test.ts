/** What a router does when the process that wants its place goes away, is frozen, comes twice, or counts limits in another way. */
import { describe, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { HandedLimiter } from "../src/accounts/limits/handed-limits.ts";
import type { Limiter } from "../src/accounts/limits/limiter.ts";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { ControlPeer, connectToRouter } from "../src/server/upgrade/control-socket.ts";
import { type FromRouter, type ToRouter, UPGRADE_PROTOCOL } from "../src/server/upgrade/upgrade-messages.ts";
import { type UpgradeParts, Upgrades } from "../src/server/upgrade/upgrades.ts";
import { directory } from "./kit/cli.ts";
import { until } from "./kit/until.ts";

/** Upgrades of a router of which there is no more than they need. */
async function openUpgrades(more: Partial<UpgradeParts> = {}) {
	const home = directory();
	const state: { limiter: Limiter } = { limiter: new SlidingWindowLimiter() };
	const services = {
		log: { logger: { info() {}, error() {} } },
		lifecycle: { state: "ready" },
		upstreams: { targets: {} },
	};
	const upgrades = new Upgrades({
		...{ dataDir: home.path, server: { port: 1 }, hasRedis: false, settled: Promise.resolve(), forwardLimits() {} },
		router: { state, agents: { shared: () => [] }, hub: { size: 0, know() {} } } as unknown as UpgradeParts["router"],
		services: services as unknown as UpgradeParts["services"],
		...more,
	});
	const close = await upgrades.open();
	return {
		...{ home, upgrades, state, lifecycle: services.lifecycle },
		[Symbol.dispose]() {
			close();
			home[Symbol.dispose]();
		},
	};
}

/** A process that asks for the place. */
async function heir(dataDir: string, more: { pid?: number; takesLimits?: boolean } = {}) {
	const socket: Socket = (await connectToRouter(dataDir))!;
	const peer = new ControlPeer<ToRouter, FromRouter>(socket);
	const heard: FromRouter[] = [];
	peer.onMessage = (message) => heard.push(message);
	peer.send({ type: "replace", protocol: UPGRADE_PROTOCOL, version: "0", pid: 1, ...more });
	return {
		...{ socket, peer, heard },
		async first(): Promise<FromRouter> {
			await until(() => heard.length > 0, "a message of the router");
			return heard[0]!;
		},
	};
}

describe.if(process.platform !== "win32")("a router that hands over", () => {
	test("is free for the next one where a process goes away before it is told anything", async () => {
		const settled = Promise.withResolvers<void>();
		using router = await openUpgrades({ settled: settled.promise });
		const gone = await heir(router.home.path, { takesLimits: true });
		const refused = await heir(router.home.path);
		// The first one was heard: the place is its own.
		expect(await refused.first()).toMatchObject({ type: "done", text: expect.stringContaining("already") });
		gone.peer.end();
		await gone.peer.closed;
		const next = await heir(router.home.path, { takesLimits: true });
		settled.resolve();
		expect(await next.first()).toMatchObject({ type: "state" });
		expect(gone.heard).toEqual([]);
		next.peer.end();
		await until(() => router.state.limiter instanceof SlidingWindowLimiter, "its own limiter");
	});

	test("refuses one that it could tell only when it ends itself", async () => {
		const settled = Promise.withResolvers<void>();
		using router = await openUpgrades({ settled: settled.promise });
		const late = await heir(router.home.path, { takesLimits: true });
		const refused = await heir(router.home.path);
		await refused.first();
		router.lifecycle.state = "draining";
		settled.resolve();
		expect(await late.first()).toMatchObject({ type: "done", text: "This router is ending already." });
		expect(router.state.limiter).toBeInstanceOf(SlidingWindowLimiter);
	});

	test("counts limits on by itself where the new process does not say that it can", async () => {
		using router = await openUpgrades();
		const other = await heir(router.home.path);
		const told = await other.first();
		expect(told).toMatchObject({ type: "state", state: { port: 1 } });
		expect(told).not.toHaveProperty("state.limits");
		expect(router.state.limiter).toBeInstanceOf(SlidingWindowLimiter);
		other.peer.end();
	});

	test("asks one that can, and takes the place back from one that is frozen: its calls end as without it", async () => {
		using router = await openUpgrades({ readyMs: 200 });
		const frozen = await heir(router.home.path, { takesLimits: true });
		await frozen.first();
		expect(router.state.limiter).toBeInstanceOf(HandedLimiter);
		frozen.socket.pause();
		frozen.socket.allowHalfOpen = true;
		const asked = router.state.limiter.take([], performance.now());
		expect(await asked).toMatchObject({ isAllowed: true });
		await until(() => router.state.limiter instanceof SlidingWindowLimiter, "its own limiter");
		const next = await heir(router.home.path);
		expect(await next.first()).toMatchObject({ type: "state" });
		frozen.socket.destroy();
		next.peer.end();
	});

	test("hears no more of a program that it has started when it gives that up", async () => {
		using router = await openUpgrades({ readyMs: 1_000 });
		const file = `${router.home.path}/program`;
		writeFileSync(file, "#!/bin/sh\nexec sleep 20\n");
		chmodSync(file, 0o755);
		const started = Promise.withResolvers<number>();
		const done = router.upgrades.upgrade(file, (text) => started.resolve(Number(/process (\d+)/.exec(text)![1])));
		const child = await heir(router.home.path, { pid: await started.promise, takesLimits: true });
		await child.first();
		expect(await done).toMatchObject({ isUpgraded: false, text: expect.stringContaining("was not ready") });
		expect(router.state.limiter).toBeInstanceOf(SlidingWindowLimiter);
		child.peer.send({ type: "listening", router: "late" });
		await child.peer.closed;
		expect(child.heard.at(-1)).toMatchObject({ type: "done", isUpgraded: false });
		expect((await router.upgrades.upgrade("/nowhere", () => {})).text).toContain("/nowhere");
	});

	test("says so where the process before it does not stop listening, and takes the next upgrade", async () => {
		using router = await openUpgrades({ settled: new Promise(() => {}), settledMs: 20 });
		for (let one = 0; one < 2; one++) {
			const { isUpgraded, text } = await router.upgrades.upgrade(undefined, () => {});
			expect({ isUpgraded, text }).toEqual({ isUpgraded: false, text: expect.stringContaining("still listens") });
		}
	});
});
