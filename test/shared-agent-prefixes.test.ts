/** Agents report their prefix caches to one of several routers: the others know as much, over a real Redis. */
import { expect } from "bun:test";
import type { PrefixReport } from "../src/protocol/agent.ts";
import { decodeBlocks, encodeBlocks } from "../src/routing/routing-message.ts";
import { AgentPrefixes } from "../src/server/agents/agent-prefixes.ts";
import { sharePrefixes } from "../src/server/agents/shared-agent-prefixes.ts";
import { needing } from "./kit/needing.ts";
import { startRedis } from "./kit/redis.ts";
import { until } from "./kit/until.ts";

const { test } = needing("redis");

const MODELS = new Map([["m", { name: "m", state: "ready" as const }]]);
const TARGET = "local/gpu-1/m";
const report = (version: number, added: number[], since?: number): PrefixReport => ({
	...{ model: "m", replica: 0, version, added: encodeBlocks(Int32Array.from(added)) },
	...(since !== undefined && { since }),
});

/** A Redis and routers at it, each with what it knows of the target. */
async function routers(count: number) {
	const redis = await startRedis();
	const made = await Promise.all(
		Array.from({ length: count }, async (_, at) => {
			const known = new Map<string, Set<number>>();
			const prefixes = new AgentPrefixes({
				reported(target, changes) {
					if (!changes) return void known.delete(target);
					const before = changes.isAll ? [] : (known.get(target) ?? []);
					known.set(target, new Set([...before, ...changes.added]));
				},
			});
			const subscriber = redis.client.duplicate();
			await until(() => subscriber.status === "ready", "a subscriber");
			const receivers: ((text: string) => void)[] = [];
			subscriber.on("message", (_channel: string, text: string) => {
				for (const receive of receivers) receive(text);
			});
			await subscriber.subscribe("prefixes");
			const channel = {
				router: `router-${at}`,
				listen: (receive: (text: string) => void) => void receivers.push(receive),
				publish: (text: string) => void redis.client.publish("prefixes", text),
			};
			sharePrefixes(channel, new Map([["gpu-1", { models: MODELS }]]), prefixes);
			const knows = () => [...(known.get(TARGET) ?? [])].sort((a, b) => a - b);
			return { prefixes, knows, close: () => subscriber.disconnect() };
		}),
	);
	const stop = async () => {
		for (const { close } of made) close();
		await redis.stop();
	};
	return { redis, made, stop };
}

test("what an agent reports to one router all know, whichever it reports to next", async () => {
	const { made, stop } = await routers(2);
	const [a, b] = made as [(typeof made)[number], (typeof made)[number]];
	expect(a.prefixes.take("gpu-1", MODELS, [report(1, [5, 6])])).toEqual([]);
	await until(() => b.knows().length === 2, "the first report");
	expect(b.prefixes.take("gpu-1", MODELS, [report(2, [7], 1)])).toEqual([]);
	await until(() => a.knows().length === 3, "the second report");
	expect([a.knows(), b.knows()]).toEqual([
		[5, 6, 7],
		[5, 6, 7],
	]);
	a.prefixes.take("gpu-1", MODELS, undefined);
	await until(() => b.knows().length === 0, "the end of reports");
	await stop();
});

test("a router that came later gets all by the agent's next heartbeat, and what is no report changes nothing", async () => {
	const { redis, made, stop } = await routers(3);
	const [a, b, late] = made as [(typeof made)[number], (typeof made)[number], (typeof made)[number]];
	a.prefixes.take("gpu-1", MODELS, [report(1, [5, 6])]);
	await until(() => b.knows().length === 2 && late.knows().length === 2, "the first report");
	late.prefixes.forget("gpu-1");
	for (const text of ["no JSON", "{}", '{"v":1,"from":"x","agent":"gpu-1","reports":[{"model":"../x"}]}']) {
		await redis.client.publish("prefixes", text);
	}
	a.prefixes.take("gpu-1", MODELS, [report(2, [7], 1)]);
	// The one that lacks the first says so; whoever hears of the agent asks for all.
	await until(() => a.prefixes.take("gpu-1", MODELS, []).includes("m#0"), "a question");
	expect(late.knows()).toEqual([]);
	a.prefixes.take("gpu-1", MODELS, [report(3, [5, 6, 7])]);
	await until(() => late.knows().length === 3, "all of it");
	expect(b.knows()).toEqual([5, 6, 7]);
	expect(decodeBlocks(report(1, [5, 6]).added!)).toEqual(Int32Array.of(5, 6));
	await stop();
});
