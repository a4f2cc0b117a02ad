/** What Codex really sends over its WebSocket, on models of every kind of upstream: a warm-up, a loop of tools, each turn its new items alone. */
import { describe as describeAll, expect } from "bun:test";
import { clientFrames } from "./kit/client-recordings.ts";
import type { ExchangeResponse, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { eventFaults, responseFaults } from "./kit/response-schema.ts";
import { connectSocket, type SocketClient } from "./kit/responses-socket.ts";
import { CLIENT_KEY } from "./kit/rig.ts";
import { upstreamKinds } from "./kit/upstream-kinds.ts";

const { test, beforeAll, afterAll } = needing("recordings");

const upstreams = upstreamKinds(["openai", "vllm-box", "llm-d"]);
beforeAll(() => upstreams.start());
afterAll(() => upstreams.stop());

const { headers, frames } = clientFrames("codex-websocket");
/** Of the handshake, which the client of these tests makes itself, and what the recording has shortened. */
const NOT_SENT = /^(?:upgrade|connection|authorization|host|sec-websocket-.*)$/;
const sentHeaders = {
	...Object.fromEntries(
		Object.entries(headers).filter(([name, value]) => !NOT_SENT.test(name) && !value.includes("…")),
	),
	authorization: `Bearer ${CLIENT_KEY}`,
};

/** The same answer with another id of its call, as a second call has. */
const again = (answer: ExchangeResponse): ExchangeResponse =>
	JSON.parse(JSON.stringify(answer).replaceAll("call_a", "call_c"));

/** Sends a frame for this model behind the response before, with the results of its calls. */
async function send(client: SocketClient, frame: Loose, model: string, before?: Loose): Promise<readonly Loose[]> {
	const calls = (before?.["output"] ?? []).filter(({ type }: Loose) => type === "function_call");
	const input = frame["input"].map((item: Loose) =>
		item["type"] === "function_call_output" ? { ...item, call_id: calls[0].call_id } : item,
	);
	client.send({ ...frame, model, input, ...(before ? { previous_response_id: before["id"] } : {}) });
	return client.response();
}

describeAll.each(upstreams.kinds.map((kind) => [kind.name, kind] as const))("%s", (_, { model, rig, answer }) => {
	test("takes Codex's frames one after the other", async () => {
		const { router, replay } = rig();
		const client = await connectSocket(router.url, sentHeaders);
		let before: Loose | undefined;
		const tools = answer("tools", true);
		const answers = [undefined, tools, again(tools), answer("text", true)];
		for (const [at, frame] of frames.entries()) {
			const played = answers[at];
			if (played) replay.play(played, "event");
			const events = await send(client, frame, model, before);
			expect(events.flatMap(eventFaults)).toEqual([]);
			const { type, response } = events.at(-1)!;
			expect([type, response?.error ?? null]).toEqual(["response.completed", null]);
			expect(responseFaults(response)).toEqual([]);
			const kind = at === 0 ? undefined : at === 3 ? "message" : "function_call";
			expect(response["output"].at(-1)?.type).toBe(kind);
			if (at > 0) expect(response["previous_response_id"]).toBe(before!["id"]);
			before = response;
			if (played && at < 3) replay.only();
		}
		expect(frames.length).toBe(4);
		client.socket.close();
	});
});

test("each turn reaches the model with all that was said before it", async () => {
	const kind = upstreams.kinds.find(({ name }) => name === "vllm-box")!;
	const { router, replay } = kind.rig();
	const client = await connectSocket(router.url, sentHeaders);
	const tools = kind.answer("tools", true);
	const answers = [undefined, tools, again(tools), kind.answer("text", true)];
	const roles: string[][] = [];
	let before: Loose | undefined;
	for (const [at, frame] of frames.entries()) {
		const played = answers[at];
		if (played) replay.play(played);
		before = (await send(client, frame, kind.model, before)).at(-1)!["response"];
		if (played) roles.push(JSON.parse(replay.only().body).messages.map(({ role }: Loose) => role));
	}
	const first = ["system", "user"];
	expect(roles).toEqual([first, [...first, "assistant", "tool"], [...first, "assistant", "tool", "assistant", "tool"]]);
	client.socket.close();
});
