/** What Anthropic was recorded to be asked and to answer means the same behind the Messages API of the router, before Claude. */

import { expect } from "bun:test";
import type { Json, Loose } from "./kit/exchange.ts";
import { needing } from "./kit/needing.ts";
import { type Recording, recordings } from "./kit/recordings.ts";
import { meaningOfAnthropic } from "./kit/vendor-meaning.ts";
import { startVendorRig, type VendorRig } from "./kit/vendor-rig.ts";

const { afterAll, beforeAll, describe, test } = needing("recordings");

let rig: VendorRig;
beforeAll(async () => {
	rig = await startVendorRig();
});
afterAll(() => rig.stop());

const all = recordings("anthropic").filter(({ request }) => request);
const post = ({ request }: Recording) =>
	rig.post("/v1/messages", request!.body as Json, { "anthropic-version": "2023-06-01" });

describe("is asked of Claude as it was sent", () => {
	test.each(all.map((each) => [each.id, each] as const))("%s", async (_, recording) => {
		rig.replay.play(recording.response);
		await post(recording);
		const asked = JSON.parse(rig.replay.received[0]!.body) as Loose;
		expect(meaningOfAnthropic(asked)).toEqual(meaningOfAnthropic(recording.request!.body as Loose));
	});
});

/** A message without what another message of the same meaning may have or not. */
function meaningOf({ content, usage, stop_reason, stop_sequence, model, role, type }: Loose): Json {
	const { input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens } = usage;
	return {
		type,
		role,
		model,
		stop_reason,
		stop_sequence,
		content: content.map(({ caller, citations, ...block }: Loose) => block),
		usage: {
			input_tokens,
			output_tokens,
			cache_read_input_tokens: cache_read_input_tokens ?? 0,
			cache_creation_input_tokens: cache_creation_input_tokens ?? 0,
		},
	};
}

/** The message that a stream comes to. */
function summed(sse: string): Loose {
	let message: Loose = {};
	const inputs: string[] = [];
	for (const line of sse.split("\n")) {
		if (!line.startsWith("data: ")) continue;
		const event = JSON.parse(line.slice("data: ".length)) as Loose;
		const { type, index, delta } = event;
		if (type === "message_start") message = event["message"];
		else if (type === "content_block_start") message["content"][index] = { ...event["content_block"] };
		else if (type === "content_block_delta") {
			const block = message["content"][index];
			if (delta.type === "text_delta") block.text += delta.text;
			else if (delta.type === "thinking_delta") block.thinking += delta.thinking;
			else if (delta.type === "signature_delta") block.signature = delta.signature;
			else inputs[index] = (inputs[index] ?? "") + delta.partial_json;
		} else if (type === "message_delta") {
			message = { ...message, ...delta, usage: { ...message["usage"], ...event["usage"] } };
		}
	}
	for (const [index, text] of inputs.entries()) if (text) message["content"][index].input = JSON.parse(text);
	return message;
}

const whole = all.filter(({ response }) => response.status === 200 && response.body);
const streamed = all.filter(({ response }) => response.status === 200 && response.sse);

test.each(whole.map((each) => [each.id, each] as const))("%s is answered as it was", async (_, recording) => {
	rig.replay.play(recording.response);
	const { status, text } = await post(recording);
	expect(status).toBe(200);
	expect(meaningOf(JSON.parse(text))).toEqual(meaningOf(recording.response.body as Loose));
});

test.each(streamed.map((each) => [each.id, each] as const))("%s is streamed as it was", async (_, recording) => {
	rig.replay.play(recording.response, "event");
	const { status, text } = await post(recording);
	expect(status).toBe(200);
	// A signature comes with the end of a stream, behind its block.
	const unsigned = (message: Loose) => ({
		...message,
		content: message["content"].map((block: Loose) =>
			block["type"] === "thinking" ? { ...block, signature: "" } : block,
		),
	});
	expect(meaningOf(unsigned(summed(text)))).toEqual(meaningOf(unsigned(summed(recording.response.sse!))));
});

test.each(all.filter(({ response }) => response.status >= 400).map((each) => [each.id, each] as const))(
	"%s is refused as it was, but for the router's own key",
	async (_, recording) => {
		rig.replay.play(recording.response);
		const { status, text } = await post(recording);
		const { error } = JSON.parse(text) as Loose;
		const said = (recording.response.body as Loose)["error"];
		if (recording.response.status === 401) expect([status, error.type]).toEqual([502, "api_error"]);
		else expect([status, error]).toEqual([recording.response.status, said]);
	},
);
