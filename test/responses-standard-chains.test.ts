/**
 * What the compliance tests of Open Responses ask of calls that go on from others (openresponses/openresponses at 92c12d9, specification 2026-04-24,
 * and at 18e5656): over a WebSocket and by POST, on models of every kind of upstream.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { checkedEvents } from "./kit/response-events.ts";
import { itemFaults, responseFaults } from "./kit/response-schema.ts";
import { fn, output } from "./kit/responses.ts";
import { connectSocket, type SocketClient } from "./kit/responses-socket.ts";
import { upstreamKinds } from "./kit/upstream-kinds.ts";

const upstreams = upstreamKinds(["openai", "vllm-box"]);
beforeAll(() => upstreams.start());
afterAll(() => upstreams.stop());

const completed = (events: readonly Loose[]): Loose => {
	const { response } = checkedEvents(events);
	expect(response["status"]).toBe("completed");
	expect(response["output"].length).toBeGreaterThan(0);
	return response;
};
const error = ([only, ...others]: readonly Loose[]): Loose => {
	expect(others).toEqual([]);
	expect(only).toMatchObject({ type: "error", error: { message: expect.any(String) } });
	return { status: only!["status"], code: only!["error"].code };
};
const MISSING = { status: 400, code: "previous_response_not_found" };

describe.each(upstreams.kinds.map((kind) => [kind.name, kind] as const))("on %s", (_, { model, rig, answer }) => {
	const asking = { model, store: false, input: "Remember: cobalt. Reply with OK." };
	const follow = (previous: Loose, input: unknown = "What is the word?"): Json => ({
		...{ model, store: false, previous_response_id: previous["id"], input },
	});
	/** What the model was asked last. */
	const asked = () => rig().replay.received.at(-1)!.body;

	async function connected<T>(work: (client: SocketClient) => Promise<T>): Promise<T> {
		rig().replay.play(answer("text", true));
		const client = await connectSocket(rig().router.url);
		try {
			return await work(client);
		} finally {
			client.socket.close();
		}
	}
	const post = async (path: string, body: Json): Promise<{ status: number; json: Loose }> => {
		const { status, text } = await rig().post(path, body);
		return { status, json: JSON.parse(text) };
	};

	test("a response that never was is not gone on from", async () => {
		await connected(async (client) => {
			const never = { id: "resp_openresponses_missing" };
			expect(error(await client.create(follow(never)))).toEqual(MISSING);
		});
	});

	test("what was not stored is not gone on from by another connection, which answers a new conversation", async () => {
		const first = await connected(async (client) => completed(await client.create(asking)));
		await connected(async (client) => {
			expect(error(await client.create(follow(first)))).toEqual(MISSING);
			completed(await client.create(asking));
		});
	});

	test("what was not stored is not gone on from any more once going on from it has failed", async () => {
		await connected(async (client) => {
			const first = completed(await client.create(asking));
			const failed = await client.create(follow(first, [output("call_of_nobody")]));
			expect(error(failed)["status"]).toBe(400);
			expect(error(await client.create(follow(first)))).toEqual(MISSING);
			completed(await client.create(asking));
		});
	});

	test("what was not stored is not gone on from any more once the upstream has refused to", async () => {
		await connected(async (client) => {
			const first = completed(await client.create(asking));
			rig().replay.play({ status: 400, headers: {}, body: { error: { message: "no" } } });
			expect(error(await client.create(follow(first)))["status"]).toBe(400);
			rig().replay.play(answer("text", true));
			expect(error(await client.create(follow(first)))).toEqual(MISSING);
		});
	});

	test("one connection answers one after the other", async () => {
		await connected(async (client) => {
			for (const input of ["first", "second"]) client.send({ type: "response.create", ...asking, input });
			const [first, second] = [completed(await client.response()), completed(await client.response())];
			expect(second["id"]).not.toBe(first["id"]);
		});
	});

	test("a connection goes on from what was not stored, with new input alone", async () => {
		await connected(async (client) => {
			const first = completed(await client.create(asking));
			const second = completed(await client.create(follow(first)));
			expect(second).toMatchObject({ previous_response_id: first["id"], store: false });
			expect(asked()).toContain("cobalt");
		});
	});

	test("a stored response is gone on from by POST", async () => {
		const { replay } = rig();
		replay.play(answer("text", false));
		const first = await post("/v1/responses", { model, input: "Remember: papaya." });
		expect([first.status, responseFaults(first.json)]).toEqual([200, []]);
		const second = await post("/v1/responses", { ...follow(first.json), store: true });
		expect([second.status, responseFaults(second.json)]).toEqual([200, []]);
		expect(asked()).toContain("papaya");
	});

	test("the result of a tool goes to the response that called it", async () => {
		const { replay } = rig();
		replay.play(answer("tools", false));
		const tools = [fn("weather")];
		const tool_choice = { type: "function", name: "weather" };
		const first = await post("/v1/responses", { model, input: "Weather in Bern?", tools, tool_choice });
		const calls = first.json["output"].filter(({ type }: Loose) => type === "function_call");
		expect(calls.length).toBeGreaterThan(0);
		replay.play(answer("tool results", false));
		const results = calls.map(({ call_id }: Loose) => output(call_id, "64 degrees and clear"));
		const second = await post("/v1/responses", follow(first.json, results));
		expect([second.status, responseFaults(second.json), second.json["status"]]).toEqual([200, [], "completed"]);
		expect(asked()).toContain("64 degrees and clear");
	});

	test("a conversation in short is what a connection's next one begins with", async () => {
		const { replay } = rig();
		replay.play(answer("text", false));
		const said = [
			{ type: "message", role: "user", content: [{ type: "input_text", text: "Remember: slate." }] },
			{ type: "message", role: "assistant", content: [{ type: "output_text", text: "OK." }] },
		];
		const { status, json } = await post("/v1/responses/compact", { model, prompt_cache_key: "k", input: said });
		expect([status, json["object"], typeof json["created_at"]]).toEqual([200, "response.compaction", "number"]);
		expect(json["output"].flatMap(itemFaults)).toEqual([]);
		expect(json["output"].at(-1).type).toBe("compaction");
		expect(json["usage"]).toMatchObject({ input_tokens: expect.any(Number), total_tokens: expect.any(Number) });
		await connected(async (client) => {
			const input = [...json["output"], { type: "message", role: "user", content: "Go on." }];
			completed(await client.create({ model, store: false, input, tools: [] }));
		});
	});
});

test("a conversation of no model is not put in short", async () => {
	const { status } = await upstreams.rig.post("/v1/responses/compact", {
		input: [{ type: "message", role: "user", content: "In short." }],
	});
	expect(status).toBe(400);
});

test("a page of a foreign site opens no connection to a router that asks for no key", async () => {
	const { url } = upstreams.rig.router;
	expect(await connectSocket(url, { origin: "https://elsewhere.example" }).catch(() => "refused")).toBe("refused");
	(await connectSocket(url, { origin: "http://localhost:3000" })).socket.close();
});
