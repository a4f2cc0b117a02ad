/** Streams of Anthropic and Gemini that break off or carry what no client should see: how each ends for the client. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clientError } from "./kit/contract.ts";
import { eventData, type Json } from "./kit/exchange.ts";
import { post } from "./kit/rig.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

let rig: VendorRig;
beforeAll(async () => {
	rig = await startVendorRig();
});
afterAll(() => rig.stop());

const CHAT = "/v1/chat/completions";
const ask = (model: string, more: Json = {}) => ({ model, messages: [{ role: "user", content: "Hi" }], ...more });

describe("streams that break", () => {
	const sse = (...events: Json[]) =>
		events.map((event) => `event: ${event["type"]}\ndata: ${JSON.stringify(event)}\n\n`).join("");
	const start = {
		type: "message_start",
		message: { id: "msg_1", model: "claude-x", usage: { input_tokens: 5, output_tokens: 1 } },
	};
	const open = { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } };
	const delta = { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "so far" } };
	const finish = { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: { output_tokens: 2 } };
	const overloaded = {
		type: "error",
		error: { details: null, type: "overloaded_error", message: "Overloaded" },
		request_id: "r",
	};
	const piece = (more: Json) =>
		`data: ${JSON.stringify({ candidates: [{ content: { parts: [{ text: "so far" }] }, index: 0, ...more }], responseId: "r", modelVersion: "m" })}\r\n\r\n`;
	/** The last: the text before which the stream waits until the client has seen the first bytes. Without one only its end comes later. */
	const rows = [
		[
			"Claude: an error event",
			"claude-x",
			sse(start, open, delta, overloaded),
			"upstream_overloaded",
			"Overloaded",
			"overloaded_error",
		],
		[
			"Claude: nothing behind the text",
			"claude-x",
			sse(start, open, delta),
			"upstream_truncated",
			"broke off",
			undefined,
		],
		["Gemini: no finish reason", "gemini-x", piece({}) + piece({}), "upstream_truncated", "broke off", undefined],
		[
			"Gemini: a malformed call at the end",
			"gemini-x",
			piece({}) + piece({ finishReason: "MALFORMED_FUNCTION_CALL" }),
			"upstream_error",
			"MALFORMED_FUNCTION_CALL",
			undefined,
		],
		[
			"Gemini: an error as an event",
			"gemini-x",
			`${piece({})}data: {"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}\r\n\r\n`,
			"upstream_overloaded",
			"overloaded",
			"UNAVAILABLE",
		],
	] as const;
	test.each(rows)("%s: after the first bytes an error event ends it", async (_, model, text, code, says, before) => {
		const seen = Promise.withResolvers<void>();
		const cut = before === undefined ? "whole" : { before, until: seen.promise };
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, cut);
		const look = (sofar: string) => sofar.includes("so far") && seen.resolve();
		const answer = await post(rig.router.url + CHAT, ask(model, { stream: true }), {}, look);
		expect(answer.status).toBe(200);
		const data = eventData(answer.text);
		expect(data).not.toContain("[DONE]");
		const error = clientError(data.at(-1)!);
		expect(error.code).toBe(code);
		expect(error.message).toContain(says);
		expect(answer.text).toContain('"content":"so far"');
	});

	test.each(rows)("%s: within the first bytes it has a status", async (_, model, text, code) => {
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text });
		const answer = await rig.post(CHAT, ask(model, { stream: true }));
		const last = answer.status === 200 ? eventData(answer.text).at(-1)! : answer.text;
		expect(clientError(last).code).toBe(code);
	});

	test("Claude: an end that never said why is none", async () => {
		const text = sse(start, open, delta, { type: "message_stop" });
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, "event");
		const answer = await rig.post(CHAT, ask("claude-x", { stream: true }));
		const last = answer.status === 200 ? eventData(answer.text).at(-1)! : answer.text;
		expect(clientError(last).code).toBe("upstream_truncated");
	});

	test("Claude: several message_deltas are one end, and the last count is the count", async () => {
		const more = { ...finish, usage: { output_tokens: 9 } };
		const text = sse(start, open, delta, finish, more, { type: "message_stop" });
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, "event");
		const answer = await rig.post(CHAT, ask("claude-x", { stream: true, stream_options: { include_usage: true } }));
		const chunks = eventData(answer.text)
			.slice(0, -1)
			.map((each) => JSON.parse(each));
		expect(chunks.flatMap(({ choices }) => choices[0]?.finish_reason ?? [])).toEqual(["stop"]);
		expect(chunks.flatMap(({ usage }) => usage?.completion_tokens ?? [])).toEqual([9]);
	});

	test("garbage inside is passed over and counted, unknown events and pings are silent", async () => {
		const text = `${sse(start, { type: "ping" }, open)}event: x\ndata: {"half\n\n${sse({ type: "brand_new" }, delta, { type: "ping" }, finish, { type: "message_stop" })}`;
		rig.replay.play({ status: 200, headers: { "content-type": "text/event-stream" }, sse: text }, "event");
		const answer = await rig.post(CHAT, ask("claude-x", { stream: true }));
		const deltas = eventData(answer.text)
			.slice(0, -1)
			.map((each) => JSON.parse(each).choices[0]);
		expect(deltas.map(({ delta: said, finish_reason }) => said.content ?? finish_reason)).toEqual([
			"",
			"so far",
			"stop",
		]);
		expect(await rig.router.metric("router_dropped_events_total")).toBe(1);
	});
});
