/** Calls on their way through the pipeline: each goes where the plan says, and what becomes of it is known to the next. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { goodStream } from "./kit/events.ts";
import type { Json } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { answers, resetsBeforeHeaders, streams } from "./kit/faults.ts";
import { type Pipeline, pipeline } from "./kit/pipeline.ts";

const upstreams = [startFaultUpstream(), startFaultUpstream(), startFaultUpstream()] as const;
afterAll(() => {
	for (const upstream of upstreams) upstream.stop();
});
beforeEach(() => {
	for (const upstream of upstreams) upstream.run(streams(goodStream(2)));
});

const providers = (type: string) =>
	Object.fromEntries(upstreams.map(({ origin }, at) => [`box${at}`, { type, base_url: `${origin}/v1` }]));
const ALL = ["box0/m", "box1/m", "box2/m"];
const counts = () => upstreams.map(({ received }) => received.length);

function router(model: Json = {}, more: Json = {}): Pipeline {
	return pipeline({
		config: { providers: providers("vllm"), models: [{ name: "fast", targets: ALL, ...model }], ...more },
	});
}
async function ask(through: Pipeline, text: string, body: Json = {}, headers: Record<string, string> = {}) {
	const messages = [{ role: "user", content: text }];
	const answer = await through.send({ model: "fast", stream: true, messages, ...body }, { headers });
	await answer.text();
	return answer;
}
/** Which upstream got the calls since `before`; undefined where several did. */
function only(before: readonly number[]): number | undefined {
	const got = counts().flatMap((count, at) => (count > before[at]! ? [at] : []));
	return got.length === 1 ? got[0] : undefined;
}

describe("calls of one beginning", () => {
	test("stay at the replica that has it, while others are spread", async () => {
		const through = router();
		const homes = new Set<number>();
		for (const system of ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]) {
			const before = counts();
			for (let turn = 0; turn < 4; turn++) await ask(through, system.repeat(4_000) + turn);
			const home = only(before);
			expect(home).toBeDefined();
			homes.add(home!);
		}
		expect(homes.size).toBeGreaterThan(1);
	});

	test("stay there by their session header, too, whatever they say", async () => {
		const through = router();
		const before = counts();
		for (let turn = 0; turn < 12; turn++) await ask(through, `${turn}`.repeat(600), {}, { "x-session-id": "one" });
		expect(only(before)).toBeDefined();
	});

	test("go elsewhere while it has much to do", async () => {
		const through = router();
		const before = counts();
		await ask(through, "x".repeat(2_000));
		await through.settledCalls(1);
		const home = only(before)!;
		const held = Promise.withResolvers<void>();
		upstreams[home]!.run(async (connection) => {
			await held.promise;
			connection.destroy();
		});
		const waiting = ask(through, "x".repeat(2_000) + "y".repeat(4_000));
		while (upstreams[home]!.received.length === 0) await Bun.sleep(1);
		const others = counts();
		await ask(through, "x".repeat(2_000));
		expect(only(others)).not.toBe(home);
		held.resolve();
		await waiting;
	});
});

describe("a target that fails", () => {
	test("costs calls nothing, and is left alone after five failures", async () => {
		const through = router({ policy: "order" });
		upstreams[0].run(resetsBeforeHeaders);
		for (let at = 0; at < 20; at++) expect((await ask(through, `${at}`)).status).toBe(200);
		const tried = through.attempts.filter(({ target }) => target === "box0/m").length;
		expect(tried).toBeWithin(5, 8);
		expect(through.context.state.targets.of("box0/m").breaker.state).not.toBe("closed");
		expect(through.settled.every(({ status }) => status === 200)).toBe(true);
	});

	test("by the caller's fault is as well as before", async () => {
		const through = router({ targets: ["box0/m"] });
		upstreams[0].run(
			answers("400 Bad Request", JSON.stringify({ error: { message: "no", type: "invalid_request_error" } })),
		);
		for (let at = 0; at < 8; at++) expect((await ask(through, "hi")).status).toBe(400);
		expect(through.context.state.targets.of("box0/m").breaker.state).toBe("closed");
	});

	test.each([
		["x-router-timeout-ms", true],
		["x-router-timeout-ms", false],
		["x-router-first-token-ms", true],
	])("only to be as fast as a hasty call wants is as well as before: %s (streamed: %p)", async (header, stream) => {
		const through = router({ targets: ["box0/m"] });
		upstreams[0].run((connection) => connection.closed);
		const asks = Array.from({ length: 8 }, () => ask(through, "hi", { stream }, { [header]: "20" }));
		for (const answer of await Promise.all(asks)) expect(answer.status).toBe(504);
		expect(through.attempts.every(({ failure }) => failure === "timeout")).toBe(true);
		expect(through.context.state.targets.of("box0/m").breaker.state).toBe("closed");
	});

	test("to be as fast as its owner wants is left alone", async () => {
		const through = router({ targets: ["box0/m"], timeouts: { first_token: "20ms" } });
		upstreams[0].run((connection) => connection.closed);
		await Promise.all(Array.from({ length: 8 }, () => ask(through, "hi")));
		expect(through.context.state.targets.of("box0/m").breaker.state).toBe("open");
	});

	test("alone is called all the same", async () => {
		const through = router({ targets: ["box0/m"] });
		upstreams[0].run(resetsBeforeHeaders);
		for (let at = 0; at < 6; at++) expect((await ask(through, "hi")).status).toBe(502);
		upstreams[0].run(streams(goodStream(2)));
		expect((await ask(through, "hi")).status).toBe(200);
	});
});

describe("what a call needs", () => {
	const tools = [{ type: "function", function: { name: "f", parameters: {} } }];
	const mute = { provider: "box0", model: "m", lacks: ["tools", "images"] };

	test("is looked for among the targets", async () => {
		const through = router({ targets: [mute, "box1/m"], policy: "order" });
		const before = counts();
		await ask(through, "hi", { tools });
		expect(only(before)).toBe(1);
		await ask(through, "hi");
		expect(counts()[0]).toBe(before[0]! + 1);
	});

	test("and refused where none has it, without an attempt", async () => {
		const through = router({ targets: [mute, { ...mute, provider: "box1" }] });
		const before = counts();
		const answer = await through.send({ model: "fast", messages: [{ role: "user", content: "hi" }], tools });
		expect([answer.status, counts()]).toEqual([400, before]);
		expect(await answer.json()).toMatchObject({ error: { code: "unsupported_parameter", param: "tools" } });
	});

	test("a target that was asked for by its own name gets it anyway", async () => {
		const through = router({ targets: [mute] });
		expect((await ask(through, "hi", { tools })).status).toBe(200);
	});

	test("a prompt goes where it fits", async () => {
		const through = router({ targets: [{ provider: "box0", model: "m", context: 100 }, "box2/m"], policy: "order" });
		const before = counts();
		await ask(through, "x".repeat(4_000));
		expect(only(before)).toBe(2);
	});
});

test("a key that may use some targets of a name is served by those", async () => {
	const through = router({ policy: "order" }, { keys: [{ name: "some", key: "of-some-models", models: ["box2/*"] }] });
	const before = counts();
	const headers = { authorization: "Bearer of-some-models" };
	for (let at = 0; at < 3; at++) expect((await ask(through, "hi", {}, headers)).status).toBe(200);
	expect(only(before)).toBe(2);
	upstreams[2].run(resetsBeforeHeaders);
	expect((await ask(through, "hi", {}, headers)).status).toBe(502);
	expect(counts().slice(0, 2)).toEqual(before.slice(0, 2));
});

test("embeddings of a name that leads to Claude, too, go to the other", async () => {
	const through = pipeline({
		config: {
			providers: {
				...providers("openai-compatible"),
				anthropic: { base_url: upstreams[0].origin, api_key: "sk-ant-1" },
			},
			models: [{ name: "fast", targets: ["anthropic/claude-x", "box1/m"], policy: "order" }],
		},
	});
	const before = counts();
	upstreams[1].run(
		answers(
			"200 OK",
			JSON.stringify({ object: "list", model: "m", data: [{ object: "embedding", index: 0, embedding: [0] }] }),
		),
	);
	const answer = await through.send({ model: "fast", input: "hi" }, { operation: "embeddings" });
	await answer.text();
	expect([answer.status, only(before)]).toEqual([200, 1]);
});
