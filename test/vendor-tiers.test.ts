/** The tier of the service that Claude and Gemini report, in OpenAI's word; and what a model thinks, under both of its names. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { chunksOf } from "./kit/exchange.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

let rig: VendorRig;
beforeAll(async () => {
	rig = await startVendorRig();
});
afterAll(() => rig.stop());

const CLAUDE = "claude-sonnet-5";
const GEMINI = "gemini-3-flash";
const PATH = "/v1/chat/completions";
const ask = (model: string, more: Json = {}) => ({ model, messages: [{ role: "user", content: "hi" }], ...more });

async function whole(model: string, body: Json): Promise<Loose> {
	rig.replay.play({ status: 200, headers: { "content-type": "application/json" }, body });
	const answer = await rig.post(PATH, ask(model));
	expect(answer.status).toBe(200);
	return JSON.parse(answer.text);
}

async function streamed(model: string, events: readonly Json[]): Promise<Loose[]> {
	const sse = events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
	rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse }, "event");
	const answer = await rig.post(PATH, ask(model, { stream: true, stream_options: { include_usage: true } }));
	expect(answer.text).toContain("data: [DONE]");
	return chunksOf(answer.text);
}

const message = (usage: Json) => ({
	id: "msg_1",
	type: "message",
	role: "assistant",
	model: CLAUDE,
	content: [{ type: "text", text: "Hi" }],
	stop_reason: "end_turn",
	usage: { input_tokens: 3, output_tokens: 5, ...usage },
});
const messageEvents = (usage: Json, delta: Json = { type: "text_delta", text: "Hi" }) => [
	{ type: "message_start", message: { ...message(usage), content: [], stop_reason: null } },
	{ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
	{ type: "content_block_delta", index: 0, delta },
	{ type: "content_block_stop", index: 0 },
	{ type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 5 } },
	{ type: "message_stop" },
];
const piece = (usageMetadata: Json | undefined, part: Json = { text: "Hi" }, more: Json = {}) => ({
	responseId: "r1",
	modelVersion: GEMINI,
	candidates: [{ content: { parts: [part] }, ...more }],
	...(usageMetadata ? { usageMetadata: { promptTokenCount: 3, totalTokenCount: 9, ...usageMetadata } } : {}),
});
const STOP = { finishReason: "STOP" };

describe("the tier", () => {
	test.each<[Json, string | undefined]>([
		[{ service_tier: "standard" }, "default"],
		[{ service_tier: "priority" }, "priority"],
		[{ service_tier: "batch" }, "batch"],
		[{ service_tier: null }, undefined],
		[{ service_tier: 7 }, undefined],
		[{}, undefined],
	])("of Claude's %j is %p", async (usage, tier) => {
		expect((await whole(CLAUDE, message(usage)))["service_tier"]).toBe(tier);
		const chunks = await streamed(CLAUDE, messageEvents(usage));
		expect(new Set(chunks.map((chunk) => chunk["service_tier"]))).toEqual(new Set([tier]));
	});

	test.each<[Json, string | undefined]>([
		[{ serviceTier: "standard" }, "default"],
		[{ serviceTier: "priority" }, "priority"],
		[{ serviceTier: "flex" }, "flex"],
		[{ serviceTier: "unspecified" }, undefined],
		[{ trafficType: "ON_DEMAND" }, "default"],
		[{ trafficType: "ON_DEMAND_PRIORITY" }, "priority"],
		[{ trafficType: "ON_DEMAND_FLEX" }, "flex"],
		[{ trafficType: "ON_DEMAND_OFFPEAK" }, "offpeak"],
		[{ trafficType: "PROVISIONED_THROUGHPUT" }, "scale"],
		[{ trafficType: "TRAFFIC_TYPE_UNSPECIFIED" }, undefined],
		[{ serviceTier: "unspecified", trafficType: "ON_DEMAND_FLEX" }, "flex"],
		[{}, undefined],
	])("of Gemini's %j is %p", async (usage, tier) => {
		expect((await whole(GEMINI, piece(usage, undefined, STOP)))["service_tier"]).toBe(tier);
		const chunks = await streamed(GEMINI, [piece(usage), piece(usage, { text: "!" }, STOP)]);
		expect(new Set(chunks.map((chunk) => chunk["service_tier"]))).toEqual(new Set([tier]));
	});

	test("that Gemini says late stands in all chunks from there on, which are of one answer", async () => {
		const chunks = await streamed(GEMINI, [piece(undefined), piece({ serviceTier: "flex" }, { text: "!" }, STOP)]);
		expect(chunks.map((chunk) => chunk["service_tier"])).toEqual([undefined, undefined, "flex", "flex", "flex"]);
		expect(new Set(chunks.map(({ id, model, created }) => `${id} ${model} ${created}`)).size).toBe(1);
	});
});

describe("what the model thinks", () => {
	const thoughts = { reasoning_content: "hm 🙂", reasoning: "hm 🙂" };

	test("comes under both names from Claude", async () => {
		const block = { type: "thinking", thinking: "hm 🙂", signature: "c2ln" };
		const answer = await whole(CLAUDE, { ...message({}), content: [block, { type: "text", text: "Hi" }] });
		expect(answer["choices"][0].message).toMatchObject(thoughts);
		const events = messageEvents({}, { type: "thinking_delta", thinking: "hm 🙂" });
		const deltas = (await streamed(CLAUDE, events)).flatMap(({ choices }) => choices.map(({ delta }: Loose) => delta));
		expect(deltas).toContainEqual(thoughts);
	});

	test("comes under both names from Gemini", async () => {
		const thought = { text: "hm 🙂", thought: true };
		const answer = await whole(GEMINI, piece({}, thought, STOP));
		expect(answer["choices"][0].message).toMatchObject(thoughts);
		const chunks = await streamed(GEMINI, [piece({}, thought), piece({}, undefined, STOP)]);
		expect(chunks.flatMap(({ choices }) => choices.map(({ delta }: Loose) => delta))).toContainEqual(thoughts);
	});

	test.each([CLAUDE, GEMINI])("is taken back by %s under either name", async (model) => {
		const said = [{ reasoning_content: "hm" }, { reasoning: "hm" }, { ...thoughts, reasoning_details: [] }];
		const messages = said.flatMap((more) => [
			{ role: "user", content: "hi" },
			{ role: "assistant", content: "Hi", annotations: [], ...more },
		]);
		rig.replay.play({ status: 200, headers: {}, body: model === CLAUDE ? message({}) : piece({}, undefined, STOP) });
		const answer = await rig.post(PATH, { model, messages: [...messages, { role: "user", content: "more" }] });
		expect(answer.status).toBe(200);
		// Unsigned, it is none that the vendor takes.
		expect(rig.replay.only().body).not.toContain("hm");
	});
});
