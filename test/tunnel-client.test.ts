/** The agent's tunnel is opened again whenever it closes: at once where that was by chance, later and later where none lasts. */
import { afterEach, describe, expect, spyOn, test } from "bun:test";
import { TunnelClient, type TunnelOptions } from "../src/agent/router-link/tunnel-client.ts";
import { httpTransport } from "../src/proxy/net/transport.ts";
import { until } from "./kit/until.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** How long a handshake may take, ms: no wait is as long. */
const OPEN_MS = 10_000;

/** A tunnel that something at the router's address closes as soon as it is open, and how long it has waited each time, ms. */
function closedAtOnce() {
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch: (request, server) => void server.upgrade(request),
		websocket: { open: (socket) => socket.close(1001), message() {} },
	});
	const timers = spyOn(globalThis, "setTimeout");
	const log = { logger: { info() {}, warn() {} } } as unknown as TunnelOptions["log"];
	const { port } = server;
	const site = { hostname: "127.0.0.1", port: port! };
	const tunnel = new TunnelClient({ router: server.url.origin, name: "gpu-1", site, transport: httpTransport(), log });
	stops.push(() => {
		tunnel.stop();
		timers.mockRestore();
		return server.stop(true);
	});
	tunnel.open();
	return () => timers.mock.calls.map(([, ms]) => Number(ms)).filter((ms) => ms < OPEN_MS);
}

describe("a tunnel that is closed", () => {
	test("as soon as it is open, as by another agent of its name, is opened again later and later", async () => {
		const waits = closedAtOnce();
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
		const waits = closedAtOnce();
		await until(() => waits().length >= 3, "three closings");
		expect(waits().slice(0, 3)).toEqual([0, 0, 0]);
	});
});
