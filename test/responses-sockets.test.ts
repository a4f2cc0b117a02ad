/** The WebSocket at `/v1/responses`: what is refused, one response after the other, what a connection goes on from, and how it ends. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";
import { goodStream, textEvent } from "./kit/events.ts";
import type { Json, Loose } from "./kit/exchange.ts";
import { startFaultUpstream } from "./kit/fault-upstream.ts";
import { begins, cutsAfter, streams } from "./kit/faults.ts";
import { connectSocket, type SocketClient } from "./kit/responses-socket.ts";
import { type RunningRouter, startRouter } from "./kit/router.ts";
import { until } from "./kit/until.ts";

const upstream = startFaultUpstream();
let router: RunningRouter;
beforeAll(async () => {
	const key = (name: string, more: Json = {}) => ({ name, key: `key-of-${name}-1234`, ...more });
	router = await startRouter({
		config: {
			keys: [key("a"), key("b"), key("slow", { rpm: 1 }), key("narrow", { models: ["x"] })],
			providers: { box: { type: "vllm", base_url: upstream.origin, responses: "chat" } },
		},
	});
});
afterAll(async () => {
	await router.stop();
	upstream.stop();
});

async function connected<T>(work: (client: SocketClient) => Promise<T>, of = "a"): Promise<T> {
	const client = await connectSocket(router.url, { authorization: `Bearer key-of-${of}-1234` });
	try {
		return await work(client);
	} finally {
		client.socket.close();
	}
}
const asking = { model: "dummy", input: "hi", store: false };
const user = (content: string) => ({ role: "user", content });
const last = (events: readonly Loose[]) => events.at(-1)!;

describe("is refused", () => {
	test("a connection without a key", async () => {
		const refused = connectSocket(router.url, { authorization: "Bearer nobody" }).catch(() => "refused");
		expect(await refused).toBe("refused");
	});

	test.each([
		["what is no JSON", "hi", 400, "invalid_json", null],
		["a list", "[1]", 400, "invalid_value", null],
		["bytes", new Uint8Array([1]), 400, "invalid_value", null],
		["a frame of no type", JSON.stringify(asking), 400, "invalid_value", "type"],
		["a frame of a type that nobody knows", '{"type":"response.sing"}', 400, "invalid_value", "type"],
		[
			"a model that nobody has",
			'{"type":"response.create","model":"nobody","input":"hi"}',
			404,
			"model_not_found",
			"model",
		],
		["a field that is wrong", '{"type":"response.create","model":"dummy","input":5}', 400, "invalid_value", "input"],
		[
			"a warm-up for a model that nobody has",
			'{"type":"response.create","generate":false,"model":"nobody","input":"hi"}',
			...([404, "model_not_found", "model"] as const),
		],
		[
			"a response that this connection did not get",
			'{"type":"response.create","model":"dummy","input":"hi","previous_response_id":"resp_x"}',
			...([400, "previous_response_not_found", "previous_response_id"] as const),
		],
	] as [string, string | Uint8Array, number, string, string | null][])(
		"%s, and the connection goes on",
		async (_, frame, status, code, param) => {
			await connected(async (client) => {
				client.send(frame);
				const event = await client.next();
				expect(event).toMatchObject({ type: "error", status, error: { code, param } });
				expect(event["headers"]["x-request-id"]).toStartWith("req_");
				expect(last(await client.create(asking))["type"]).toBe("response.completed");
			});
		},
	);

	test("what a key may not, each response by itself", async () => {
		await connected(async (client) => {
			expect(last(await client.create(asking))["type"]).toBe("response.completed");
			const refused = last(await client.create(asking));
			expect(refused).toMatchObject({ type: "error", status: 429, error: { code: "rate_limit_exceeded" } });
			expect(Number(refused["headers"]["retry-after"])).toBeGreaterThan(0);
		}, "slow");
		await connected(async (client) => {
			for (const generate of [false, true]) {
				const refused = last(await client.create({ ...asking, generate }));
				expect(refused).toMatchObject({ type: "error", status: 403, error: { code: "model_not_allowed" } });
			}
		}, "narrow");
	});
});

test("responses come one after the other, each with its own numbers and in the order in which they were asked for", async () => {
	await connected(async (client) => {
		for (const metadata of [{ nth: "1" }, { nth: "2" }, { nth: "3" }]) {
			client.send({ type: "response.create", ...asking, metadata });
		}
		for (const nth of ["1", "2", "3"]) {
			const events = await client.response();
			expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, at) => at));
			expect(events[0]).toMatchObject({ type: "response.created", response: { metadata: { nth }, store: false } });
			expect(last(events)["type"]).toBe("response.completed");
		}
	});
});

test("a warm-up is created and completed without a call, and is gone on from, though it is not stored", async () => {
	await connected(async (client) => {
		const before = await router.metric("router_requests_total");
		const warm = await client.create({ ...asking, generate: false });
		expect(warm.map(({ type }) => type)).toEqual(["response.created", "response.in_progress", "response.completed"]);
		expect(await router.metric("router_requests_total")).toBe(before);
		const { id } = last(warm)["response"];
		const next = last(await client.create({ ...asking, input: "and now?", previous_response_id: id }));
		expect(next).toMatchObject({ type: "response.completed", response: { previous_response_id: id, store: false } });
		const third = { ...asking, input: "more", previous_response_id: next["response"].id };
		expect(last(await client.create(third))["type"]).toBe("response.completed");
		await connected(async (other) => {
			expect(last(await other.create(third))).toMatchObject({ error: { code: "previous_response_not_found" } });
		});
	});
});

test("what is stored is gone on from by POST and by other connections of the same key, and by no other key", async () => {
	const stored = { ...asking, store: true };
	const [first, second] = await connected(async (client) => {
		// Of what its connection alone has the stored one holds all.
		const alone = last(await client.create({ ...asking, input: "one" }))["response"];
		const one = last(await client.create({ ...stored, input: "two", previous_response_id: alone.id }))["response"];
		const two = last(await client.create({ ...stored, input: "three", previous_response_id: one.id }))["response"];
		expect([alone.store, one.store, two.store]).toEqual([false, true, true]);
		return [one, two];
	});
	const ask = async (path: string, of = "a", body?: Json) => {
		const answer = await fetch(`${router.url}/v1/responses${path}`, {
			method: body ? "POST" : "GET",
			headers: { authorization: `Bearer key-of-${of}-1234`, "content-type": "application/json" },
			...(body ? { body: JSON.stringify(body) } : {}),
		});
		return { status: answer.status, json: (await answer.json()) as Loose };
	};
	const { json } = await ask(`/${second.id}/input_items?order=asc`);
	const texts = json["data"].map(({ content }: Loose) => content[0].text);
	expect([texts[0], texts[2], texts[4], texts.length]).toEqual(["one", "two", "three", 5]);
	const next = { ...stored, input: "four", previous_response_id: second.id };
	expect((await ask("", "a", next)).status).toBe(200);
	expect((await ask("", "b", next)).status).toBe(400);
	await connected(async (client) => {
		expect(last(await client.create({ ...next, previous_response_id: first.id }))["type"]).toBe("response.completed");
	});
	await connected(async (client) => {
		expect(last(await client.create(next))).toMatchObject({ error: { code: "previous_response_not_found" } });
	}, "b");
});

test("what a client sends beside a summary is gone on from, too; what was said before one was made is not", async () => {
	upstream.run(streams(goodStream(2)));
	const asked = () => {
		const { messages } = JSON.parse(upstream.received.at(-1)!.body) as { messages: Loose[] };
		return JSON.stringify(messages);
	};
	const boxed = { ...asking, model: "box/m" };
	await connected(async (client) => {
		const made = await client.create({ ...boxed, input: [user("long ago"), { type: "compaction_trigger" }] });
		const [summary] = last(made)["response"].output;
		expect(summary.type).toBe("compaction");
		await client.create({ ...boxed, input: "and now?", previous_response_id: last(made)["response"].id });
		expect([asked().includes("long ago"), asked().includes("summed up")]).toEqual([false, true]);
		// Codex keeps its user's words ahead of the summary.
		for (const store of [false, true]) {
			const kept = last(await client.create({ ...boxed, store, input: [user("the task"), summary] }))["response"];
			await client.create({ ...boxed, input: "go on", previous_response_id: kept.id });
			expect([asked().includes("the task"), asked().includes("summed up")]).toEqual([true, true]);
			if (!store) continue;
			await connected((other) => other.create({ ...boxed, input: "go on", previous_response_id: kept.id }));
			expect(asked()).toContain("the task");
		}
	});
});

test("a client that leaves in the middle of an answer takes the call along, which is settled", async () => {
	upstream.run(begins([textEvent("Once ")]));
	const asked = upstream.next();
	const client = await connectSocket(router.url, { authorization: "Bearer key-of-a-1234" });
	client.send({ type: "response.create", ...asking, model: "box/m" });
	const { closed } = await asked;
	while ((await client.next())["type"] !== "response.output_text.delta");
	client.socket.close();
	await closed;
	await router.idle();
	expect(await router.metric("router_requests_total", { status: "499" })).toBe(1);
});

test("a break in the middle of an answer ends in response.failed, and the connection goes on", async () => {
	upstream.run(cutsAfter(1));
	await connected(async (client) => {
		const events = await client.create({ ...asking, model: "box/m" });
		expect(last(events)).toMatchObject({ type: "response.failed", response: { status: "failed" } });
		expect(last(await client.create(asking))["type"]).toBe("response.completed");
	});
});

test("a router that stops closes the connections that are at rest", async () => {
	const stopping = await startRouter({
		env: { ROUTER_API_KEYS: "key-of-a-1234" },
		config: { server: { drain: "0s" } },
	});
	const client = await connectSocket(stopping.url, { authorization: "Bearer key-of-a-1234" });
	expect(last(await client.create(asking))["type"]).toBe("response.completed");
	process.kill(stopping.pid, "SIGTERM");
	expect(await client.closed).toBe(1001);
	await until(() => /Stopped\./.test(stopping.output()), "the end");
	await stopping.stop();
});

test("the official client's connection: several turns, the second goes on from the first", async () => {
	const client = new OpenAI({ baseURL: `${router.url}/v1`, apiKey: "key-of-a-1234", maxRetries: 0 });
	const socket = new ResponsesWS(client);
	const create = async (body: Json): Promise<Loose> => {
		socket.send({ type: "response.create", ...asking, ...body } as never);
		for await (const event of socket.stream()) {
			if (event.type === "error") throw event.error;
			if (event.type === "message" && event.message.type === "response.completed")
				return event.message.response as Loose;
		}
		throw new Error("the connection is closed");
	};
	const first = await create({});
	const second = await create({ input: "and now?", previous_response_id: first["id"] });
	expect([second["previous_response_id"], second["output"].length]).toEqual([first["id"], 1]);
	socket.close();
});

test("a router that stops answers first what it has begun", async () => {
	const gate = Promise.withResolvers<void>();
	upstream.run(async (connection) => {
		await gate.promise;
		await streams(goodStream(2))(connection);
	});
	const stopping = await startRouter({
		env: { ROUTER_API_KEYS: "key-of-a-1234" },
		config: { server: { drain: "0s" }, providers: { box: { type: "vllm", base_url: upstream.origin } } },
	});
	const client = await connectSocket(stopping.url, { authorization: "Bearer key-of-a-1234" });
	const asked = upstream.next();
	client.send({ type: "response.create", ...asking, model: "box/m" });
	await asked;
	process.kill(stopping.pid, "SIGTERM");
	await until(() => /running ones may finish/.test(stopping.output()), "the stop");
	gate.resolve();
	expect(last(await client.response())["type"]).toBe("response.completed");
	expect(await client.closed).toBe(1001);
	await stopping.stop();
});
