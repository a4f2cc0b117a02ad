/** What several worker threads keep of answers is one: whichever of them a call comes to, it finds what another one was answered. */
import { afterEach, expect, test } from "bun:test";
import { DONE, goodStream } from "./kit/events.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, begins } from "./kit/faults.ts";
import { HELLO } from "./kit/hello-answer.ts";
import { startStrictClaude } from "./kit/strict-claude.ts";
import { CLAUDE_TURNS } from "./kit/tool-turns.ts";
import { until } from "./kit/until.ts";
import { callOnce, recordWorkers, startHere, twoWorkers } from "./kit/worker-router.ts";

const stops: (() => unknown)[] = [];
afterEach(async () => {
	for (const stop of stops.splice(0).reverse()) await stop();
});
async function start(config: Json) {
	const router = await startHere(twoWorkers(config));
	stops.push(() => router.stop());
	return router;
}
/** A router whose upstream answers once it may. */
async function startGated() {
	const gate = Promise.withResolvers<void>();
	const upstream = startFaultUpstream(async (connection) => {
		await gate.promise;
		await answers("200 OK", HELLO)(connection);
	});
	stops.push(() => upstream.stop(), gate.resolve);
	const router = await start({ providers: { box: { type: "openai-compatible", base_url: upstream.origin } } });
	return { upstream, gate, router };
}
/** So many equal calls, each over a connection of its own. */
const equal = (url: string, count: number, over: Json = {}) =>
	Array.from({ length: count }, async () => {
		const answer = await callOnce(url, { model: "box/m", temperature: 0, ...over });
		const said = ((await answer.json()) as Loose)["choices"]?.[0].message.content;
		return { status: answer.status, cache: answer.headers.get("x-router-cache"), said };
	});
const COUNT = 24;

test("equal calls at once ask the upstream once, and what comes later is answered from the cache", async () => {
	using recorded = recordWorkers();
	const { upstream, gate, router } = await startGated();
	const all = equal(router.url, COUNT);
	const inFlight = () => metric(router.url, "router_in_flight_requests");
	await until(async () => (await inFlight()) === COUNT, "the calls");
	gate.resolve();
	const got = [...(await Promise.all(all)), ...(await Promise.all(equal(router.url, COUNT)))];
	expect(got.filter(({ status, said }) => status === 200 && said === "Hello")).toHaveLength(2 * COUNT);
	expect(got.filter(({ cache }) => cache === "miss")).toHaveLength(1);
	expect(upstream.received).toHaveLength(1);
	expect(await metric(router.url, "router_cache_entries")).toBe(1);
	// Not by chance: both had some.
	expect(recorded.workers.every(({ calls }) => calls() > 0)).toBe(true);
});

test("a stream is read along as it comes by equal calls at either worker", async () => {
	using recorded = recordWorkers();
	const pieces = goodStream(4);
	const upstream = startFaultUpstream(begins(pieces.slice(0, 3)));
	stops.push(() => upstream.stop());
	const beginning = upstream.next();
	const router = await start({ providers: { box: { type: "openai-compatible", base_url: upstream.origin } } });
	const texts = Array.from({ length: COUNT }, () => "");
	const read = async (at: number) => {
		const answer = await callOnce(router.url, { model: "box/m", temperature: 0, stream: true });
		const decoder = new TextDecoder();
		for await (const bytes of answer.body!) texts[at] += decoder.decode(bytes, { stream: true });
		return answer.headers.get("x-router-cache");
	};
	const reads = texts.map((_, at) => read(at));
	await until(() => texts.every((text) => text.includes("word1")), "the beginning at all");
	const connection = await beginning;
	for (const piece of pieces.slice(3)) await connection.write(piece);
	connection.end();
	const cached = await Promise.all(reads);
	expect(cached.filter((each) => each === "hit")).toHaveLength(COUNT - 1);
	expect(new Set(texts).size).toBe(1);
	expect([texts[0]!.endsWith(DONE), upstream.received.length]).toEqual([true, 1]);
	await until(() => recorded.workers.every(({ calls }) => calls() > 0), "both to have had some");
});

test("a worker ends that may be making a call for the other: those of the other are answered", async () => {
	using recorded = recordWorkers();
	const { upstream, gate, router } = await startGated();
	const all = equal(router.url, COUNT).map((call) => call.catch(() => "reset" as const));
	const inFlight = () => metric(router.url, "router_in_flight_requests");
	await until(async () => (await inFlight()) === COUNT, "the calls");
	recorded.workers[0]!.worker.terminate();
	await until(() => router.log().includes("has taken the place"), "another worker");
	gate.resolve();
	const got = await Promise.all(all);
	const answered = got.filter((each) => each !== "reset");
	expect(answered.map(({ status, said }) => [status, said])).toEqual(Array(answered.length).fill([200, "Hello"]));
	expect(answered.length).toBeWithin(1, COUNT);
	expect(upstream.received.length).toBeWithin(1, 3);
	// What the dead one held nobody waits for.
	const later = await Promise.all(equal(router.url, COUNT, { seed: 1 }));
	expect(later.filter(({ cache }) => cache === "miss")).toHaveLength(1);
});

test("a tool loop whose turns come to several workers loses no thinking, with a client that drops it", async () => {
	const claude = startStrictClaude();
	stops.push(() => claude.stop());
	const router = await start({
		providers: { anthropic: { base_url: `${claude.origin}/v1`, api_key: "sk-ant-strict" } },
	});
	const tools = [{ type: "function", function: { name: "look", parameters: { type: "object", properties: {} } } }];
	for (let loop = 0; loop < 4; loop++) {
		claude.play(CLAUDE_TURNS);
		const messages: Loose[] = [{ role: "user", content: `Where is my key? (${loop})` }];
		for (let turn = 0; turn < CLAUDE_TURNS.length; turn++) {
			const body = { model: "claude-sonnet-4-5", messages, tools, reasoning_effort: "low" };
			const { choices } = (await (await callOnce(router.url, body)).json()) as Loose;
			const { content, tool_calls } = choices[0].message;
			messages.push({ role: "assistant", content, ...(tool_calls ? { tool_calls } : {}) });
			for (const { id } of tool_calls ?? []) messages.push({ role: "tool", tool_call_id: id, content: "nothing" });
		}
		expect(claude.refusals).toEqual([]);
		expect(claude.bodies.map(({ thinking }) => thinking?.type)).toEqual(Array(CLAUDE_TURNS.length).fill("enabled"));
	}
});

async function metric(url: string, name: string): Promise<number> {
	const text = await (await fetch(`${url}/metrics`, { headers: { connection: "close" } })).text();
	return text
		.split("\n")
		.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
		.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}
