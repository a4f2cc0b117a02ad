/** Replicas of a model at one agent, as the router's calls see them: each a target, the others there when one breaks. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import type { ModelReport, ModelState } from "../src/protocol/agent.ts";
import { DONE, finishEvent, textEvent, usageEvent } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { type FakeAgent, type FakeCall, startFakeAgent } from "./kit/fake-agent.ts";
import { post } from "./kit/rig.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const HEADER = "x-router-replica";
const events = (...all: string[]) => new Response(all.join(""), { headers: { "content-type": "text/event-stream" } });
const qwen = (...states: ModelState[]): ModelReport => ({
	name: "qwen",
	state: states.includes("ready") ? "ready" : "starting",
	load: "always",
	replicas: states.map((state, replica) => ({ replica, state })),
});

/** What the replicas were asked, in this order. */
let asked: { readonly replica: string | null; readonly body: FakeCall }[] = [];
/** What a replica answers with; undefined: its number. */
let answer: (replica: string | null, body: FakeCall) => Response | undefined = () => undefined;
beforeEach(() => {
	asked = [];
	answer = () => undefined;
});

const running: { stop(): Promise<void> }[] = [];
afterAll(() => Promise.all(running.splice(0).map((each) => each.stop())));

/** A router whose only agent has this model. */
async function withAgent(model: ModelReport, config: Json = {}): Promise<{ router: RunningRouter; agent: FakeAgent }> {
	const router = await startRouter({ config: { cache: { enabled: false }, ...config } });
	const agent = startFakeAgent({
		router: router.url,
		models: [model],
		before(body, headers) {
			const replica = headers.get(HEADER);
			asked.push({ replica, body });
			const given = answer(replica, body) ?? events(textEvent(`by ${replica}`), finishEvent(), usageEvent(), DONE);
			if (replica !== null) given.headers.set(HEADER, replica);
			return given;
		},
	});
	running.push(agent, router);
	await until(() => agent.link?.state.state === "joined");
	return { router, agent };
}
const call = (
	router: RunningRouter,
	content = "hi",
	more: Json = {},
	headers: Record<string, string> = {},
	seen?: (text: string) => void,
) =>
	post(
		`${router.url}/v1/chat/completions`,
		{ model: "local/qwen", stream: true, messages: [{ role: "user", content }], ...more },
		headers,
		seen,
	);
/** A stream that has said `hel` to its client, and then ends with this, or as a connection that is cut. */
function brokenStream(end = "") {
	const { promise, resolve } = Promise.withResolvers<void>();
	const encoder = new TextEncoder();
	const body = new ReadableStream({
		async start(controller) {
			controller.enqueue(encoder.encode(textEvent("hel")));
			await promise;
			if (end) controller.enqueue(encoder.encode(end));
			controller.close();
		},
	});
	return {
		response: () => new Response(body, { headers: { "content-type": "text/event-stream" } }),
		seen: (text: string) => void (text.includes("hel") && resolve()),
	};
}
const textOf = (sse: string) =>
	[...sse.matchAll(/^data: (\{.*)$/gm)]
		.map(([, json]) => JSON.parse(json!).choices?.[0]?.delta?.content ?? "")
		.join("");
const explained = async (router: RunningRouter) => {
	const call = { model: "local/qwen", messages: [{ role: "user", content: "hi" }] };
	return JSON.parse((await post(`${router.url}/v1/route`, call)).text) as {
		route: string;
		candidates: { id: string }[];
	};
};
const agents = async (router: RunningRouter) =>
	((await (await fetch(`${router.url}/agents`)).json()) as { data: { state: string; models: ModelReport[] }[] }).data;

describe("two replicas", async () => {
	const { router, agent } = await withAgent(qwen("ready", "ready"));

	test("are named to their agent by the router alone, and to the client as the agent says", async () => {
		const told = await call(router, "hi", {}, { [HEADER]: "7" });
		expect([told.status, asked.length]).toEqual([200, 1]);
		expect(["0", "1"]).toContain(asked[0]!.replica!);
		expect([told.headers.get(HEADER), told.headers.get("x-router-agent")]).toEqual([asked[0]!.replica, "gpu-1"]);
		expect(textOf(told.text)).toBe(`by ${asked[0]!.replica}`);
	});

	test("share chats out, each of which stays where its beginning is cached", async () => {
		const chats = ["a", "b", "c", "d"].map((letter) => `${letter.repeat(2_000)} `);
		const replicas = new Map<string, Set<string | null>>();
		// All four begin at once: an idle fleet would have chance decide.
		let release = () => {};
		const held = new Promise<void>((resolve) => {
			release = resolve;
		});
		answer = () =>
			new Response(
				new ReadableStream({
					async start(controller) {
						await held;
						controller.enqueue(new TextEncoder().encode([textEvent("x"), finishEvent(), usageEvent(), DONE].join("")));
						controller.close();
					},
				}),
				{ headers: { "content-type": "text/event-stream" } },
			);
		for (let turn = 1; turn <= 4; turn++) {
			const calls = chats.map(async (chat, at) => {
				// One after the other, so that each sees what those before it have begun.
				await until(() => asked.length >= (turn - 1) * 4 + at);
				return call(router, chat.repeat(turn));
			});
			await until(() => asked.length === turn * 4);
			release();
			expect((await Promise.all(calls)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
		}
		for (const { replica, body } of asked) {
			const chat = body.messages[0]!.content[0]!;
			replicas.set(chat, (replicas.get(chat) ?? new Set()).add(replica));
		}
		expect([...replicas.values()].map(({ size }) => size)).toEqual([1, 1, 1, 1]);
		expect([...replicas.values()].map((each) => [...each][0]).sort()).toEqual(["0", "0", "1", "1"]);
	});

	test("have one go on with the stream that the other broke off; their agent is as fresh as before", async () => {
		const { response, seen } = brokenStream(
			'data: {"error":{"message":"vllm broke its answer off","type":"api_error","code":"upstream_truncated"}}\n\n',
		);
		answer = (_, { messages }) =>
			messages.at(-1)!.role === "assistant" ? events(textEvent("lo"), finishEvent(), usageEvent(), DONE) : response();
		const told = await call(router, "hi", {}, {}, seen);
		expect([textOf(told.text), told.text.endsWith(DONE)]).toEqual(["hello", true]);
		expect(asked.map(({ replica }) => replica).sort()).toEqual(["0", "1"]);
		expect((await agents(router))[0]!.state).toBe("fresh");
	});

	test("have a call that one refuses, since it takes none now, go to the other at once", async () => {
		const error = { message: "replica takes no calls now", type: "api_error", code: 503 };
		answer = (replica) => {
			if (asked.length > 1) return undefined;
			expect(replica).not.toBeNull();
			return Response.json({ error }, { status: 503, headers: { "retry-after": "1" } });
		};
		const told = await call(router);
		expect([told.status, told.headers.get("x-router-attempts")]).toEqual([200, "2"]);
		expect(asked.map(({ replica }) => replica).sort()).toEqual(["0", "1"]);
		expect(await router.metric("router_retries_total")).toBe(0);
		expect(await router.metric("router_breaker_opened_total")).toBe(0);
	});

	test("are shown each: in GET /agents, in `router explain`, and as a call's target", async () => {
		await call(router);
		expect((await agents(router))[0]!.models[0]).toMatchObject({
			in_flight: 0,
			replicas: [
				{ replica: 0, state: "ready", in_flight: 0 },
				{ replica: 1, state: "ready", in_flight: 0 },
			],
		});
		const { route, candidates } = await explained(router);
		expect([route, candidates.map(({ id }) => id).sort()]).toEqual([
			"agent, 2 replicas",
			["local/gpu-1/qwen#0", "local/gpu-1/qwen#1"],
		]);
	});

	test("of which one is left get all calls there, and what it fails goes into the agent's queue", async () => {
		agent.report.models = [qwen("draining", "ready")];
		await until(async () => (await agents(router))[0]!.models[0]!.replicas?.[0]?.state === "draining");
		// One that was asked to be left alone a moment ago is, also where it is the only one.
		await until(async () => (await explained(router)).candidates[0]?.id === "local/gpu-1/qwen#1");
		for (let at = 0; at < 3; at++) await call(router);
		expect(asked.map(({ replica }) => replica)).toEqual(["1", "1", "1"]);
		asked = [];
		const { response, seen } = brokenStream();
		answer = (_, { messages }) => (messages.at(-1)!.role === "assistant" ? undefined : response());
		const told = await call(router, "hi", {}, {}, seen);
		expect([textOf(told.text), told.text.endsWith(DONE)]).toEqual(["helby null", true]);
		expect(asked.map(({ replica }) => replica)).toEqual(["1", null]);
	});
});

describe("a model that its agent is starting", async () => {
	const models = [{ name: "fast", targets: ["local/qwen"], fallback: ["dummy"] }];
	const { router } = await withAgent(qwen("starting", "starting"), { models });

	test("is waited for, and a stream is told how far it is", async () => {
		answer = () =>
			events(": qwen: starting: loading weights, 40 %\n\n", textEvent("here"), finishEvent(), usageEvent(), DONE);
		const told = await call(router);
		expect([told.status, textOf(told.text), told.text]).toEqual([
			200,
			"here",
			expect.stringContaining("loading weights, 40 %"),
		]);
		expect(asked.map(({ replica }) => replica)).toEqual([null]);
	});

	test("is named by the list of models, and waited for by a whole answer", async () => {
		const listed = (await (await fetch(`${router.url}/v1/models`)).json()) as { data: { id: string }[] };
		expect(listed.data.map(({ id }) => id)).toContain("local/qwen");
		answer = () =>
			Response.json({
				choices: [{ index: 0, message: { role: "assistant", content: "here" }, finish_reason: "stop" }],
			});
		expect((await call(router, "hi", { stream: false })).text).toContain("here");
	});

	test("is passed over where another target is ready", async () => {
		const told = await call(router, "hi", { model: "fast" });
		expect([told.status, told.headers.get("x-router-provider"), asked.length]).toEqual([200, "dummy", 0]);
	});
});
