/** The agent's tunnel is opened again whenever it closes: at once where that was by chance, later and later where none lasts. */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { TunnelClient, type TunnelOptions } from "../src/agent/router-link/tunnel-client.ts";
import { helloFrame, tunnelEndpoint } from "../src/protocol/tunnel.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { startBalancer } from "./kit/balancer.ts";
import { until } from "./kit/until.ts";
import { startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** How long a handshake may take, ms: no wait is as long. */
const OPEN_MS = 10_000;

/** A tunnel that something at the router's address closes as soon as it is open, and how long it has waited each time, ms. */
function closedAtOnce(code = 1001, reason = "") {
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch: (request, server) => void server.upgrade(request),
		websocket: {
			open(socket) {
				socket.sendBinary(helloFrame({ router: "one", routers: ["one"] }));
				socket.close(code, reason);
			},
			message() {},
		},
	});
	const timers = spyOn(globalThis, "setTimeout");
	const warnings: string[] = [];
	const warn = (_: object, sentence: string) => void warnings.push(sentence);
	let opened = 0;
	const log = { logger: { info: () => opened++, warn } } as unknown as TunnelOptions["log"];
	const { port } = server;
	const site = { hostname: "127.0.0.1", port: port! };
	const tunnel = new TunnelClient({ router: server.url.origin, name: "gpu-1", site, transport: httpTransport(), log });
	stops.push(() => {
		tunnel.stop();
		timers.mockRestore();
		return server.stop(true);
	});
	tunnel.open();
	/** It was open, and is not any more. */
	const isClosed = () => opened > 0 && !tunnel.isOpen;
	return {
		tunnel,
		isClosed,
		waits: () => timers.mock.calls.map(([, ms]) => Number(ms)).filter((ms) => ms < OPEN_MS),
		warnings,
	};
}

describe("a tunnel that is closed", () => {
	test("as soon as it is open, as by a proxy, is opened again later and later", async () => {
		const { waits } = closedAtOnce();
		await until(() => waits().length >= 4, "four closings");
		for (const [at, most] of [250, 500, 1000, 1000].entries()) {
			expect(waits()[at]).toBeWithin(most * 0.75, most + 1);
		}
	});

	test("after it was open for some seconds is opened again at once", async () => {
		const real = performance.now.bind(performance);
		let looks = 0;
		const clock = spyOn(performance, "now").mockImplementation(() => real() + 6_000 * ++looks);
		stops.push(() => clock.mockRestore());
		const { waits } = closedAtOnce();
		await until(() => waits().length >= 3, "three closings");
		expect(waits().slice(0, 3)).toEqual([0, 0, 0]);
	});

	test.each([
		[1001, "", /closed, and opened again: the router is stopping\.$/],
		[1011, "Too busy.", /closed it with code 1011: Too busy\.$/],
		[
			4001,
			"Another.",
			/Another agent called "gpu-1" with the same data directory, .* stands back while that is there\. .*ROUTER_AGENT_NAME/,
		],
	])("with code %i %s is told as what it is", async (code, reason, sentence) => {
		const { warnings } = closedAtOnce(code, reason);
		await until(() => warnings.length > 0, "the warning");
		expect(warnings).toEqual([expect.stringMatching(sentence)]);
	});
});

test("a tunnel of an agent that is stopping is left to its successor without a word", async () => {
	const { warnings, tunnel, isClosed, waits } = closedAtOnce(4001, "Another.");
	tunnel.drain();
	await until(isClosed, "its end");
	expect([warnings, waits()]).toEqual([[], []]);
});

describe("two agents of one name and installation", () => {
	const whose = { name: "gpu-1", instance: "of-a-copied-disk" };
	/** An agent's tunnel: which start of it opens it, and the port where it listens. */
	function start(router: string, process?: string, port = 9) {
		const warnings: string[] = [];
		let opened = 0;
		const logger = { info: () => opened++, warn: (_: object, sentence: string) => void warnings.push(sentence) };
		const log = { logger } as unknown as TunnelOptions["log"];
		const site = { hostname: "127.0.0.1", port };
		const tunnel = new TunnelClient({ ...whose, router, process, site, log, transport: httpTransport() });
		stops.push(() => tunnel.stop());
		tunnel.open();
		return { tunnel, warnings, opened: () => opened };
	}

	test.each([1, 2])(
		"have one tunnel: the later one gets none while the first answers, and is told so; workers: %i",
		async (workers) => {
			const router = await startHere(twoWorkers({}, { workers }));
			stops.push(() => router.stop());
			const agent = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("{}") });
			stops.push(() => agent.stop(true));
			const first = start(router.url, "one", agent.port);
			await until(() => first.tunnel.isOpen, "the first tunnel");
			const body = { ...whose, process: "one", endpoint: tunnelEndpoint("gpu-1"), models: ["qwen"] };
			const answer = await fetch(`${router.url}/register`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: JSON.stringify(body),
			});
			expect(await answer.json()).toMatchObject({ reachable: true });
			const later = start(router.url, "two", agent.port);
			await until(() => later.warnings.length > 0, "the warning");
			expect(later.warnings).toEqual([
				expect.stringMatching(
					/^The tunnel can't be opened: Another agent called "gpu-1" with the same data directory, .*ROUTER_AGENT_NAME/,
				),
			]);
			expect([first.tunnel.isOpen, first.opened(), first.warnings, later.opened()]).toEqual([true, 1, [], 0]);
			first.tunnel.stop();
			await until(() => later.tunnel.isOpen, "the later one's, once the first has ended");
		},
		60_000,
	);

	test("of a version that does not say which start it is have one that the later one keeps; the older has it again once that is gone", async () => {
		const router = await startHere(twoWorkers({}, { workers: 1 }));
		stops.push(() => router.stop());
		const way = await startBalancer([router.url]);
		stops.push(() => way.stop());
		const older = start(way.url);
		await until(() => older.tunnel.isOpen, "the first tunnel");
		const later = start(way.url);
		await until(() => older.warnings.length > 0, "the warning");
		await until(() => later.tunnel.isOpen && !older.tunnel.isOpen, "the second tunnel");
		await until(() => way.connections > 2, "another try of the first");
		expect([older.opened(), later.opened(), later.warnings]).toEqual([1, 1, []]);
		expect(older.warnings).toHaveLength(1);
		later.tunnel.stop();
		await until(() => older.tunnel.isOpen, "the first one's again");
	}, 60_000);
});
