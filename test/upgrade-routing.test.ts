/** What a router knows of replicas goes on in the process that takes its place, however many worker threads each of the two has. */
import { afterEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./kit/until.ts";
import { isRouter, UPGRADE_KEY, upgradedRouter } from "./kit/upgrades.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});

/** Upstreams that answer once so many calls are there. */
class Replicas {
	needed = 1;
	#arrived: (() => void)[] = [];

	/** Makes calls of which none is answered before all are there, so that they spread over replicas. */
	async together<T>(calls: readonly (() => Promise<T>)[]): Promise<T[]> {
		this.needed = calls.length;
		const answers = await Promise.all(calls.map((call) => call()));
		this.needed = 1;
		return answers;
	}

	/** Starts one. @param refusal what it answers in place of a chat */
	start(refusal?: { readonly status: number; readonly headers?: Record<string, string> }) {
		const server = Bun.serve({
			port: 0,
			hostname: "127.0.0.1",
			fetch: async (request) => {
				if (request.method === "GET") return Response.json({ object: "list", data: [] });
				received++;
				if (refusal) return Response.json({ error: { message: "no" } }, refusal);
				const { promise, resolve } = Promise.withResolvers<void>();
				this.#arrived.push(resolve);
				if (this.#arrived.length >= this.needed) for (const answer of this.#arrived.splice(0)) answer();
				await promise;
				return Response.json({
					...{ id: "c", object: "chat.completion", created: 1, model: "m" },
					choices: [{ index: 0, message: { role: "assistant", content: "yes" }, finish_reason: "stop" }],
					usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
				});
			},
		});
		let received = 0;
		stops.push(() => server.stop(true));
		return {
			provider: { type: "openai-compatible", base_url: `http://127.0.0.1:${server.port}/v1` },
			received: () => received,
		};
	}
}

/** Which provider answers, over a connection of its own: one that is kept alive ends at the process before. */
async function providerOf(url: string, model: string, content: string, session?: string): Promise<string> {
	const answer = await fetch(`${url}/v1/chat/completions`, {
		method: "POST",
		headers: {
			...{ authorization: `Bearer ${UPGRADE_KEY}`, "content-type": "application/json", connection: "close" },
			...(session !== undefined && { "x-session-id": session }),
		},
		body: JSON.stringify({ model, messages: [{ role: "user", content }] }),
	});
	await answer.text();
	expect(answer.status).toBe(200);
	return answer.headers.get("x-router-provider") ?? "";
}

/** Whether a target is out of use, as the process that has the port says: 2 it is, 1 it is being tried; undefined where it never was. */
async function breakerState(url: string, target: string): Promise<string | undefined> {
	const text = await (await fetch(`${url}/metrics`, { headers: { connection: "close" } })).text();
	return new RegExp(`^router_breaker_state\\{target="${target}"\\} (\\d)$`, "m").exec(text)?.[1];
}

const SESSIONS = Array.from({ length: 8 }, (_, at) => `session-${at}`);
const PROMPTS = [..."abcdefgh"].map((letter) => letter.repeat(4_000));

describe.if(process.platform === "linux")("an upgrade", () => {
	test.each([
		[2, 2],
		[1, 2],
		[2, 1],
	])(
		"from %d to %d workers leaves replicas that fail or rest out of use, sessions at their replicas, and prompts where their beginnings are",
		async (from, to) => {
			const replicas = new Replicas();
			const failing = replicas.start({ status: 500 });
			const resting = replicas.start({ status: 429, headers: { "retry-after": "60" } });
			const config = {
				providers: {
					one: replicas.start().provider,
					two: replicas.start().provider,
					failing: failing.provider,
					resting: resting.provider,
				},
				models: [
					{ name: "m", targets: ["one/m", "two/m"] },
					{ name: "failing", policy: "order", targets: ["failing/m"], fallback: ["one/m"] },
					{ name: "resting", policy: "order", targets: ["resting/m"], fallback: ["one/m"] },
				],
			};
			const router = await upgradedRouter("", { workers: from, config });
			stops.push(() => router.end());
			const { url } = router;
			while ((await breakerState(url, "failing/m")) !== "2") await providerOf(url, "failing", "hello");
			await providerOf(url, "resting", "hello");
			const sessions = await replicas.together(SESSIONS.map((name) => () => providerOf(url, "m", "hello", name)));
			const prompts = await replicas.together(PROMPTS.map((text) => () => providerOf(url, "m", text)));
			expect([new Set(sessions).size, new Set(prompts).size]).toEqual([2, 2]);

			writeFileSync(
				join(router.directory, "router.yaml"),
				JSON.stringify({ ...router.config, server: { workers: to } }),
			);
			expect((await router.upgrade()).code).toBe(0);
			expect(await breakerState(url, "failing/m")).toMatch(/[12]/);
			expect(await providerOf(url, "resting", "hello")).toBe("one");
			expect(resting.received()).toBe(1);
			for (const [at, name] of SESSIONS.entries()) {
				expect([name, await providerOf(url, "m", "hello", name)]).toEqual([name, sessions[at]!]);
			}
			for (const [at, text] of PROMPTS.entries()) {
				expect([text[0], await providerOf(url, "m", `${text} and more`)]).toEqual([text[0], prompts[at]!]);
			}
			await until(() => !isRouter(router.pid), "the end of the old process");
		},
		60_000,
	);
});
