/**
 * Exact prefix routing through all layers: engines publish KV events (libzmq, msgspec), the agent joins them with the prompts of calls, its
 * heartbeats tell the router, and the router's plans go by it.
 */
import { afterEach, expect } from "bun:test";
import { PrefixReports } from "../src/agent/models/prefix-reports.ts";
import { responseAnswer } from "../src/proxy/net/transport.ts";
import { LocalRoutingState } from "../src/routing/local-routing-state.ts";
import { plan } from "../src/routing/plan.ts";
import { AgentPrefixes } from "../src/server/agents/agent-prefixes.ts";
import { type KvPublisher, type PublishedEvent, startPublisher } from "./kit/kv-publisher.ts";
import { needing } from "./kit/needing.ts";
import { call, replica, route } from "./kit/routes.ts";
import { until } from "./kit/until.ts";

const { test } = needing("zeromq");

const SIZE = 16;
const MODELS = new Map([
	[
		"m",
		{
			name: "m",
			state: "ready" as const,
			replicas: [0, 1].map((each) => ({ replica: each, state: "ready" as const })),
		},
	],
]);
const TARGETS = [0, 1].map((each) => `local/gpu-1/m#${each}`);
const word = (seed: string) => `${Bun.hash.xxHash32(seed).toString(36).slice(-4).padStart(4, "0")} `;
const text = (seed: string, words: number) => Array.from({ length: words }, (_, at) => word(`${seed}${at}`)).join("");
const tokensOf = (content: string) => content.match(/.{1,5}/gs)!.map((each) => Bun.hash.xxHash32(each) % 150_000);
const messagesOf = (content: string) => [{ role: "user", content }];

const ends: (() => unknown)[] = [];
afterEach(async () => {
	for (const end of ends.splice(0).reverse()) await end();
});

/** An engine of SIZE tokens a block: its publisher, and what it stores for a prompt. */
async function startEngine() {
	const publisher = await startPublisher();
	ends.push(() => publisher.stop());
	const hashes = (content: string) => {
		const tokens = tokensOf(JSON.stringify(messagesOf(content)));
		return Array.from({ length: Math.floor(tokens.length / SIZE) }, (_, at) =>
			Bun.hash.xxHash32(JSON.stringify(tokens.slice(0, (at + 1) * SIZE))),
		);
	};
	const stored = (content: string): PublishedEvent => {
		const block_hashes = hashes(content);
		const token_ids = tokensOf(JSON.stringify(messagesOf(content))).slice(0, block_hashes.length * SIZE);
		return ["BlockStored", { block_hashes, parent_block_hash: null, token_ids, block_size: SIZE, medium: "GPU" }];
	};
	return { publisher, computes: (content: string) => publisher.publish([stored(content)]), hashes };
}
type Engine = Awaited<ReturnType<typeof startEngine>>;

/** The agent's part and the router's, over two engines. */
function joined(engines: readonly Pick<Engine, "publisher">[]) {
	let tokenized = 0;
	const http = {
		async send({ url, body }: { url: string; body?: unknown }) {
			expect(new URL(url).pathname).toBe("/tokenize");
			tokenized++;
			const { messages } = JSON.parse(String(body)) as { messages: unknown };
			return responseAnswer(Response.json({ tokens: tokensOf(JSON.stringify(messages)), count: 0 }));
		},
	};
	const warnings: string[] = [];
	const logger = { warn: (_: unknown, sentence: string) => void warnings.push(sentence) };
	const reports = new PrefixReports({ logger } as never, () => undefined);
	const containerOf = ({ sockets }: KvPublisher, at: number) => ({
		...{ id: `c${at}`, model: "m", replica: at, state: "running" },
		vllm: { origin: `http://c${at}`, http },
		kvEvents: sockets,
	});
	reports.isTaken = true;
	const containers = engines.map(({ publisher }, at) => containerOf(publisher, at));
	reports.sync(containers);
	ends.push(() => reports.end());
	let now = 0;
	const state = new LocalRoutingState(() => now);
	const prefixes = new AgentPrefixes(state);
	const way = route(TARGETS.map((id) => replica(id)));
	return {
		reports,
		containers,
		state,
		warnings,
		tokenized: () => tokenized,
		/** A heartbeat; what the router lacks is sent again. */
		heartbeat() {
			reports.unheard(prefixes.take("gpu-1", MODELS, reports.take()));
			now += 100;
		},
		/** Heartbeats until something holds. */
		async reportedThat(holds: () => boolean, what: string) {
			await until(() => {
				this.heartbeat();
				return holds();
			}, what);
		},
		/** A call that goes to an engine and is answered. */
		given(content: string, at: number) {
			const body = JSON.stringify({ model: "m", messages: messagesOf(content), stream: true });
			reports.given(`c${at}`, { url: "http://container/v1/chat/completions", headers: {}, body })?.();
		},
		/** Calls that begin so, which is worth its tokens from the second on. */
		givenTwice(content: string, at: number) {
			this.given(content, at);
			this.given(content, at);
		},
		needsOf: (content: string) => call(JSON.stringify(messagesOf(content))),
		uncached(content: string, at: number) {
			const needs = call(JSON.stringify(messagesOf(content)));
			return state.of(TARGETS[at]!).prefixes?.uncached(needs.prompt()) ?? needs.characters;
		},
		choice: (content: string) =>
			plan(call(JSON.stringify(messagesOf(content))), way, state, now, () => 0.5).targets[0]!.id,
	};
}

const SYSTEM = text("system", 500);
const first = SYSTEM + text("one", 60);
const second = SYSTEM + text("two", 60);

test("a prompt goes where its beginning really is, and elsewhere once that is evicted", async () => {
	const engines = [await startEngine(), await startEngine()] as const;
	const fleet = joined(engines);
	await engines[1].computes(first);
	fleet.givenTwice(first, 1);
	await fleet.reportedThat(() => fleet.uncached(first, 1) < 600, "a report");
	expect(fleet.uncached(first, 0)).toBeGreaterThan(2_500);
	// The router itself gave no prompt to either.
	expect(fleet.choice(second)).toBe(TARGETS[1]!);
	expect(fleet.uncached(second, 1)).toBeLessThan(900);
	await engines[1].publisher.publish([
		["BlockRemoved", { block_hashes: engines[1].hashes(first).reverse(), medium: "GPU" }],
	]);
	await fleet.reportedThat(() => fleet.uncached(first, 1) > 2_500, "an eviction");
	await engines[0].computes(second);
	fleet.givenTwice(second, 0);
	await fleet.reportedThat(() => fleet.choice(first) === TARGETS[0]!, "a report of the other");
	expect(fleet.warnings).toEqual([]);
});

test("a beginning that was tokenized once is not again, and what an engine computes of it anew counts at once", async () => {
	const engine = await startEngine();
	const fleet = joined([engine]);
	await engine.computes(first);
	fleet.givenTwice(first, 0);
	await fleet.reportedThat(() => fleet.uncached(first, 0) < 600, "a report");
	await engine.publisher.publish([["AllBlocksCleared", {}]]);
	await fleet.reportedThat(() => fleet.uncached(first, 0) > 2_500, "an empty cache");
	for (let times = 0; times < 3; times++) fleet.given(first, 0);
	await engine.computes(first);
	await fleet.reportedThat(() => fleet.uncached(first, 0) < 600, "a report");
	expect(fleet.tokenized()).toBe(1);
});

test("a container that is gone has nothing any more, and a router that was started anew is told all", async () => {
	const engine = await startEngine();
	const fleet = joined([engine]);
	await engine.computes(first);
	fleet.givenTwice(first, 0);
	await fleet.reportedThat(() => fleet.uncached(first, 0) < 600, "a report");
	const anew = new LocalRoutingState(() => 0);
	const prefixes = new AgentPrefixes(anew);
	const third = SYSTEM + text("three", 700);
	await engine.computes(third);
	fleet.givenTwice(third, 0);
	await until(() => fleet.reports.hasNews, "news");
	expect(prefixes.take("gpu-1", MODELS, fleet.reports.take())).toEqual(["m#0"]);
	fleet.reports.unheard(["m#0"]);
	expect(prefixes.take("gpu-1", MODELS, fleet.reports.take())).toEqual([]);
	expect(anew.of(TARGETS[0]!).prefixes!.uncached(fleet.needsOf(first).prompt())).toBeLessThan(600);
	fleet.reports.sync([]);
	expect(prefixes.take("gpu-1", MODELS, fleet.reports.take())).toEqual([]);
	expect(anew.of(TARGETS[0]!).prefixes!.uncached(fleet.needsOf(first).prompt())).toBeGreaterThan(2_500);
});

test("where no router takes reports no prompt is looked at", async () => {
	const engine = await startEngine();
	const fleet = joined([engine]);
	fleet.reports.isTaken = false;
	await engine.computes(first);
	const body = JSON.stringify({ model: "m", messages: messagesOf(first), stream: true });
	const request = { url: "http://container/v1/chat/completions", headers: {}, body };
	expect(fleet.reports.given("c0", request)).toBeUndefined();
	fleet.reports.isTaken = true;
	expect(fleet.reports.given("c0", request)).toBeFunction();
});

test("that a container is gone is told again where it was not heard, unless another is in its place", async () => {
	const engine = await startEngine();
	const fleet = joined([engine, engine]);
	fleet.reports.take();
	fleet.reports.sync([]);
	const gone = [0, 1].map((each) => ({ model: "m", replica: each, version: 1 }));
	expect(fleet.reports.take()).toEqual(gone);
	fleet.reports.unheard();
	expect([fleet.reports.hasNews, fleet.reports.take()]).toEqual([true, gone]);
	fleet.reports.sync(fleet.containers.slice(0, 1));
	fleet.reports.unheard();
	expect(fleet.reports.take().filter(({ added }) => added === undefined)).toContainEqual(gone[1]!);
	expect(fleet.reports.take()).toEqual([]);
	expect(fleet.reports.hasNews).toBe(false);
});
