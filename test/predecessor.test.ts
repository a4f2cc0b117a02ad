/** A process that takes a router's place, where that one goes away, changes its mind, or asks what can't be decided. */
import { afterEach, describe, expect, test } from "bun:test";
import { SlidingWindowLimiter } from "../src/accounts/limits/sliding-window.ts";
import { ControlPeer, listenForControl } from "../src/server/upgrade/control-socket.ts";
import { type HeirParts, Predecessor } from "../src/server/upgrade/predecessor.ts";
import type { FromRouter, HandedRouter, ToRouter } from "../src/server/upgrade/upgrade-messages.ts";
import { directory } from "./kit/cli.ts";
import { until } from "./kit/until.ts";

const ends: (() => void)[] = [];
afterEach(() => {
	for (const end of ends.splice(0)) end();
});

/** The process, and the router before as far as it speaks: it tells this state at once. */
async function taking(state: HandedRouter, limiter: unknown = new SlidingWindowLimiter()) {
	const home = directory();
	ends.push(() => home[Symbol.dispose]());
	const heard: ToRouter[] = [];
	const { promise: asked, resolve } = Promise.withResolvers<ControlPeer<FromRouter, ToRouter>>();
	const close = await listenForControl(home.path, (socket) => {
		const peer = new ControlPeer<FromRouter, ToRouter>(socket);
		peer.onMessage = (message) => {
			heard.push(message);
			if (message.type === "replace") peer.send({ type: "state", state });
		};
		resolve(peer);
	});
	ends.push(close);
	const predecessor = (await Predecessor.of(home.path, "process 1"))!;
	const agents = { adopt() {}, agents: new Map(), now: () => 0 };
	const parts = { state: { limiter }, targets: {}, agents, hub: {} } as unknown as HeirParts;
	await predecessor.handOver(parts);
	return { predecessor, heard, router: await asked };
}

const nothing: HandedRouter = { port: 1, listeners: 0, agents: [] };
const counts = { now: 0, counts: [] };

describe.if(process.platform === "linux")("a process that takes a router's place", () => {
	test("answers what it is asked of limits that it does not count, so that no call waits", async () => {
		const { heard, router } = await taking({ ...nothing, limits: counts }, {});
		expect(heard[0]).toMatchObject({ type: "replace", takesLimits: false });
		router.send({ type: "take", call: 3, limits: [] });
		await until(() => heard.length > 1, "an answer");
		expect(heard[1]).toEqual({ type: "decided", call: 3 });
		router.end();
	});

	test("says that it counts limits, and decides", async () => {
		const { heard, router } = await taking({ ...nothing, limits: counts });
		expect(heard[0]).toMatchObject({ type: "replace", takesLimits: true });
		router.send({ type: "take", call: 3, limits: [] });
		await until(() => heard.length > 1, "an answer");
		expect(heard[1]).toMatchObject({ type: "decided", call: 3, decision: { held: { entries: [] } } });
		router.end();
	});

	test("does not begin where the router has its place back", async () => {
		const { heard, router, predecessor } = await taking(nothing);
		router.send({ type: "done", isUpgraded: false, text: "Process 1 has its place back." });
		router.end();
		await router.closed;
		await predecessor.settled;
		await expect(predecessor.listening("me")).rejects.toThrow("has its place back");
		expect(heard).toHaveLength(1);
	});

	test("leaves connections to all listeners of the port where the router ended before it listened", async () => {
		const first = Bun.serve({ port: 0, hostname: "127.0.0.1", reusePort: true, fetch: () => new Response("first") });
		const port = first.port!;
		const second = Bun.serve({ port, hostname: "127.0.0.1", reusePort: true, fetch: () => new Response("second") });
		ends.push(
			() => void first.stop(true),
			() => void second.stop(true),
		);
		const { router, predecessor } = await taking({ ...nothing, port, listeners: 1 });
		router.end();
		await router.closed;
		await predecessor.settled;
		await predecessor.listening("me");
		const answered = new Set<string>();
		for (let one = 0; one < 60; one++) {
			const answer = await fetch(`http://127.0.0.1:${port}`, { headers: { connection: "close" } });
			answered.add(await answer.text());
		}
		expect([...answered].sort()).toEqual(["first", "second"]);
	});
});
