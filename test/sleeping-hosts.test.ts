/** A call for a model of a host that sleeps, in a network of its own: the packet on the wire, the agent that comes, the answer. One thread, and workers. */
import { afterEach, expect } from "bun:test";
import { resolve } from "node:path";
import type { Loose } from "./kit/exchange.ts";
import { startFakeAgent } from "./kit/fake-agent.ts";
import { createNamespace } from "./kit/namespace.ts";
import { needing } from "./kit/needing.ts";
import { startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const MAC = "52:54:00:12:34:56";
const [TOKEN, KEY, ADMIN] = ["the-shared-agent-token", "the-key-of-a-client", "the-key-of-an-administrator"];

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
}, 60_000);

needing("nat").describe("a host that sleeps", () => {
	needing("nat").test.each([1, 2])(
		"is woken by a call, which waits for it and is answered by it, with %d workers",
		async (workers) => {
			const network = await createNamespace();
			stops.push(() => network[Symbol.asyncDispose]());
			const heard: Buffer[] = [];
			// This machine stands for the host: its side of the network hears what is sent to all there.
			const card = await Bun.udpSocket({
				port: 9,
				socket: { data: (_, bytes) => void heard.push(Buffer.from(bytes)) },
			});
			stops.push(() => card.close());
			const router = await startRouter({
				command: [...network.enter, process.execPath, resolve(import.meta.dir, "../src/main.ts")],
				config: { server: { workers }, agents: { wake: { "gpu-1": { mac: MAC } } } },
				env: { HOST: network.address, ROUTER_AGENT_TOKEN: TOKEN, ROUTER_API_KEYS: KEY, ROUTER_ADMIN_KEYS: ADMIN },
			});
			stops.push(() => router.stop());
			const ask = (path: string, key: string, body?: object) =>
				fetch(router.url + path, {
					...(body && { method: "POST", body: JSON.stringify(body) }),
					headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
				});
			const agent = async () => ((await (await ask("/agents", ADMIN)).json()) as { data: Loose[] }).data[0];
			const metric = async (name: string) =>
				new RegExp(`^${name}\\{.*\\} (\\d+)$`, "m").exec(await (await ask("/metrics", ADMIN)).text())?.[1];
			const call = { model: "qwen", messages: [{ role: "user", content: "hi" }] };
			const instance = crypto.randomUUID();
			const start = () =>
				startFakeAgent({ router: router.url, token: TOKEN, name: "gpu-1", instance, tunnel: "always" });
			const first = start();
			await until(async () => (await agent())?.["reachable"] === true, "the agent");
			expect((await ask("/v1/chat/completions", KEY, call)).status).toBe(200);
			await first.stop();
			// 30 s of silence.
			await until(async () => (await agent())?.["state"] !== "fresh", "an agent that is late");
			await until(async () => (await agent())?.["state"] === "gone", "an agent that is gone");
			await until(async () => (await (await ask("/v1/models", KEY)).text()).includes('"local/qwen"'), "its models");
			await until(async () => (await agent())?.["wake"] === "asleep", "a host that may be woken");
			expect(heard).toEqual([]);
			const calls = [1, 2, 3].map(() => ask("/v1/chat/completions", KEY, call));
			await until(() => heard.length > 0, "a packet");
			const second = start();
			stops.push(() => second.stop());
			for (const answer of await Promise.all(calls)) {
				expect([answer.status, (await answer.json()) as Loose]).toMatchObject([200, { model: "qwen" }]);
				const id = answer.headers.get("x-request-id")!;
				const found = async () => (await ask(`/admin/calls/${id}`, ADMIN)).text();
				await until(async () => (await found()).includes("whose host is woken"), "its row");
			}
			const bytes = Buffer.from(`${"ff".repeat(6)}${MAC.replaceAll(":", "").repeat(16)}`, "hex");
			for (const packet of heard) expect(packet).toEqual(bytes);
			await until(async () => (await metric("router_host_wakes_total")) === "1", "the end of one wake");
			await router.printed(/woke up/);
		},
		120_000,
	);
});
