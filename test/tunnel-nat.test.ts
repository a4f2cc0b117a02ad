/** A real agent in a network namespace behind NAT, without any way in: what an address carries its tunnel carries, however often the link is cut. */
import { afterEach, expect } from "bun:test";
import { resolve } from "node:path";
import { answerOf, continuingEngine, readChatStream } from "./kit/continuing-engine.ts";
import { eventData, type Loose } from "./kit/exchange.ts";
import { startNatHost } from "./kit/nat.ts";
import { needing } from "./kit/needing.ts";
import { random } from "./kit/random.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const TOKEN = "the-shared-agent-token";
const KEY = "the-key-of-a-client";
const ADMIN = "the-key-of-an-administrator";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
}, 60_000);

/** The router, the host and the agent there, once that can be called. */
async function start(over: "engine" | "docker", config: Loose = {}) {
	const nat = await startNatHost();
	stops.push(() => nat.stop());
	const router = await startRouter({
		config: { server: { workers: 2 }, ...config },
		env: { HOST: nat.outside, ROUTER_AGENT_TOKEN: TOKEN, ROUTER_API_KEYS: KEY, ROUTER_ADMIN_KEYS: ADMIN },
	});
	stops.push(() => router.stop());
	const script = resolve(import.meta.dir, "kit/nat-agent.ts");
	const agent = nat.spawn([process.execPath, "--no-env-file", script, router.url, over], { ROUTER_AGENT_TOKEN: TOKEN });
	await agent.printed(/^ready$/);
	await until(async () => (await agents(router))[0]?.["reachable"] === true, "the agent");
	return { nat, router, agent };
}

const ask = (router: RunningRouter, path: string, body?: object, key = KEY) =>
	fetch(router.url + path, {
		...(body && { method: "POST", body: JSON.stringify(body) }),
		headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
	});
const own = (router: RunningRouter, path: string, body?: object) => ask(router, `/agents/gpu-1/${path}`, body, ADMIN);
const agents = async (router: RunningRouter) =>
	((await (await ask(router, "/agents", undefined, ADMIN)).json()) as { data: Loose[] }).data;
const messages = [{ role: "user", content: "40" }];

needing("nat").describe("behind NAT", () => {
	needing("nat").test(
		"20 cuts of the link lose no call that has another place",
		async () => {
			const elsewhere = continuingEngine("qwen");
			stops.push(() => elsewhere.stop());
			const targets = ["local/qwen", "mybox/qwen"];
			const { nat, router, agent } = await start("engine", {
				providers: { mybox: { type: "vllm", base_url: elsewhere.url } },
				models: [{ name: "m", targets, policy: "order" }],
			});
			const isThrough = async () =>
				(await ask(router, "/v1/chat/completions", { model: "local/qwen", messages })).status === 200;
			expect((await agents(router))[0]).toMatchObject({ endpoint: "tunnel://gpu-1" });
			const { next } = random(20);
			let isCutting = true;
			const ends: unknown[] = [];
			const clients = Array.from({ length: 6 }, async (_, client) => {
				while (isCutting) {
					const isStream = client % 2 === 0;
					const answer = await ask(router, "/v1/chat/completions", { model: "m", stream: isStream, messages });
					const text = await answer.text();
					const content = isStream ? readChatStream(text).content : JSON.parse(text).choices?.[0].message.content;
					ends.push([answer.status, content === answerOf(40) || text]);
				}
			});
			for (let count = 0; count < 20; count++) {
				await until(isThrough, "the tunnel");
				await (count % 2 === 0 ? nat.reset() : nat.unplug());
				await Bun.sleep(100 + next() * 400);
				await nat.restore();
			}
			isCutting = false;
			await Promise.all(clients);
			expect(ends.filter((end) => !Bun.deepEquals(end, [200, true]))).toEqual([]);
			await until(isThrough, "the tunnel at last");
			await agent.stop();
			expect(Number(/opened (\d+) times/.exec(agent.output())?.[1])).toBeGreaterThan(5);
		},
		120_000,
	);
});

needing("nat").describe("behind NAT, over a Docker Engine", () => {
	needing("docker").test(
		"every route of the agent's own API works, and every operation",
		async () => {
			const { router } = await start("docker");
			const model = "qwen/small";
			const state = async () => ((await (await own(router, `models/${model}`)).json()) as Loose)["state"];
			await until(async () => (await state()) === "stopped", "the model");
			const { data } = (await (await own(router, "models")).json()) as { data: Loose[] };
			expect(data).toMatchObject([{ name: model, state: "stopped" }]);
			expect((await own(router, `models/${model}/load`, {})).status).toBe(202);
			await until(async () => (await state()) === "ready", "the model");
			expect(await (await own(router, "gpus")).json()).toMatchObject({ data: [{ index: 0, models: [{ model }] }] });
			expect(await (await own(router, "metrics")).text()).toContain(
				`router_agent_model_state{model="${model}",state="ready"} 1`,
			);
			expect(await (await own(router, `models/${model}/logs?tail=1000`)).text()).toContain("vLLM API server version");
			const followed = await own(router, `models/${model}/logs?follow=1&tail=5`);
			expect(followed.headers.get("content-type")).toStartWith("text/event-stream");
			const reader = followed.body!.getReader();
			expect((await reader.read()).done).toBe(false);
			await reader.cancel();

			const name = `local/gpu-1/${model}`;
			const chat = await ask(router, "/v1/chat/completions", {
				model: name,
				messages: [{ role: "user", content: "hi" }],
			});
			expect([chat.status, ((await chat.json()) as Loose)["model"]]).toEqual([200, model]);
			const streamed = await ask(router, "/v1/chat/completions", { model: name, stream: true, messages });
			expect(eventData(await streamed.text()).at(-1)).toBe("[DONE]");
			expect((await ask(router, "/v1/completions", { model: name, prompt: "Once" })).status).toBe(200);
			const { data: known } = (await (await ask(router, "/v1/models")).json()) as { data: { id: string }[] };
			expect(known.map(({ id }) => id)).toContain(`local/${model}`);

			expect((await own(router, `models/${model}/unload`, {})).status).toBe(202);
			await until(async () => (await state()) === "stopped", "its end");
			expect((await own(router, "models/none/load")).status).toBe(404);
			expect((await ask(router, "/agents/gpu-1/models")).status).toBe(401);
			expect((await ask(router, "/agents/gpu-2/models", undefined, ADMIN)).status).toBe(404);
		},
		180_000,
	);
});
