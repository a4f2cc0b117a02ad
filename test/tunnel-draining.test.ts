/** A router that stops: tunnels stay open until the last call is over that may go through one, however it came. */
import { afterEach, describe, expect, test } from "bun:test";
import { listen } from "../src/http/listen.ts";
import { drainingTunnels } from "../src/server/role.ts";
import { certificate } from "./kit/certificate.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { base } from "./kit/http-base.ts";
import { connectSocket } from "./kit/responses-socket.ts";
import { until } from "./kit/until.ts";
import { startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

describe("tunnels stay open", () => {
	test("until calls are over that came before another certificate was shown", async () => {
		const { app, log } = base();
		const gate = Promise.withResolvers<void>();
		let hasCome = false;
		app.get("/call", async () => {
			hasCome = true;
			await gate.promise;
			return "answered";
		});
		const options = { host: "127.0.0.1", port: 0, bodyLimit: 1e6, log, certificate: certificate("one") };
		const server = listen(app, options);
		stops.push(() => server.stop(true));
		const call = fetch(`${server.url}/call`, { tls: { rejectUnauthorized: false } });
		await until(() => hasCome, "the call");
		server.useCertificate(certificate("two"));
		let looks = 0;
		let drained = 0;
		const watched = {
			stop: () => server.stop(),
			get pendingRequests() {
				looks++;
				return server.pendingRequests;
			},
			get pendingWebSockets() {
				return server.pendingWebSockets;
			},
		};
		const stopped = drainingTunnels(watched, { size: 0, drained: () => drained++ }).stop();
		await until(() => looks >= 3, "three looks");
		expect([server.pendingRequests, drained]).toEqual([1, 0]);
		gate.resolve();
		expect(await (await call).text()).toBe("answered");
		await stopped;
		expect(drained).toBeGreaterThan(0);
	});

	test.each([1, 2])(
		"until a response is over that was asked for over a WebSocket, with %i workers",
		async (workers) => {
			const router = await startHere(twoWorkers({}, { workers }));
			stops.push(() => router.stop());
			const gate = Promise.withResolvers<undefined>();
			const agent = startFakeAgent({ router: router.url, tunnel: "always", before: () => gate.promise });
			stops.push(() => agent.stop());
			const listed = async () =>
				(await (await fetch(`${router.url}/agents`)).json()) as { data: { reachable: boolean }[] };
			await until(async () => (await listed()).data[0]?.reachable === true, "the agent");
			const client = await connectSocket(router.url);
			stops.push(() => client.socket.close());
			client.send({ type: "response.create", model: "qwen", input: "hi", store: false });
			await until(() => agent.authorizations.length === 1, "the call");
			const stopped = router.end();
			await until(() => router.log().includes("No further calls are taken"), "the stop");
			// A tunnel that does not wait for the call would be closed by then.
			await Bun.sleep(300);
			expect(agent.tunnel!.isOpen).toBe(true);
			gate.resolve(undefined);
			expect((await client.response()).at(-1)).toMatchObject({ type: "response.completed" });
			await stopped;
		},
	);
});
